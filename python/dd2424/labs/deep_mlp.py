"""Lab `deep-mlp`, lecture 4 and assignment 3: k layers, batch normalization, sensitivity to initialisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from dd2424 import nn
from dd2424.labs import losses
from dd2424.labs.base import Figure, Lab, Objective, Schedule, Setting
from dd2424.labs.data import LabData
from dd2424.labs.mlp import CyclicOptions
from dd2424.labs.options import option
from dd2424.models import MLP
from dd2424.train.folder import Record

SIGMAS = (0.1, 0.001, 0.0001)
NINE = (50, 30, 20, 20, 10, 10, 10, 10)


@dataclass(frozen=True)
class DeepMlpOptions(CyclicOptions):
    """Options of lab `deep-mlp`: the layers, batch normalization, and initialisation."""

    lambda_: float = option(0.005, "cost = mean loss + lambda * sum of squared weights, without biases", low=0.0)
    train: int = option(45_000, "the first so many images train; 0: all but the validation images", low=0)
    validation: int = option(5_000, "the next so many images validate", low=1)
    half_cycle: int = option(2_250, "steps from lr_min up to lr_max, and as many down (the course's n_s)", low=1)
    cycles: int = option(2, "how many cycles to train", low=1)
    hidden: tuple[int, ...] = option((50, 50), "units of each hidden layer", low=1, high=100_000)
    batch_norm: bool = option(True, "batch normalization before each ReLU")
    sigma: float = option(0.0, "spread of every layer's first weights; 0: He's sqrt(2 / fan-in)", low=0.0)
    sensitivity: bool = option(False, "first compare sigma .1, .001 and .0001, with and without batch norm")


class DeepMlpLab(Lab):
    """Lab `deep-mlp`: k layers."""

    name = "deep-mlp"
    title = "k layers with and without batch normalization"
    lecture = "lecture 4, assignment 3"
    Options = DeepMlpOptions
    settings = (
        Setting("3-bn", "3 layers, batch norm", {}, Figure(53.5, 52.8, 54.2)),
        Setting("3", "3 layers", {"batch_norm": False}, Figure(52.0, 51.3, 54.0)),
        Setting("9-bn", "9 layers, batch norm", {"hidden": NINE}, Figure(51.5, 50.3, 52.7)),
        Setting("9", "9 layers", {"hidden": NINE, "batch_norm": False}, Figure(45.0, 40.0, 49.5)),
    )
    own_settings: ClassVar = {
        "digits": {"train": 0, "validation": 100, "lambda_": 0.001, "half_cycle": 400, "batch": 50},
        "other": {"train": 0, "validation": 5_000, "lambda_": 0.0005, "half_cycle": 1_650},
    }

    def model(self, options: DeepMlpOptions, data: LabData) -> nn.Module:
        std = options.sigma or None
        return MLP(data.inputs, options.hidden, len(data.classes), batch_norm=options.batch_norm, std=std)

    def objective(self, options: DeepMlpOptions) -> Objective:
        return Objective(losses.softmax)

    def schedule(self, options: DeepMlpOptions, data: LabData) -> Schedule:
        return options.schedule()

    def sweep(self, options: DeepMlpOptions, data: LabData, train: Callable[[str, Any], Record]) -> DeepMlpOptions:
        """The course's comparison: every layer starts with one small spread, with and without batch norm."""
        if options.sensitivity:
            for sigma in SIGMAS:
                for batch_norm in (False, True):
                    name = f"sigma={sigma:g} batch_norm={'yes' if batch_norm else 'no'}"
                    train(name, dataclasses.replace(options, sigma=sigma, batch_norm=batch_norm))
        return options

    def next_steps(self, options: DeepMlpOptions, data: LabData) -> list[str]:
        base = f"dd2424 train deep-mlp --data {data.name}"
        other = "no" if options.batch_norm else "yes"
        nine = ",".join(map(str, NINE))
        return [f"{base} batch_norm={other}", f"{base} hidden={nine}", f"{base} sensitivity=yes"]
