"""Orders, element by element, in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def sort(x: Array, dim: int, descending: bool) -> tuple[Array, Array]:
    """Stable, NaN as the largest: values and the places they came from."""
    values, places = np.empty_like(x), np.empty(x.shape, np.int64)
    for place in np.ndindex(*x.shape[:dim], *x.shape[dim + 1 :]):
        at = (*place[:dim], slice(None), *place[dim:])
        row = [(bool(v != v), 0 if v != v else v, i) for i, v in enumerate(x[at].tolist())]
        order = sorted(row, key=lambda t: t[:2], reverse=descending)  # sorted() is stable either way
        places[at] = [i for _, _, i in order]
        values[at] = x[at][places[at]]
    return values, places


def order(x: Array, descending: bool = False) -> Array:
    """The same places along the last dimension, by NumPy's stable sort, for rows of any size."""
    wide = x.astype(np.float64) if x.dtype.kind not in "biuf" else x
    if not descending:
        return np.argsort(wide, -1, kind="stable")
    return x.shape[-1] - 1 - np.argsort(wide[..., ::-1], -1, kind="stable")[..., ::-1]


def misleading(n: int, rounds: int, sampled: Any) -> Array:
    """n different numbers of which quicksort's pivots, the elements at `sampled(count)` of those left, are always
    among the smallest: each round divides off a handful."""
    values, left, lowest = np.full(n, -1), list(range(n)), 0
    for _ in range(rounds):
        for place in sampled(len(left)):
            if values[left[place]] < 0:
                values[left[place]] = lowest
                lowest += 1
        pivot = median_of_medians([values[left[place]] for place in sampled(len(left))])
        left = [i for i in left if values[i] < 0 or values[i] >= pivot]
    unset = values < 0
    values[unset] = np.arange(lowest, n)
    return values


def median_of_medians(nine: list[Any]) -> Any:
    """The median of three medians of three: elements 0, 3, 6, then 1, 4, 7, then 2, 5, 8."""
    return sorted(sorted(nine[i::3])[1] for i in range(3))[1]
