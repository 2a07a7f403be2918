"""The checks of kernels for images: convolutions and pooling, tap by tap, in both memory formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

import dd2424
from dd2424.check.base import Array, Check, tensor
from dd2424.nn import functional as F

# inputs, outputs, image, kernel, stride, padding, dilation, groups: odd sizes, and each kind of kernel there is
_CONVOLUTIONS = {
    "3x3": (19, 21, 13, 3, 1, 1, 1, 1),
    "3x3 of stride 2": (16, 33, 12, 3, 2, 1, 1, 1),
    "1x1": (37, 18, 7, 1, 1, 0, 1, 1),
    "5x5 of 3 channels": (3, 17, 15, 5, 1, 2, 1, 1),
    "dilated 3x3": (5, 9, 14, 3, 1, 2, 2, 1),
    "3x3 in 3 groups": (9, 12, 9, 3, 2, 1, 1, 3),
    "depthwise 3x3": (21, 21, 11, 3, 1, 1, 1, 21),
}


def image_checks(rng: np.random.Generator) -> Iterator[Check]:
    """Convolutions, all three passes, and the pools."""
    for name, sizes in _CONVOLUTIONS.items():
        yield from _convolution(rng, name, sizes)
    yield from _pools(rng)


def _convolution(rng: np.random.Generator, name: str, sizes: tuple[int, ...]) -> Iterator[Check]:
    inputs, outputs, size, k, stride, padding, dilation, groups = sizes
    shapes = (2, inputs, size, size), (outputs, inputs // groups, k, k), (outputs,)
    x, weight, bias = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y, dy = _passes(x, weight, None, options)[0], None
    dy = rng.standard_normal(y.shape).astype(np.float32)
    exact, terms = _passes(x, weight, dy, options), _passes(np.abs(x), np.abs(weight), np.abs(dy), options)
    shift = bias.astype(np.float64)[:, None, None]
    for is_last in (False, True):

        def run(which: int, is_last: bool = is_last) -> dd2424.Tensor:
            image, filters = (_images(a, is_last).requires_grad_() for a in (x, weight))
            y = F.conv2d(image, filters, tensor(bias), stride, padding, dilation, groups)
            if which == 0:
                return y
            y.backward(_images(dy, is_last))
            grad = (image, filters)[which - 1].grad
            assert grad is not None
            return grad

        layout = "channels last" if is_last else "channels first"
        yield Check(f"conv {name}, {layout}", lambda r=run: r(0), exact[0] + shift, 64, terms[0] + np.abs(shift))
        yield Check(f"conv {name} dx, {layout}", lambda r=run: r(1), exact[1], 64, terms[1])
        yield Check(f"conv {name} dweight, {layout}", lambda r=run: r(2), exact[2], 64, terms[2])


def _images(array: Array, is_last: bool) -> dd2424.Tensor:
    return tensor(array).contiguous(memory_format=dd2424.channels_last if is_last else dd2424.contiguous_format)


def _passes(x: Array, weight: Array, dy: Array | None, options: dict[str, int]) -> tuple[Array, Array, Array]:
    """y, dx and dweight in float64: each tap of the kernel meets a grid of pixels; dy is 0 where it is not given."""
    stride, padding, dilation, groups = options.values()
    n, (outputs, inputs, k, _) = len(x), weight.shape
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (padding,) * 2, (padding,) * 2])
    xs = padded.reshape(n, groups, inputs, *padded.shape[2:])
    w = weight.astype(np.float64).reshape(groups, outputs // groups, inputs, k, k)
    out = (padded.shape[2] - dilation * (k - 1) - 1) // stride + 1
    y, dx, dw = np.zeros((n, groups, outputs // groups, out, out)), np.zeros_like(xs), np.zeros_like(w)
    dys = np.zeros_like(y) if dy is None else dy.astype(np.float64).reshape(y.shape)
    for i, j in product(range(k), repeat=2):
        rows, columns = (slice(q * dilation, q * dilation + (out - 1) * stride + 1, stride) for q in (i, j))
        met = xs[..., rows, columns]
        y += np.einsum("ngchw,goc->ngohw", met, w[..., i, j])
        dx[..., rows, columns] += np.einsum("ngohw,goc->ngchw", dys, w[..., i, j])
        dw[..., i, j] = np.einsum("ngohw,ngchw->goc", dys, met)
    inside = slice(padding, padding + x.shape[2])
    return y.reshape(n, outputs, out, out), dx.reshape(padded.shape)[..., inside, inside], dw.reshape(weight.shape)


def _pools(rng: np.random.Generator) -> Iterator[Check]:
    x = rng.standard_normal((2, 19, 13, 11)).astype(np.float32)
    pools: dict[str, tuple[Callable[[dd2424.Tensor], dd2424.Tensor], Callable[..., Array], float]] = {
        "max_pool2d": (lambda t: F.max_pool2d(t, 3, 2), np.max, 0),
        "avg_pool2d": (lambda t: F.avg_pool2d(t, 3, 2), np.mean, 8),
    }
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), (2, 3))[:, :, ::2, ::2]
    size = np.abs(windows).mean((-2, -1))
    for (name, (pool, reference, limit)), is_last in product(pools.items(), (False, True)):
        layout = "channels last" if is_last else "channels first"
        run = lambda p=pool, is_last=is_last: p(_images(x, is_last))
        yield Check(f"{name} 3x3, {layout}", run, reference(windows, axis=(-2, -1)), limit, scale=size)
    mean = x.astype(np.float64).mean((2, 3), keepdims=True)
    terms = np.abs(x.astype(np.float64)).mean((2, 3), keepdims=True)
    yield Check("adaptive_avg_pool2d to 1x1", lambda: F.adaptive_avg_pool2d(tensor(x), 1), mean, 8, scale=terms)
