"""Orders: whole sorts, the best of rows, ranks and look-ups. PyTorch and we always make values and indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from case import Array, Case

LONG, ROWS, VOCABULARY = 1_000_000, (512, 1000), (1, 50_257)
NO_SLOWER = {"numpy": 1.0, "torch": 1.0}


def numbers(shape: Any, dtype: str) -> Callable[[np.random.Generator], Sequence[Array]]:
    """Normal ones; integers of a thousand kinds."""
    if dtype == "int64":
        return lambda rng: [rng.integers(0, 1000, shape)]
    return lambda rng: [rng.standard_normal(shape).astype(dtype)]


def sort(shape: Any, dtype: str, dim: int = -1) -> Case:
    def ordered(x: Array) -> Array:
        return np.take_along_axis(x, np.argsort(x, axis=dim), dim)

    return Case(
        f"sort {shape} {dtype}, dim {dim}",
        program=lambda torch, x: lambda: torch.sort(x, dim)[0],
        inputs=numbers(shape, dtype),
        numpy=lambda x: lambda: ordered(x),
        dtype=dtype if dtype.startswith("float") else "float32",
        goals=NO_SLOWER,
    )


def values(shape: Any, dtype: str) -> Case:
    return Case(
        f"sort {shape} {dtype}, values alone",
        program=lambda torch, x: lambda: torch.sort(x)[0],
        inputs=numbers(shape, dtype),
        numpy=lambda x: lambda: np.sort(x),
        dtype=dtype if dtype.startswith("float") else "float32",
        goals={"numpy": 1.0},
    )


def best(shape: Sequence[int], k: int) -> Case:
    def of_rows(x: Array) -> Array:
        return -np.sort(np.partition(-x, k - 1, axis=-1)[:, :k], axis=-1)

    return Case(
        f"topk {shape}, k {k}",
        program=lambda torch, x: lambda: torch.topk(x, k)[0],
        inputs=numbers(shape, "float32"),
        numpy=lambda x: lambda: of_rows(x),
        goals=NO_SLOWER,
    )


def multinomial(torch: Any, weights: Any) -> Callable[[], None]:
    """Each draws numbers of its own: there is nothing to compare."""

    def step() -> None:
        torch.multinomial(weights, ROWS[0], replacement=True)

    return step


CASES = [
    sort(LONG, "float32"),
    sort(LONG, "float64"),
    sort(LONG, "int64"),
    sort(ROWS, "float32"),
    sort(ROWS, "float64"),
    sort(ROWS, "int64"),
    sort(ROWS, "float32", 0),
    values(LONG, "float32"),
    values(ROWS, "float32"),
    best(ROWS, 5),
    best(VOCABULARY, 50),
    Case(
        f"median of the rows of {ROWS}",
        program=lambda torch, x: lambda: torch.median(x, 1)[0],
        inputs=numbers(ROWS, "float32"),
        goals={"torch": 1.0},
    ),
    Case(
        f"{LONG} look-ups among 1000",
        program=lambda torch, edges, x: lambda: torch.searchsorted(edges, x),
        inputs=lambda rng: [np.sort(rng.standard_normal(1000, np.float32)), rng.standard_normal(LONG, np.float32)],
        numpy=lambda edges, x: lambda: np.searchsorted(edges, x),
        goals=NO_SLOWER,
    ),
    Case(
        f"unique of {LONG} int64",
        program=lambda torch, x: lambda: torch.unique(x),
        inputs=numbers(LONG, "int64"),
        numpy=lambda x: lambda: np.unique(x),
        goals=NO_SLOWER,
    ),
    Case(
        f"cummax of {ROWS}",
        program=lambda torch, x: lambda: torch.cummax(x, 1)[0],
        inputs=numbers(ROWS, "float32"),
        numpy=lambda x: lambda: np.maximum.accumulate(x, 1),
        goals={"torch": 1.0},
    ),
    Case(
        f"multinomial, {ROWS[0]} of each row of {ROWS}",
        program=multinomial,
        inputs=lambda rng: [rng.random(ROWS, np.float32)],
        goals={"torch": 1.0},
    ),
]
