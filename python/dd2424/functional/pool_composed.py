"""Pooling made from other operations: power means, random windows, and the way back from a maximum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424.functional.activation import relu
from dd2424.functional.creation import arange
from dd2424.functional.elementwise import sign
from dd2424.functional.index import gather
from dd2424.functional.pool import avg_pool1d, avg_pool2d, avg_pool3d
from dd2424.functional.random import rand

__all__ = [
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]
_Sizes = int | Sequence[int]
_Ratios = float | Sequence[float]


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: _Sizes, stride: _Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """`lp_pool2d` over one dimension. Shapes: input (N, C, T) or (C, T)."""
    return _lp_pool(1, avg_pool1d, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: _Sizes, stride: _Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """The power sum of each window: its maximum as p grows, its sum for p = 1.

        y[n, c, o] = (sum over q of x[n, c, o * stride + q]^p)^(1 / p),    p = norm_type

    As in PyTorch, what a window of `ceil_mode` lacks is made up for by the mean of what it has, and the gradient of a
    window of zeros is not defined.
    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, H', W'), as in `avg_pool2d`.
    Source: Sermanet, Chintala and LeCun, "Convolutional neural networks applied to house numbers", ICPR 2012.
    """
    return _lp_pool(2, avg_pool2d, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: _Sizes, stride: _Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """`lp_pool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""
    return _lp_pool(3, avg_pool3d, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(
    space: int,
    average: Callable[..., Tensor],
    input: Tensor,
    norm_type: float,
    kernel_size: _Sizes,
    stride: _Sizes | None,
    ceil_mode: bool,
) -> Tensor:
    mean = average(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    count = math.prod(_per_dimension(kernel_size, space))
    return (sign(mean) * relu(abs(mean))).mul(count).pow(1.0 / norm_type)


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """`max_unpool2d` over one dimension. Shapes: input and indices (N, C, T) or (C, T)."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put maxima back to where `max_pool2d(return_indices=True)` found them; all else is 0.

    Several sizes are pooled to one: `output_size`, with or without batch and channels, says which is meant. Where an
    index comes twice, the last element stays.
    Shapes: input and indices (N, C, H, W) or (C, H, W);
    output (N, C, H', W'), H' = (H - 1) * stride - 2 * padding + kernel_size unless given.
    Raises: RuntimeError for indices of another shape, dtype or outside of the image; ValueError for an output_size that
    cannot have been pooled to the input's.
    Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 2.1.
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """`max_unpool2d` over volumes. Shapes: input and indices (N, C, D, H, W) or (C, D, H, W)."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _max_unpool(
    space: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None,
    padding: _Sizes,
    output_size: Sequence[int] | None,
) -> Tensor:
    kernel, margin = _per_dimension(kernel_size, space), _per_dimension(padding, space)
    step = kernel if stride is None else _per_dimension(stride, space)
    geometry = zip(input.shape[-space:], kernel, step, margin, strict=True)
    usual = tuple((n - 1) * s + k - 2 * p for n, k, s, p in geometry)
    return _core.max_unpool(space, input, indices, _unpooled(space, usual, step, output_size))


def _unpooled(
    space: int, usual: tuple[int, ...], step: tuple[int, ...], output_size: Sequence[int] | None
) -> tuple[int, ...]:
    op = f"max_unpool{space}d"
    if output_size is None:
        return usual
    if len(output_size) not in (space, space + 2):
        raise ValueError(f"{op}: output_size must have {space} or {space + 2} elements, got {tuple(output_size)}")
    sizes = tuple(output_size)[-space:]
    for size, middle, s in zip(sizes, usual, step, strict=True):
        if not middle - s < size < middle + s:
            raise ValueError(f"{op}: output_size must lie between {middle - s + 1} and {middle + s - 1}, got {sizes}")
    return sizes


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: _Sizes,
    output_size: _Sizes | None = None,
    output_ratio: _Ratios | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The greatest elements of windows that lie at random, a little more or less than a fraction apart.

        window p begins at floor((p + u) * a) - floor(u * a),    a = (H - kernel_size) / (H' - 1),    u from [0, 1)

    and the last ends with the image; u is drawn for each image, channel and dimension. The size is `output_size` or
    `output_ratio` times the input's.
    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, H', W'); samples (N, C, 2), of width and height.
    Raises: ValueError unless one of output_size and output_ratio is given; RuntimeError for windows that do not fit.
    Source: Graham, "Fractional max-pooling", arXiv:1412.6071.
    """
    both = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return both if return_indices else both[0]


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: _Sizes,
    output_size: _Sizes | None = None,
    output_ratio: _Ratios | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """`fractional_max_pool2d` over volumes. Shapes: input (N, C, D, H, W); samples (N, C, 3), the depth's first."""
    both = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return both if return_indices else both[0]


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: _Sizes,
    output_size: _Sizes | None = None,
    output_ratio: _Ratios | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool2d` with the elements' positions, whatever `return_indices` says."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: _Sizes,
    output_size: _Sizes | None = None,
    output_ratio: _Ratios | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool3d` with the elements' positions, whatever `return_indices` says."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def _fractional(
    space: int,
    input: Tensor,
    kernel_size: _Sizes,
    output_size: _Sizes | None,
    output_ratio: _Ratios | None,
    samples: Tensor | None,
) -> tuple[Tensor, Tensor]:
    op = f"fractional_max_pool{space}d"
    if input.ndim == space + 1:
        y, index = _fractional(space, input.unsqueeze(0), kernel_size, output_size, output_ratio, samples)
        return y.squeeze(0), index.squeeze(0)
    if input.ndim != space + 2:
        raise RuntimeError(f"{op}: input must have {space + 2} dimensions or, without a batch, {space + 1}, got shape "
                           f"{tuple(input.shape)}")  # fmt: skip
    image, kernel = tuple(input.shape[2:]), _per_dimension(kernel_size, space)
    out = _fractional_size(op, space, image, output_size, output_ratio)
    for n, k, o in zip(image, kernel, out, strict=True):
        if k < 1 or o < 1 or o + k - 1 > n:
            raise RuntimeError(f"{op}: kernel_size must leave room for {out} windows in {image}, got {kernel}")
    if samples is None:
        samples = rand((*input.shape[:2], space), dtype=input.dtype, device=input.device)
    elif tuple(samples.shape) != (*input.shape[:2], space):
        raise RuntimeError(f"{op}: _random_samples must be {(*input.shape[:2], space)}, got {tuple(samples.shape)}")
    index = _fractional_index(image, kernel, out, samples)
    windows = gather(input.flatten(2), 2, index.flatten(2)).reshape(index.shape)
    y, greatest = windows.max(-1)
    return y, gather(index, -1, greatest.unsqueeze(-1)).squeeze(-1)


def _fractional_index(image: tuple[int, ...], kernel: tuple[int, ...], out: tuple[int, ...], samples: Tensor) -> Tensor:
    """Where each tap of each window stands: (N, C, *out, taps)."""
    space = len(image)
    index: Tensor | None = None
    for d, (n, k, o) in enumerate(zip(image, kernel, out, strict=True)):
        u = samples[..., space - 1 - d if space == 2 else d].unsqueeze(-1)  # PyTorch's order: the width's first in 2-d
        step = (n - k) / (o - 1) if o > 1 else 0.0
        starts = ((arange(o, dtype=samples.dtype, device=samples.device) + u) * step).long() - (u * step).long()
        starts[..., o - 1] = n - k
        line = starts.unsqueeze(-1) + arange(k, device=samples.device)  # (N, C, o, k)
        shape = [*line.shape[:2], *([1] * (2 * space))]
        shape[2 + d], shape[2 + space + d] = o, k
        line = line.reshape(shape)
        index = line if index is None else index * n + line
    assert index is not None
    return index.flatten(2 + space)


def _fractional_size(
    op: str, space: int, image: tuple[int, ...], output_size: _Sizes | None, output_ratio: _Ratios | None
) -> tuple[int, ...]:
    if output_size is not None:
        return _per_dimension(output_size, space)
    if output_ratio is None:
        raise ValueError(f"{op}: output_size or output_ratio must be given, got neither")
    ratios = (output_ratio,) * space if isinstance(output_ratio, int | float) else tuple(output_ratio)
    if len(ratios) != space:
        raise ValueError(f"{op}: output_ratio must have {space} elements, got {ratios}")
    return tuple(int(n * ratio) for n, ratio in zip(image, ratios, strict=True))


def _per_dimension(value: _Sizes, space: int) -> tuple[int, ...]:
    sizes = (value,) * space if isinstance(value, int) else tuple(value)
    if len(sizes) not in (1, space):
        raise RuntimeError(f"pool: sizes must have 1 or {space} elements, got {sizes}")
    return sizes * space if len(sizes) == 1 else sizes
