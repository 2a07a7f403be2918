"""The training loop: steps, with evaluation, records and checkpoints at intervals only."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import dd2424
from dd2424.train.errors import Interrupted, RunError
from dd2424.train.folder import Record

Loss = Callable[[dd2424.Tensor, dd2424.Tensor], dd2424.Tensor]


class Stateful(Protocol):
    """Whatever a checkpoint restores: optimizers, schedulers."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class Batches(Stateful, Protocol):
    """One epoch of batches for each `iter`, which knows its place in the middle of one."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[dd2424.Tensor, dd2424.Tensor]]: ...


class Scheduler(Stateful, Protocol):
    """Changes the learning rate once a step."""

    def step(self) -> None: ...


class Callback:
    """Called by `Trainer` at its few events; each method may be left out."""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first step, at `trainer.step`, which is not 0 in a resumed run."""

    def on_record(self, trainer: Trainer, record: Record) -> None:
        """After an evaluation; `record` is the last of `trainer.records`."""

    def on_stop(self, trainer: Trainer) -> None:
        """The user interrupted the run, between two steps."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last step and its record."""

    def on_exit(self, trainer: Trainer) -> None:
        """However training ended."""


class Trainer:
    """Trains `model` for `steps` updates, and every `interval` of them records what `evaluate` returns.

    A step is forward, backward, update, schedule, and nothing else. The state between any two steps is
    whole: a run stopped there and resumed is bitwise the run that was never stopped, records included.
    `batches` is a DataLoader, or what else gives one epoch of (inputs, targets) for each `iter` and knows its place.
    Raises: ValueError when `steps`, `interval` or `batches` is empty; Interrupted when the user stops it; RunError when
        a recorded value is no longer finite.
    """

    def __init__(
        self,
        model: dd2424.nn.Module,
        loss: Loss,
        optimizer: Any,
        batches: Batches,
        *,
        steps: int,
        interval: int,
        evaluate: Callable[[], Mapping[str, float]],
        scheduler: Scheduler | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        for name, count in (("steps", steps), ("interval", interval), ("len(batches)", len(batches))):
            if count < 1:
                raise ValueError(f"Trainer: {name} must be at least 1, got {count}")
        self.model, self.loss, self.optimizer, self.batches = model, loss, optimizer, batches
        self.steps, self.interval, self.evaluate = steps, interval, evaluate
        self.scheduler = scheduler
        self.callbacks = callbacks
        self.step = 0
        self.records: list[Record] = []
        self.stop_signal = 0
        self._stream = _endless(batches)

    def fit(self) -> None:
        """Train from `self.step` to `self.steps`."""
        self.stop_signal = 0
        with _stop_on_signals(self):
            try:
                self._notify("on_start")
                self._train()
                self._notify("on_end")
            finally:
                self._notify("on_exit")

    def train_step(self, inputs: dd2424.Tensor, targets: dd2424.Tensor) -> None:
        """One update on one batch: everything that a step costs besides its data."""
        self.optimizer.zero_grad()
        self.loss(self.model(inputs), targets).backward()
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        self.step += 1

    def train_steps(self, count: int) -> None:
        """`count` updates on the batches that come next, without records; fewer when the user stops the run."""
        self.model.train()
        step = self.train_step
        for inputs, targets in islice(self._stream, count):
            step(inputs, targets)
            del inputs, targets  # their memory, still in the cache, is the next batch's
            if self.stop_signal:
                break

    def _train(self) -> None:
        while self.step < self.steps or self._record_is_due():
            if self.stop_signal:
                self._notify("on_stop")
                raise Interrupted(128 + self.stop_signal)
            if self._record_is_due():
                self._record()
            else:
                boundary = (self.step // self.interval + 1) * self.interval
                self.train_steps(min(boundary, self.steps) - self.step)

    def _record_is_due(self) -> bool:
        at_boundary = self.step % self.interval == 0 or self.step == self.steps
        return at_boundary and (not self.records or self.records[-1]["step"] != self.step)

    def _record(self) -> None:
        self.model.eval()
        with dd2424.no_grad():
            values = self.evaluate()
        lr = float(self.optimizer.param_groups[0]["lr"])
        record = {"step": self.step, "epoch": self.step / len(self.batches), "lr": lr, **values}
        self.records.append(record)
        for callback in self.callbacks:
            callback.on_record(self, record)
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            advice = "try a smaller learning rate" if self.step else "look at the data and the initialisation"
            raise RunError(f"train: {bad[0]} must stay finite, got {values[bad[0]]} at step {self.step}; {advice}")

    def _notify(self, event: str) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "step": self.step,
            "steps": self.steps,
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "batches": self.batches.state_dict(),
            "rng": dd2424.get_rng_state(),
            "records": self.records,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken. Raises: RunError when it is of another run."""
        if state.get("steps") != self.steps:
            raise RunError(f"checkpoint: steps must be {self.steps}, got {state.get('steps')}")
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(state["scheduler"])
            self.batches.load_state_dict(state["batches"])
            self._stream = _endless(self.batches)
            dd2424.set_rng_state(state["rng"])
            self.step, self.records = int(state["step"]), list(state["records"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(f"checkpoint does not fit this model and its optimizer: {error}") from error


def _endless(batches: Batches) -> Iterator[tuple[dd2424.Tensor, dd2424.Tensor]]:
    while True:
        yield from batches


@contextlib.contextmanager
def _stop_on_signals(trainer: Trainer) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the run after the step it falls into; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: types.FrameType | None) -> None:
        if trainer.stop_signal:
            raise KeyboardInterrupt
        trainer.stop_signal = number

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
