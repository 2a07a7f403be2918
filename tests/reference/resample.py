"""Padding and resizing in float64, one dimension after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(x: Array, pads: Sequence[int], mode: str = "constant", value: float = 0.0) -> Array:
    """NumPy's own pads; what is negative is cut off first."""
    sides = [(0, 0)] * (x.ndim - len(pads) // 2) + list(zip(pads[::2], pads[1::2], strict=True))[::-1]
    x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, sides, strict=True))]
    widths = [(max(a, 0), max(b, 0)) for a, b in sides]
    options = {"constant_values": value} if mode == "constant" else {}
    return np.pad(x, widths, mode=_NUMPY_MODES[mode], **options)  # type: ignore[call-overload]


def pad_gradient(shape: Sequence[int], dy: Array, pads: Sequence[int], mode: str = "constant") -> Array:
    """Every element of dy goes to the one that the pad copied; those of a constant go nowhere."""
    places = pad(np.arange(1, np.prod(shape) + 1).reshape(shape), pads, mode)
    dx = np.zeros(1 + int(np.prod(shape)))
    np.add.at(dx, places, dy)
    return dx[1:].reshape(shape)


def _kernel(name: str, x: float) -> float:
    """What a pixel at distance x weighs."""
    x = abs(x)
    if name == "linear":
        return max(0.0, 1 - x)
    if name == "lanczos":
        return float(np.sinc(x) * np.sinc(x / 3)) if x < 3 else 0.0
    a = -0.5 if name == "smooth cubic" else -0.75
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def _step(size: int, out: int, align_corners: bool, scale: float | None) -> float:
    if align_corners:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return size / out if scale is None else 1 / scale


def matrix(size: int, out: int, mode: str, align_corners: bool = False, scale: float | None = None) -> Array:
    """What each output of one dimension is made of: (out, size). Modes without their number of dimensions."""
    m = np.zeros((out, size))
    step = _step(size, out, align_corners, scale)
    for i in range(out):
        place = i * step if align_corners else (i + 0.5) * step - 0.5
        if mode in ("nearest", "nearest-exact"):
            m[i, min(int((i + (0.5 if mode == "nearest-exact" else 0)) * step), size - 1)] = 1
        elif mode == "area":
            begin, end = i * size // out, -((-(i + 1) * size) // out)
            m[i, begin:end] = 1 / (end - begin)
        else:
            place = max(place, 0) if mode == "linear" else place
            for k in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
                m[i, min(max(k, 0), size - 1)] += _kernel(mode, place - k)
    return m


def antialiased(size: int, out: int, mode: str, align_corners: bool = False, scale: float | None = None) -> Array:
    """Likewise, with the kernel stretched over all pixels of an output, and weights that sum to 1."""
    step = _step(size, out, align_corners, scale)
    reach = {"linear": 1, "cubic": 2, "lanczos": 3}[mode] * max(step, 1)
    kernel = "smooth cubic" if mode == "cubic" else mode
    m = np.zeros((out, size))
    for i in range(out):
        centre = (i + 0.5) * step
        for k in range(max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), size)):
            m[i, k] = _kernel(kernel, (k + 0.5 - centre) / max(step, 1))
    return m / m.sum(1, keepdims=True)


def separable(x: Array, matrices: Sequence[Array]) -> Array:
    """Each matrix along its dimension of space; a gradient takes the transposed ones."""
    y = x.astype(np.float64)
    for d, m in enumerate(matrices, 2):
        y = np.moveaxis(np.tensordot(m, y, (1, d)), 0, d)
    return y


def unfold(x: Array, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Array:
    """The patches of (N, C, H, W) as columns: (N, C * KH * KW, L)."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    sizes = zip(x.shape[2:], kernel, dilation, stride, strict=True)
    out = [(n - d * (k - 1) - 1) // s + 1 for n, k, d, s in sizes]
    columns = np.zeros((*x.shape[:2], *kernel, *out), x.dtype)
    for p, q in np.ndindex(*kernel):
        rows = slice(p * dilation[0], p * dilation[0] + (out[0] - 1) * stride[0] + 1, stride[0])
        across = slice(q * dilation[1], q * dilation[1] + (out[1] - 1) * stride[1] + 1, stride[1])
        columns[:, :, p, q] = x[:, :, rows, across]
    return columns.reshape(len(x), -1, out[0] * out[1])


def fold(columns: Array, size: Sequence[int], kernel: Any, dilation: Any, padding: Any, stride: Any) -> Array:
    """Every pixel is the sum of its copies: they are found by unfolding the pixels' numbers."""
    n, channels, pixels = len(columns), columns.shape[1] // int(np.prod(kernel)), int(np.prod(size))
    numbers = np.arange(1, pixels + 1).reshape(1, 1, *size)
    places = unfold(numbers, kernel, dilation, padding, stride)[0].ravel()
    x = np.zeros((n, channels, 1 + pixels))
    np.add.at(x, (slice(None), slice(None), places), columns.reshape(n, channels, -1).astype(np.float64))
    return x[:, :, 1:].reshape(n, channels, *size)


def _reflected(at: float, low: float, high: float) -> float:
    while high > low and not low <= at <= high:
        at = 2 * low - at if at < low else 2 * high - at
    return at if high > low else 0.0


def _padded(at: float, size: int, padding: str, align_corners: bool) -> float:
    if padding == "zeros":
        return at
    if padding == "reflection":
        at = _reflected(at, *((0, size - 1) if align_corners else (-0.5, size - 0.5)))
    return min(max(at, 0.0), size - 1.0)


def grid_weights(at: float, size: int, mode: str, padding: str, align_corners: bool) -> Array:
    """What each pixel of one dimension weighs at the grid's coordinate `at`."""
    weights = np.zeros(size)
    pixel = (at + 1) / 2 * (size - 1) if align_corners else ((at + 1) * size - 1) / 2
    if mode != "cubic":
        pixel = _padded(pixel, size, padding, align_corners)
    first = int(np.floor(pixel)) - 1
    for k in range(first, first + 4):
        weight = float(k == np.round(pixel)) if mode == "nearest" else _kernel(mode, pixel - k)
        place = int(_padded(k, size, padding, align_corners)) if mode == "cubic" else k
        if 0 <= place < size:
            weights[place] += weight
    return weights


def grid_sample(x: Array, grid: Array, mode: str, padding: str, align_corners: bool) -> Array:
    """Pixel by pixel; modes are "nearest", "linear" and "cubic"."""
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for n, *place in np.ndindex(*grid.shape[:-1]):
        value = x[n].astype(np.float64)
        for d, at in enumerate(grid[(n, *place)]):  # the last dimension first
            value = value @ grid_weights(float(at), x.shape[-1 - d], mode, padding, align_corners)
        y[(n, slice(None), *place)] = value
    return y
