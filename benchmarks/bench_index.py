"""Gathers and scatters of the rows of a table of 50,000: a shuffled batch, an embedding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from case import Array, Case

TABLE, PICKED = (50_000, 256), 4096


def rows(rng: np.random.Generator) -> Sequence[Array]:
    """A table, which of its rows, in random order and some of them twice, and a value for each of these."""
    table, values = (rng.standard_normal(shape, np.float32) for shape in (TABLE, (PICKED, TABLE[1])))
    return [table, rng.integers(0, TABLE[0], PICKED), values]


def masked(rng: np.random.Generator) -> Sequence[Array]:
    x = rng.standard_normal(TABLE, np.float32)
    return [x, x > 0]


def add_rows(table: Array, picked: Array, values: Array) -> Array:
    np.add.at(table, picked, values)
    return table


def embedding(torch, table, picked, values):
    table.requires_grad_()

    def step():
        table.grad = None
        torch.nn.functional.embedding(picked, table).backward(values)
        return table.grad

    return step


CASES = [
    Case(
        f"{PICKED} rows of {TABLE}",
        program=lambda torch, table, picked, values: lambda: table[picked],
        inputs=rows,
        numpy=lambda table, picked, values: lambda: table[picked],
        goals={"numpy": 1.0, "torch": 1.0},
    ),
    Case(
        f"boolean mask of {TABLE}",
        program=lambda torch, x, mask: lambda: x[mask],
        inputs=masked,
        numpy=lambda x, mask: lambda: x[mask],
        goals={"numpy": 1.0, "torch": 1.0},
    ),
    Case(
        f"index_add_ of {PICKED} rows to {TABLE}",
        program=lambda torch, table, picked, values: lambda: table.index_add_(0, picked, values),
        inputs=rows,
        numpy=lambda table, picked, values: lambda: add_rows(table, picked, values),
        goals={"numpy": 1.0, "torch": 1.0},
    ),
    Case(
        f"embedding of {PICKED} in {TABLE}, forward and backward",
        program=embedding,
        inputs=rows,
        goals={"torch": 1.0},
    ),
]
