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


def conv_gradients(
    x: Array,
    weight: Array,
    dy: Array,
    *,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int = 1,
) -> tuple[Array, Array]:
    """dx and dweight of `conv`: each tap of a pixel of y sends dy * weight to x, and dy * x to the tap."""
    x, weight, dy = (a.astype(np.float64) for a in (x, weight, dy))
    padded = np.pad(x, [(0, 0), (0, 0), *padding])
    xs = padded.reshape(len(x), groups, -1, *padded.shape[2:])
    dys = dy.reshape(len(dy), groups, weight.shape[0] // groups, *dy.shape[2:])
    w = weight.reshape(groups, -1, *weight.shape[1:])
    dx, dweight = np.zeros_like(xs), np.zeros_like(w)
    for q, where in _taps(weight.shape[2:], dy.shape[2:], stride, dilation):
        dx[(..., *where)] += np.einsum("ngo...,goc->ngc...", dys, w[(..., *q)])
        flat = [a.reshape(*a.shape[:3], -1) for a in (dys, xs[(..., *where)])]
        dweight[(..., *q)] = np.einsum("ngop,ngcp->goc", *flat)
    cut = [slice(before, n - after) for n, (before, after) in zip(padded.shape[2:], padding, strict=True)]
    return dx.reshape(padded.shape)[(..., *cut)], dweight.reshape(weight.shape)


def conv_transpose_gradients(
    x: Array,
    weight: Array,
    dy: Array,
    *,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    output_padding: Sequence[int],
    groups: int = 1,
) -> tuple[Array, Array]:
    """dx and dweight of `conv_transpose`: it is the transpose of `conv`, so x and dy change places."""
    before = [pair[0] for pair in padding]
    reach = zip(x.shape[2:], stride, dilation, weight.shape[2:], strict=True)
    seen = [(n - 1) * step + gap * (k - 1) + 1 for n, step, gap, k in reach]  # of the padded dy, by some tap
    behind = [n - front - m for n, front, m in zip(seen, before, dy.shape[2:], strict=True)]
    margins = list(zip(before, (max(0, n) for n in behind), strict=True))
    cut = tuple(slice(0, n - front) for n, front in zip(seen, before, strict=True))
    options: dict[str, Any] = {"stride": stride, "padding": margins, "dilation": dilation, "groups": groups}
    dx = conv(dy[(..., *cut)], weight, **options)
    return dx, conv_gradients(dy[(..., *cut)], weight, x, **options)[1]
