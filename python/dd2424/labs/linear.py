"""Lab `linear`, lecture 2 and assignment 1: one layer, five losses, mini-batch gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dd2424 import Tensor, nn
from dd2424._safetensors import Array
from dd2424.labs import losses
from dd2424.labs.base import CommonOptions, Figure, Lab, Objective, Schedule, Setting
from dd2424.labs.data import LabData
from dd2424.labs.options import option
from dd2424.models import LinearClassifier
from dd2424.train import UsageError

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "softmax": losses.softmax,
    "svm": losses.svm,
    "crammer-singer": losses.crammer_singer,
    "sigmoid": losses.sigmoid,
    "hinge": losses.hinge,
}


@dataclass(frozen=True)
class LinearOptions(CommonOptions):
    """Options of lab `linear`: the loss and mini-batch gradient descent."""

    train: int = option(10_000, "the first so many images train; 0: all but the validation images", low=0)
    validation: int = option(10_000, "the next so many images validate", low=1)
    loss: str = option("softmax", "what is minimised; hinge is the binary SVM, on two classes", choices=LOSSES)
    lr: float = option(0.001, "learning rate", low=0.0)
    epochs: int = option(40, "passes over the training images", low=1)
    classes: tuple[int, ...] = option((0, 1), "the two classes of loss=hinge", low=0)


class LinearLab(Lab):
    """Lab `linear`: one layer of scores under five losses."""

    name = "linear"
    title = "one linear layer: softmax regression, multi-class and binary SVM, K sigmoids"
    lecture = "lecture 2, assignment 1"
    Options = LinearOptions
    settings = (
        Setting("2", "lr .001, lambda 0", {"lr": 0.001}, Figure(39.1, 38.6, 39.6)),
        Setting("1", "lr .1, lambda 0: unstable", {"lr": 0.1}, Figure(28.3, 25.0, 33.0)),
        Setting("3", "lr .001, lambda .1", {"lambda_": 0.1}, Figure(39.2, 38.7, 39.7)),
        Setting("4", "lr .001, lambda 1", {"lambda_": 1.0}, Figure(37.4, 36.9, 37.9)),
        Setting("all", "setting 2 on 49,000 images", {"train": 49_000, "validation": 1_000}, Figure(40.9, 40.2, 41.6)),
        Setting("svm", "multi-class SVM, lr .001", {"loss": "svm"}, Figure(35.7, 35.0, 36.4)),
        Setting("sigmoid", "K sigmoids, lr .01", {"loss": "sigmoid", "lr": 0.01}, Figure(38.0, 37.3, 38.7)),
    )
    own_settings: ClassVar = {
        "digits": {"train": 0, "validation": 100, "lr": 0.1, "lambda_": 0.001, "batch": 50},
        "other": {"train": 0, "validation": 5_000, "lr": 0.01, "lambda_": 0.0001, "epochs": 10},
    }

    def prepare(self, options: LinearOptions, data: LabData) -> LabData:
        if options.loss != "hinge":
            return data
        pair = options.classes
        if len(pair) != 2 or pair[0] == pair[1] or max(pair) >= len(data.classes):
            raise UsageError(
                f"train linear: classes must be two different classes of 0 to {len(data.classes) - 1}, "
                f"got {','.join(map(str, pair))}"
            )
        return data.only(pair)

    def model(self, options: LinearOptions, data: LabData) -> nn.Module:
        return LinearClassifier(data.inputs, 1 if options.loss == "hinge" else len(data.classes))

    def objective(self, options: LinearOptions) -> Objective:
        if options.loss == "hinge":
            return Objective(losses.hinge, _sign)
        return Objective(LOSSES[options.loss])

    def schedule(self, options: LinearOptions, data: LabData) -> Schedule:
        per_epoch = data.steps_per_epoch(options.batch)
        return Schedule(options.epochs * per_epoch, per_epoch, options.lr)

    def next_steps(self, options: LinearOptions, data: LabData) -> list[str]:
        commands = [f"dd2424 train linear --data {data.name} loss={loss}" for loss in LOSSES if loss != options.loss]
        return [
            *commands[:2],
            f"dd2424 train linear --data {data.name} lambda=0.1",
            f"dd2424 train mlp --data {data.name}",
        ]


def _sign(scores: Array) -> Array:
    return (scores[:, 0] > 0).astype(np.int64)
