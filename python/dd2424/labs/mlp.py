"""Lab `mlp`, lectures 3 to 5 and assignment 2: two layers, cyclical learning rates, a search for lambda."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dd2424 import nn
from dd2424.labs import losses
from dd2424.labs.base import CommonOptions, Figure, Lab, Objective, Schedule, Setting
from dd2424.labs.data import LabData
from dd2424.labs.options import option
from dd2424.models import MLP
from dd2424.train.folder import Record

RECORDS_PER_CYCLE = 10


@dataclass(frozen=True)
class CyclicOptions(CommonOptions):
    """Triangular cyclical learning rates, as in assignments 2 and 3."""

    lr_min: float = option(1e-5, "learning rate where a cycle starts and ends", low=0.0)
    lr_max: float = option(1e-1, "learning rate in the middle of a cycle", low=0.0)
    half_cycle: int = option(980, "steps from lr_min up to lr_max, and as many down (the course's n_s)", low=1)
    cycles: int = option(3, "how many cycles to train", low=1)

    def schedule(self) -> Schedule:
        """`cycles` cycles, with ten records in each."""
        steps = 2 * self.half_cycle * self.cycles
        return Schedule(
            steps, math.ceil(2 * self.half_cycle / RECORDS_PER_CYCLE), self.lr_max, self.lr_min, self.half_cycle
        )


@dataclass(frozen=True)
class MlpOptions(CyclicOptions):
    """Options of lab `mlp`: the hidden layer, and the search for lambda."""

    lambda_: float = option(0.0022, "cost = mean loss + lambda * sum of squared weights, without biases", low=0.0)
    train: int = option(49_000, "the first so many images train; 0: all but the validation images", low=0)
    validation: int = option(1_000, "the next so many images validate", low=1)
    hidden: tuple[int, ...] = option((50,), "units of each hidden layer", low=1, high=100_000)
    search: int = option(0, "try so many lambdas on 45,000 images first, coarse then fine; 8 is the course's", low=0)
    log_lambda: tuple[int, ...] = option((-5, -1), "the search's range of log10 lambda", low=-12, high=3)


_ONE_BATCH = {"train": 10_000, "validation": 10_000, "lambda_": 0.01}


class MlpLab(Lab):
    """Lab `mlp`: two layers."""

    name = "mlp"
    title = "two layers of 50 ReLU units, cyclical learning rate"
    lecture = "lectures 3 to 5, assignment 2"
    Options = MlpOptions
    settings = (
        Setting("best", "the searched lambda .0022, 3 cycles on 49,000 images", {}, Figure(52.0, 51.3, 52.7)),
        Setting("1", "1 cycle, n_s 500, lambda .01, 10,000 images", {**_ONE_BATCH, "half_cycle": 500, "cycles": 1},
                Figure(46.3, 45.6, 47.0)),
        Setting("2", "3 cycles, n_s 800, lambda .01, 10,000 images", {**_ONE_BATCH, "half_cycle": 800},
                Figure(48.1, 47.4, 48.8)),
    )  # fmt: skip
    own_settings: ClassVar = {
        "digits": {
            "train": 0,
            "validation": 100,
            "lambda_": 0.001,
            "half_cycle": 400,
            "cycles": 3,
            "batch": 50,
            "hidden": (200,),
        },
        "other": {"train": 0, "validation": 5_000, "lambda_": 0.0002, "half_cycle": 1_100, "cycles": 3},
    }

    def model(self, options: MlpOptions, data: LabData) -> nn.Module:
        return MLP(data.inputs, options.hidden, len(data.classes), gain=1.0)

    def objective(self, options: MlpOptions) -> Objective:
        return Objective(losses.softmax)

    def schedule(self, options: MlpOptions, data: LabData) -> Schedule:
        return options.schedule()

    def sweep(self, options: MlpOptions, data: LabData, train: Callable[[str, Any], Record]) -> MlpOptions:
        """The course's search: `search` lambdas evenly on a log scale, then as many around the best of them."""
        if not options.search:
            return options
        low, high = min(options.log_lambda), max(options.log_lambda)
        tried: dict[float, float] = {}
        coarse = np.linspace(low, high, options.search)
        spacing = (high - low) / max(options.search - 1, 1)
        for grid in (coarse, None):
            if grid is None:
                best = max(tried, key=lambda log: tried[log])
                grid = best + spacing * np.linspace(-1, 1, options.search + 2)[1:-1]
            for log in map(float, grid):
                row = train(f"lambda={10**log:.3g}", searched(options, 10**log, data))
                tried[log] = row["validation_accuracy"]
        best = max(tried, key=lambda log: tried[log])
        return dataclasses.replace(options, lambda_=float(f"{10**best:.3g}"), search=0)

    def next_steps(self, options: MlpOptions, data: LabData) -> list[str]:
        base = f"dd2424 train mlp --data {data.name}"
        return [f"{base} hidden=400", f"{base} search=8", f"dd2424 train deep-mlp --data {data.name}"]


def searched(options: MlpOptions, lambda_: float, data: LabData) -> MlpOptions:
    """The course's run for one lambda: nine tenths of the images train, 2 cycles of n_s = 2 floor(n / batch)."""
    images = len(data.train) + len(data.validation)
    train = images * 9 // 10
    return dataclasses.replace(
        options,
        lambda_=lambda_,
        train=train,
        validation=images - train,
        half_cycle=2 * (train // options.batch),
        cycles=2,
    )
