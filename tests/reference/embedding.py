"""Look-ups in tables, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def embedding(indices: Array, table: Array) -> Array:
    return table.astype(np.float64)[indices]


def embedding_gradient(
    indices: Array, rows: int, dy: Array, padding_idx: int | None = None, by_frequency: bool = False
) -> Array:
    """Each row's gradient is the sum over the places where it was used."""
    dtable, counts = np.zeros((rows, dy.shape[-1])), np.zeros(rows)
    for place in np.ndindex(indices.shape):
        if indices[place] != padding_idx:
            dtable[indices[place]] += dy[place]
        counts[indices[place]] += 1
    return dtable / np.maximum(counts, 1)[:, None] if by_frequency else dtable


def bags(
    indices: Array,
    starts: list[int],
    table: Array,
    mode: str,
    weights: Array | None = None,
    padding_idx: int | None = None,
) -> Array:
    result = np.zeros((len(starts), table.shape[1]))
    for bag, (begin, end) in enumerate(zip(starts, [*starts[1:], len(indices)], strict=True)):
        places = [i for i in range(begin, end) if indices[i] != padding_idx]
        if places:
            rows = table.astype(np.float64)[indices[places]] * (1.0 if weights is None else weights[places][:, None])
            result[bag] = {"sum": rows.sum(0), "mean": rows.mean(0), "max": rows.max(0)}[mode]
    return result


def renormed(table: Array, used: Array, max_norm: float, p: float) -> Array:
    table = table.astype(np.float64)
    for row in np.unique(used):
        norm = np.linalg.norm(table[row], p)
        if norm > max_norm:
            table[row] *= max_norm / norm
    return table


def one_hot(classes: Array, count: int) -> Array:
    return np.eye(count, dtype=np.int64)[classes]
