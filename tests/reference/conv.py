"""Convolutions in float64, tap by tap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def _taps(kernel: Sequence[int], out: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Iterator[Any]:
    """Each tap of the kernel, and the slices of the padded image that it meets."""
    for q in product(*map(range, kernel)):
        starts = [i * gap for i, gap in zip(q, dilation, strict=True)]
        yield q, tuple(slice(s, s + (n - 1) * step + 1, step) for s, n, step in zip(starts, out, stride, strict=True))


def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int = 1,
) -> Array:
    """(N, C, *) and (O, C / groups, *) give (N, O, *); padding is (in front, behind) by dimension."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    x = np.pad(x, [(0, 0), (0, 0), *padding]).reshape(len(x), groups, -1, *np.add(x.shape[2:], np.sum(padding, 1)))
    w = weight.reshape(groups, -1, *weight.shape[1:])
    kernel = weight.shape[2:]
    sizes = zip(x.shape[3:], kernel, stride, dilation, strict=True)
    out = [(n - gap * (k - 1) - 1) // step + 1 for n, k, step, gap in sizes]
    y = np.zeros((len(x), groups, w.shape[1], *out))
    for q, where in _taps(kernel, out, stride, dilation):
        y += np.einsum("ngc...,goc->ngo...", x[(..., *where)], w[(..., *q)])
    y = y.reshape(len(x), -1, *out)
    return y if bias is None else y + bias.astype(np.float64).reshape(-1, *[1] * len(out))


def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    output_padding: Sequence[int],
    groups: int = 1,
) -> Array:
    """(N, C, *) and (C, O / groups, *) give (N, O, *): every input pixel adds its patch to the output."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    size, kernel = x.shape[2:], weight.shape[2:]
    x, w = x.reshape(len(x), groups, -1, *size), weight.reshape(groups, -1, *weight.shape[1:])
    geometry = zip(size, kernel, stride, dilation, output_padding, strict=True)
    whole = [(n - 1) * step + gap * (k - 1) + 1 + extra for n, k, step, gap, extra in geometry]
    y = np.zeros((len(x), groups, w.shape[2], *whole))
    for q, where in _taps(kernel, size, stride, dilation):
        y[(..., *where)] += np.einsum("ngc...,gco->ngo...", x, w[(..., *q)])
    cut = [slice(before, n - after) for n, (before, after) in zip(whole, padding, strict=True)]
    y = y.reshape(len(x), -1, *whole)[(..., *cut)]
    return y if bias is None else y + bias.astype(np.float64).reshape(-1, *[1] * len(size))
