"""Gathers and scatters of rows of a table and along the rows of a matrix; embeddings and bags of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from case import Array, Case

TABLE, PICKED = (50_000, 256), 4096
MATRIX, GPT = (1024, 1000), (50_257, 768)


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


def embed(rows: int, width: int, *shape: int) -> Case:
    """Forward and backward of tokens of this shape in a table of (rows, width)."""

    def inputs(rng: np.random.Generator) -> Sequence[Array]:
        table, values = rng.standard_normal((rows, width), np.float32), rng.standard_normal((*shape, width), np.float32)
        return [table, rng.integers(0, rows, shape), values]

    return Case(
        f"embedding of {shape} in {(rows, width)}, forward and backward",
        program=embedding,
        inputs=inputs,
        goals={"torch": 1.0},
    )


def bags(mode: str) -> Case:
    def program(torch, table, picked, offsets):
        table.requires_grad_()

        def step():
            table.grad = None
            torch.nn.functional.embedding_bag(picked, table, offsets, mode=mode).sum().backward()
            return table.grad

        return step

    def inputs(rng: np.random.Generator) -> Sequence[Array]:
        table = rng.standard_normal((10_000, 64), np.float32)
        return [table, rng.integers(0, 10_000, 20_480), np.arange(0, 20_480, 20)]

    return Case(
        f"embedding_bag, {mode} of 1024 bags of 20, forward and backward",
        program=program,
        inputs=inputs,
        goals={"torch": 1.0},
    )


def along_rows(rng: np.random.Generator) -> Sequence[Array]:
    """A matrix, columns of each row, the same for all rows, and values for them."""
    return [
        rng.standard_normal(MATRIX, np.float32),
        rng.integers(0, MATRIX[1], MATRIX),
        rng.integers(0, MATRIX[1], MATRIX[1]),
        rng.standard_normal(MATRIX, np.float32),
    ]


def add_along(x: Array, index: Array, values: Array) -> Array:
    result = x.copy()
    np.add.at(result, (np.arange(len(x))[:, None], index), values)
    return result


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
        f"gather along the rows of {MATRIX}",
        program=lambda torch, x, index, columns, values: lambda: torch.gather(x, 1, index),
        inputs=along_rows,
        numpy=lambda x, index, columns, values: lambda: np.take_along_axis(x, index, 1),
        goals={"numpy": 1.0, "torch": 1.0},
    ),
    Case(
        f"scatter_add along the rows of {MATRIX}",
        program=lambda torch, x, index, columns, values: lambda: torch.scatter_add(x, 1, index, values),
        inputs=along_rows,
        numpy=lambda x, index, columns, values: lambda: add_along(x, index, values),
        goals={"numpy": 1.0, "torch": 1.0},
    ),
    Case(
        f"columns of {MATRIX}",
        program=lambda torch, x, index, columns, values: lambda: torch.index_select(x, 1, columns),
        inputs=along_rows,
        numpy=lambda x, index, columns, values: lambda: np.take(x, columns, 1),
        goals={"numpy": 1.0, "torch": 1.0},
    ),
    Case(
        f"take {MATRIX[0] * MATRIX[1]} elements of {MATRIX}",
        program=lambda torch, x, index, columns, values: lambda: torch.take(x, index),
        inputs=along_rows,
        numpy=lambda x, index, columns, values: lambda: np.take(x, index),
        goals={"numpy": 1.0, "torch": 1.0},
    ),
    Case(
        f"scatter_reduce amax along the rows of {MATRIX}",
        program=lambda torch, x, index, columns, values: lambda: torch.scatter_reduce(x, 1, index, values, "amax"),
        inputs=along_rows,
        goals={"torch": 1.0},
    ),
    embed(*TABLE, PICKED),
    embed(*GPT, 16, 128),
    embed(80, 100, 25),
    bags("sum"),
    bags("mean"),
    bags("max"),
]
