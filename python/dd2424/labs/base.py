"""What a lab is: options, settings with the course's figures, and how to build its model and objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

import dd2424
from dd2424._safetensors import Array
from dd2424.labs.data import LabData
from dd2424.labs.options import option, parse_options
from dd2424.train import UsageError, nearest
from dd2424.train.folder import Record
from dd2424.train.trainer import Scheduler

OWN = "own"


@dataclass(frozen=True)
class Figure:
    """The course's CIFAR-10 test accuracy for a setting, in %, and the band that counts as reaching it."""

    accuracy: float
    low: float
    high: float

    def verdict(self, accuracy: float) -> str:
        """One line that compares `accuracy`, in %, with the figure."""
        where = "inside" if self.low <= accuracy <= self.high else "below" if accuracy < self.low else "above"
        band = f"band {self.low:.1f} to {self.high:.1f}"
        return f"the course's figure is {self.accuracy:.1f} % ({band}); this run: {accuracy:.2f} %, {where} the band"


@dataclass(frozen=True)
class Setting:
    """Named option values, as the course's handout gives them."""

    name: str
    summary: str
    values: Mapping[str, Any] = field(default_factory=dict)
    figure: Figure | None = None


@dataclass(frozen=True)
class CommonOptions:
    """Options that every lab has; a lab's own dataclass adds to them."""

    setting: str = option("", "option values of the course's handout, see `dd2424 list`")
    lambda_: float = option(0.0, "cost = mean loss + lambda * sum of squared weights, without biases", low=0.0)
    batch: int = option(100, "images a step", low=1)
    train: int = option(0, "the first so many images train; 0: all but the validation images", low=0)
    validation: int = option(0, "the next so many images validate", low=1)


@dataclass(frozen=True)
class Objective:
    """What is minimised, and how scores become labels.

    `loss` is the mean over a batch; `predict` takes scores (N, K) and gives labels (N,).
    """

    loss: Callable[[dd2424.Tensor, dd2424.Tensor], dd2424.Tensor]
    predict: Callable[[Array], Array] = lambda scores: np.argmax(scores, axis=1)


class Lab(ABC):
    """One topic of the course. Subclasses name their options and build what is trained."""

    name: ClassVar[str]
    title: ClassVar[str]
    lecture: ClassVar[str]
    real_data: ClassVar[str] = "cifar10"
    Options: ClassVar[type[CommonOptions]]
    settings: ClassVar[Sequence[Setting]]
    own_settings: ClassVar[Mapping[str, Mapping[str, Any]]]  # values that train well on other data, by its name

    @abstractmethod
    def model(self, options: Any, data: LabData) -> dd2424.nn.Module:
        """The network, freshly initialised from the global generator."""

    @abstractmethod
    def objective(self, options: Any) -> Objective:
        """What is minimised."""

    @abstractmethod
    def schedule(self, options: Any, data: LabData) -> Schedule:
        """How long, and with which learning rates."""

    def prepare(self, options: Any, data: LabData) -> LabData:
        """The data as this lab uses it; most use it as it is."""
        return data

    def sweep(self, options: Any, data: LabData, train: Callable[[str, Any], Record]) -> Any:
        """Train variations through `train(name, options)`, if the options ask for it; returns those to go on with."""
        return options

    def templates(self, model: dd2424.nn.Module) -> Array:
        """The rows of the first layer's weights, (units, inputs), to be shown as images."""
        weights = [p for name, p in model.named_parameters() if name.endswith("weight") and p.ndim == 2]
        return np.array(weights[0].detach().cpu().numpy())

    def next_steps(self, options: Any, data: LabData) -> list[str]:
        """Commands worth trying after this run."""
        return []

    def setting(self, name: str) -> Setting:
        """Raises: UsageError naming the settings there are."""
        known = {setting.name: setting for setting in self.settings}
        if name not in known:
            raise UsageError(f"train {self.name}: unknown setting {name!r}{nearest(name, known)}")
        return known[name]

    def resolve(self, data_name: str, pairs: Mapping[str, str]) -> Any:
        """Options from defaults, then the setting (on other data than the course's, the data's own), then `pairs`.

        Raises: UsageError naming an unknown key, value or setting.
        """
        given = parse_options(self.Options, self.name, pairs)
        is_real = data_name == self.real_data
        own = self.own_settings.get(data_name, self.own_settings["other"])
        name = given.get("setting") or (self.settings[0].name if is_real else OWN)
        if name == OWN:
            values = dict(own)
        else:
            values = dict(self.setting(name).values)
            if not is_real:
                values.update({"train": 0, "validation": own["validation"]})
        return self.Options(**{**values, **given, "setting": name})

    def figure(self, data_name: str, options: Any) -> Figure | None:
        """The course's figure, if `options` are those of a setting and the data is the course's."""
        if data_name != self.real_data:
            return None
        setting = next((setting for setting in self.settings if setting.name == options.setting), None)
        if setting is None or options != self.Options(**{**setting.values, "setting": setting.name}):
            return None
        return setting.figure


@dataclass(frozen=True)
class Schedule:
    """Steps in all, steps between records, and the learning rate: constant, or triangular cycles.

    `half_cycle` steps up from `lr_min` to `lr`, and as many down; 0 keeps the rate at `lr`.
    """

    steps: int
    interval: int
    lr: float
    lr_min: float = 0.0
    half_cycle: int = 0

    def scheduler(self, optimizer: Any) -> Scheduler | None:
        """The scheduler that makes these rates, or None where the rate is constant."""
        if not self.half_cycle:
            return None
        return dd2424.optim.lr_scheduler.CyclicLR(
            optimizer, self.lr_min, self.lr, step_size_up=self.half_cycle, cycle_momentum=False
        )
