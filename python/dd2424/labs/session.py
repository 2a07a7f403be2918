"""One training of a lab: model, optimizer, loop and measurements, from resolved options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import dd2424
from dd2424._safetensors import Array
from dd2424.data import ArrayDataset, DataLoader
from dd2424.labs.base import Lab, Objective
from dd2424.labs.data import LabData, Source
from dd2424.labs.options import option_text
from dd2424.labs.registry import get_lab
from dd2424.labs.sources import choose_source, load_source
from dd2424.train import Callback, Trainer

_EVALUATION_BATCH = 250  # its images, as floats, stay in the cache
_MOST_TRAINING_IMAGES = 10_000  # evaluated at each record: a fixed part is enough for a curve


@dataclass(frozen=True)
class Session:
    """One training of a lab on one data set with one seed."""

    lab: Lab
    source: Source
    options: Any
    seed: int
    device: str

    @cached_property
    def data(self) -> LabData:
        cut = self.source.cut(self.options.train, self.options.validation, self.options.batch)
        return self.lab.prepare(self.options, cut)

    @cached_property
    def objective(self) -> Objective:
        return self.lab.objective(self.options)

    @cached_property
    def _shown(self) -> ArrayDataset:
        """The training images whose loss and accuracy are recorded."""
        return self.data.train.take(slice(0, _MOST_TRAINING_IMAGES))

    def new_model(self) -> dd2424.nn.Module:
        """The model as it starts: the same for the same seed."""
        dd2424.manual_seed(self.seed)
        return self.lab.model(self.options, self.data).to(self.device)

    def trainer(self, model: dd2424.nn.Module, callbacks: Sequence[Callback] = ()) -> Trainer:
        """A trainer at step 0, with the course's penalty: gradient 2 lambda W on weights, nothing on the rest."""
        options = self.options
        schedule = self.lab.schedule(options, self.data)
        weights, others = penalised(model)
        groups = [{"params": weights, "weight_decay": 2 * options.lambda_}]
        if others:
            groups.append({"params": others, "weight_decay": 0.0})
        optimizer = dd2424.optim.SGD(groups, lr=schedule.lr)
        return Trainer(
            model,
            self.objective.loss,
            optimizer,
            self.batches(),
            steps=schedule.steps,
            interval=schedule.interval,
            evaluate=lambda: self.measure(model),
            scheduler=schedule.scheduler(optimizer),
            callbacks=callbacks,
        )

    def batches(self) -> DataLoader[Any]:
        """Training batches (inputs (N, D) float32, labels (N,) int64), in a new order each epoch, fixed by the seed.

        A last batch that is not full is left out.
        """
        return DataLoader(self.data.train, self.options.batch, shuffle=True, drop_last=True, generator=self.seed)

    def measure(self, model: dd2424.nn.Module) -> dict[str, float]:
        """Loss, cost and accuracy on the training images (at most 10,000) and on the validation images."""
        weights, _ = penalised(model)
        penalty = self.options.lambda_ * sum(float((w * w).sum().item()) for w in weights)
        values: dict[str, float] = {}
        for name, part in (("train", self._shown), ("validation", self.data.validation)):
            loss, scores = self.scores(model, part)
            values[f"{name}_loss"], values[f"{name}_cost"] = loss, loss + penalty
            values[f"{name}_accuracy"] = self.accuracy(scores, part)
        return values

    def scores(self, model: dd2424.nn.Module, part: ArrayDataset) -> tuple[float, Array]:
        """Mean loss and scores (N, K) of `part`, without a tape."""
        model.eval()
        total, chunks = 0.0, []
        with dd2424.no_grad():
            for inputs, labels in DataLoader(part, _EVALUATION_BATCH):
                scores = model(inputs)
                total += float(self.objective.loss(scores, labels).item()) * len(labels)
                chunks.append(np.array(scores.cpu().numpy()))
        return total / len(part), np.concatenate(chunks)

    def accuracy(self, scores: Array, part: ArrayDataset) -> float:
        """Share of `part` whose label is predicted."""
        return float(np.mean(self.objective.predict(scores) == part.labels))


def penalised(model: dd2424.nn.Module) -> tuple[list[Any], list[Any]]:
    """Parameters that the penalty counts, the weight matrices, and the rest: biases, batch norm's scales and shifts."""
    weights = [p for p in model.parameters() if p.ndim >= 2]
    return weights, [p for p in model.parameters() if p.ndim < 2]


def new_session(lab: str, data: str | None = None, *, seed: int = 0, device: str = "cpu", **options: Any) -> Session:
    """A training of a lab as `dd2424 train LAB --data DATA --seed SEED key=value ...` would do it.

        session = new_session("mlp", "cifar10", setting="1")
        trainer = session.trainer(session.new_model())
        trainer.train_steps(len(trainer.batches))       # an epoch
        loss, scores = session.scores(trainer.model, session.data.test)

    Raises: UsageError naming an unknown lab, data set, option or value; DataError where the data cannot be had.
    """
    found = get_lab(lab)
    name, _ = choose_source(data, found.real_data)
    pairs = {key.rstrip("_"): option_text(value) for key, value in options.items()}
    return Session(found, load_source(name), found.resolve(name, pairs), seed, device)
