"""Joins and rearranged copies, element by element, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def cat(arrays: Sequence[Array], dim: int) -> Array:
    """Joined along a dimension; an empty vector joins with anything."""
    return np.concatenate([a for a in arrays if a.shape != (0,)] or list(arrays), axis=dim)


def flip(x: Array, dims: Sequence[int]) -> Array:
    """y[i] = x[n - 1 - i] along each dimension."""
    for dim in dims:
        x = np.take(x, np.arange(x.shape[dim] - 1, -1, -1), axis=dim)
    return x


def roll(x: Array, shift: int, dim: int) -> Array:
    """y[(i + shift) mod n] = x[i]."""
    y = np.empty_like(x)
    for i in range(x.shape[dim]):
        place = (slice(None),) * (dim % x.ndim)
        y[(*place, (i + shift) % x.shape[dim])] = x[(*place, i)]
    return y


def unfold(x: Array, dim: int, size: int, step: int) -> Array:
    """The slices x[start : start + size], `step` apart, each as a new last dimension."""
    starts = range(0, x.shape[dim] - size + 1, step)
    slices = [np.moveaxis(np.take(x, range(start, start + size), axis=dim), dim, -1) for start in starts]
    return np.stack(slices, axis=dim)


def block_diag(blocks: Sequence[Array]) -> Array:
    """Matrices along the diagonal of a larger one."""
    y = np.zeros([sum(sizes) for sizes in zip(*[b.shape for b in blocks], strict=True)])
    row = column = 0
    for block in blocks:
        y[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return y
