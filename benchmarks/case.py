"""What a benchmark case is. This file needs NumPy only: peers read it in an environment of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Step = Callable[[], Any]


class Unavailable(Exception):
    """A program raises it where this machine lacks what the case needs, and says what."""


@dataclass(frozen=True)
class Case:
    """One workload, and how each contender does it.

    `program(torch, *inputs)` prepares and returns the step to be timed. Names are PyTorch's, so one text serves dd2424
    and PyTorch: each is given its own module as `torch`, and its own tensors. A step's result is compared between
    contenders, in roundings of `dtype` times `tolerance`; None is not compared.
    A case with a `baseline` is ours alone: `baseline(dd2424, *inputs)` makes the step that stands for its peers.
    """

    name: str
    program: Callable[..., Step]
    inputs: Callable[[np.random.Generator], Sequence[Array]] = lambda rng: ()
    numpy: Callable[..., Step] | None = None
    jax: Callable[..., Any] | None = None  # of the module and the arrays: what is computed, not a step
    baseline: Callable[..., Step] | None = None
    dtype: str = "float32"  # of tensors made from floating-point inputs
    flops: float = 0  # of one step
    reads: int = 0  # arrays of `array_bytes` that must be read, and written
    writes: int = 0
    array_bytes: int = 0
    repeats: int = 1  # operations in one step, where one alone is too short to be timed
    has_formats: bool = False  # images: each contender takes the faster of both memory formats
    compiles: bool = False  # PyTorch competes twice, and only once with a `torch.compile` that compiles
    tracks_memory: bool = False  # the page tells what a step keeps resident, too
    threads: Sequence[int] = (1, 2)
    tolerance: float = 64
    goals: Mapping[str, float] = field(default_factory=dict)  # peer, "limit" or "baseline" -> least ratio

    @property
    def moved_bytes(self) -> int:
        return (self.reads + self.writes) * self.array_bytes


def normal(*shapes: Sequence[int]) -> Callable[[np.random.Generator], list[Array]]:
    """Inputs: float32 arrays of standard normal numbers."""
    return lambda rng: [rng.standard_normal(shape, np.float32) for shape in shapes]


def uniform(*shapes: Sequence[int]) -> Callable[[np.random.Generator], list[Array]]:
    """Inputs: numbers of [0, 1), whose sums do not cancel."""
    return lambda rng: [rng.random(shape, np.float32) for shape in shapes]


synchronize: Step = lambda: None  # waits for a step's work: a worker on a GPU sets it


def fastest(*steps: Step) -> Step:
    """The one of several ways to do the same that takes least time here: each contender competes with its best."""

    def seconds(step: Step) -> float:
        times = []
        for _ in range(4):  # the first one warms up
            begin = time.perf_counter()
            step()
            synchronize()
            times.append(time.perf_counter() - begin)
        return min(times[1:])

    return min(steps, key=seconds)
