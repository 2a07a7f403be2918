"""Pooling, window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Window = tuple[list[list[int]], int]  # by dimension the taps inside; how many there are with the padding's


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """With `ceil_mode` a last window may reach over the end, if it begins inside or in the padding before."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    out = -(-room // stride) + 1
    return out - 1 if (out - 1) * stride >= size + padding else out


def windows(
    image: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[tuple[int, ...], Callable[[Sequence[int]], Window]]:
    """The output's size, and each output's window."""
    geometry = list(zip(image, kernel, stride, padding, dilation, strict=True))

    def window(at: Sequence[int]) -> Window:
        taps, count = [], 1
        for o, (n, k, s, p, d) in zip(at, geometry, strict=True):
            places = [o * s - p + q * d for q in range(k)]
            taps.append([i for i in places if 0 <= i < n])
            count *= sum(i < n + p for i in places)
        return taps, count

    return tuple(output_size(*g, ceil_mode) for g in geometry), window


def adaptive_windows(
    image: Sequence[int], out: Sequence[int]
) -> tuple[tuple[int, ...], Callable[[Sequence[int]], Window]]:
    """Windows that cover the image: floor(o * size / out) up to ceil((o + 1) * size / out)."""

    def window(at: Sequence[int]) -> Window:
        ends = [(o * n // m, -(-(o + 1) * n // m)) for o, n, m in zip(at, image, out, strict=True)]
        taps = [list(range(*end)) for end in ends]
        return taps, int(np.prod([len(t) for t in taps]))

    return tuple(out), window


def _each(x: Array, out: tuple[int, ...], window: Callable[[Sequence[int]], Window]) -> Iterator[Any]:
    """Each output's place, its elements (N, C, taps) in row-major order, where they stand, and its count."""
    where = np.arange(np.prod(x.shape[2:])).reshape(x.shape[2:])
    for at in product(*map(range, out)):
        taps, count = window(at)
        mesh = np.ix_(*taps)
        yield (..., *at), x[(slice(None), slice(None), *mesh)].reshape(*x.shape[:2], -1), where[mesh].ravel(), count


def max_pool(x: Array, out: tuple[int, ...], window: Callable[[Sequence[int]], Window]) -> tuple[Array, Array]:
    """The maxima and their places: of equals the first, of NaN the last."""
    y, index = np.zeros((*x.shape[:2], *out)), np.zeros((*x.shape[:2], *out), np.int64)
    for at, values, where, _ in _each(x.astype(np.float64), out, window):
        nan = np.isnan(values)
        last_nan = nan.shape[-1] - 1 - nan[..., ::-1].argmax(-1)
        best = np.where(nan.any(-1), last_nan, np.where(nan, -np.inf, values).argmax(-1))
        y[at] = np.take_along_axis(values, best[..., None], -1)[..., 0]
        index[at] = where[best]
    return y, index


def max_pool_gradient(dy: Array, index: Array, image: Sequence[int]) -> Array:
    """Each dy goes to where its maximum stood."""
    dx = np.zeros((*dy.shape[:2], int(np.prod(image))))
    planes = np.indices(dy.shape)[:2]
    np.add.at(dx, (planes[0], planes[1], index), dy)
    return dx.reshape(*dy.shape[:2], *image)


def avg_pool(
    x: Array,
    out: tuple[int, ...],
    window: Callable[[Sequence[int]], Window],
    counts_padding: bool = True,
    divisor: int | None = None,
) -> Array:
    """Sums, divided by what was asked for."""
    y = np.zeros((*x.shape[:2], *out))
    for at, values, _, count in _each(x.astype(np.float64), out, window):
        y[at] = values.sum(-1) / (divisor or (count if counts_padding else values.shape[-1]))
    return y


def avg_pool_gradient(
    dy: Array,
    image: Sequence[int],
    window: Callable[[Sequence[int]], Window],
    counts_padding: bool = True,
    divisor: int | None = None,
) -> Array:
    """Each dy, divided, goes to all elements of its window."""
    dx = np.zeros((*dy.shape[:2], *image))
    for at in product(*map(range, dy.shape[2:])):
        taps, count = window(at)
        n = divisor or (count if counts_padding else np.prod([len(t) for t in taps]))
        dx[(slice(None), slice(None), *np.ix_(*taps))] += (dy[(..., *at)] / n)[(..., *[None] * len(image))]
    return dx
