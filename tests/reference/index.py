"""Gathering and scattering, element by element, in plain Python loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def _target(place: tuple[int, ...], dim: int, index: Array) -> tuple[int, ...]:
    return (*place[:dim], int(index[place]), *place[dim + 1 :])


def resolve(x: Array, key: Any) -> tuple[Array, tuple[Any, ...]]:
    """A view of x and what is left of the key: integers select first, as in PyTorch, where NumPy counts them among the
    index arrays as soon as there is one."""
    parts = key if isinstance(key, tuple) else (key,)
    first, rest = [], []
    for part in parts:
        array = np.asarray(part) if isinstance(part, np.ndarray | list) else None
        if isinstance(part, int | np.integer) and not isinstance(part, bool):
            first.append(int(part))
            continue
        if array is not None and array.ndim == 0 and array.dtype != bool:
            first.append(int(array))
            continue
        rest.append(part)
        if part is Ellipsis:
            first.append(part)
        elif array is not None and array.dtype == bool:
            first.extend([slice(None)] * array.ndim)
        elif part is not None and not isinstance(part, bool):
            first.append(slice(None))
    return x[tuple(first)], tuple(rest)


def gather(x: Array, dim: int, index: Array) -> Array:
    """y[i][j] = x[index[i][j]][j] for dim 0, and so on."""
    y = np.empty(index.shape, x.dtype)
    for place in np.ndindex(index.shape):
        y[place] = x[_target(place, dim, index)]
    return y


def scatter(x: Array, dim: int, index: Array, src: Array) -> Array:
    """y[index[i][j]][j] = src[i][j] for dim 0, and so on; the last one stays."""
    y = x.copy()
    for place in np.ndindex(index.shape):
        y[_target(place, dim, index)] = src[place]
    return y


def scatter_reduce(x: Array, dim: int, index: Array, src: Array, reduce: str, include_self: bool) -> Array:
    """Each y element is the reduction of all that goes there, with x's own element or without."""
    arrived: dict[tuple[int, ...], list[Any]] = {}
    for place in np.ndindex(index.shape):
        arrived.setdefault(_target(place, dim, index), []).append(src[place])
    y = x.astype(np.float64)
    functions = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}
    for place, values in arrived.items():
        y[place] = functions[reduce](np.array([x[place], *values] if include_self else values, np.float64))
    return y


def index_add(x: Array, dim: int, index: Array, source: Array, alpha: float) -> Array:
    """y's slice index[i] grows by alpha * source's slice i."""
    y = np.moveaxis(x.astype(np.float64), dim, 0)
    for i, target in enumerate(index):
        y[target] += alpha * np.moveaxis(source, dim, 0)[i]
    return np.moveaxis(y, 0, dim)
