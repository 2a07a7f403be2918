"""Pooling over one to three dimensions: one number for each window of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
]
_Sizes = int | Sequence[int]
_Pair = tuple[Tensor, Tensor]


def max_pool1d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    dilation: _Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool2d` over one dimension. Shapes: input (N, C, T) or (C, T)."""
    pool = _core.max_pool_with_indices if return_indices else _core.max_pool
    return pool(1, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    dilation: _Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The greatest element of each window of an image; NaN where there is one.

        y[n, c, p] = max over q of x[n, c, p * stride + q * dilation - padding],    0 <= q < kernel_size

    where padding is never the greatest, and `stride` is the kernel's size unless given. With `ceil_mode` a last window
    may reach over the end if it begins before it. `return_indices` adds where the elements stand in the image,
    h * W + w as int64: of equals the first.
    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, H', W'),
    H' = floor((H + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1. Memory format as the input's.
    Raises: RuntimeError where sizes do not fit, or the padding is more than half of the kernel.
    Source: Jarrett et al., "What is the best multi-stage architecture for object recognition?", ICCV 2009.
    """
    pool = _core.max_pool_with_indices if return_indices else _core.max_pool
    return pool(2, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    dilation: _Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""
    pool = _core.max_pool_with_indices if return_indices else _core.max_pool
    return pool(3, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    dilation: _Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> _Pair:
    """`max_pool1d` with the elements' positions, whatever `return_indices` says."""
    return _core.max_pool_with_indices(1, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    dilation: _Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> _Pair:
    """`max_pool2d` with the elements' positions, whatever `return_indices` says."""
    return _core.max_pool_with_indices(2, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    dilation: _Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> _Pair:
    """`max_pool3d` with the elements' positions, whatever `return_indices` says."""
    return _core.max_pool_with_indices(3, input, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool1d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """`avg_pool2d` over one dimension. Shapes: input (N, C, T) or (C, T)."""
    return _core.avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of an image.

        y[n, c, p] = sum over q of x[n, c, p * stride + q - padding] / count,    0 <= q < kernel_size

    where x is 0 outside of the image, and count is `divisor_override` or the number of elements in the window: with
    `count_include_pad` those of the padding too, but nothing behind it, where only `ceil_mode` leads.
    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, H', W'), as in `max_pool2d`. Memory format as the input's.
    Raises: RuntimeError where sizes do not fit, the padding is more than half of the kernel, or the divisor is 0.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86(11), 1998.
    """
    return _core.avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """`avg_pool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""
    return _core.avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """`adaptive_avg_pool2d` over one dimension. Shapes: input (N, C, T) or (C, T); output (N, C, output_size)."""
    return _core.adaptive_avg_pool(1, input, _filled(output_size, input, 1))


def adaptive_avg_pool2d(input: Tensor, output_size: int | None | Sequence[int | None]) -> Tensor:
    """The means of as many windows as are asked for.

        y[n, c, p] = mean of x[n, c, i],    floor(p * H / H') <= i < ceil((p + 1) * H / H')

    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, *output_size); None keeps a dimension as it is.
    Raises: RuntimeError for an input that is empty in space, or a negative size.
    Source: He et al., "Spatial pyramid pooling in deep convolutional networks", ECCV 2014.
    """
    return _core.adaptive_avg_pool(2, input, _filled(output_size, input, 2))


def adaptive_avg_pool3d(input: Tensor, output_size: int | None | Sequence[int | None]) -> Tensor:
    """`adaptive_avg_pool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""
    return _core.adaptive_avg_pool(3, input, _filled(output_size, input, 3))


def adaptive_max_pool1d(
    input: Tensor, output_size: int | Sequence[int], return_indices: bool = False
) -> Any:
    """`adaptive_max_pool2d` over one dimension. Shapes: input (N, C, T) or (C, T); output (N, C, output_size)."""
    both = adaptive_max_pool1d_with_indices(input, output_size)
    return both if return_indices else both[0]


def adaptive_max_pool2d(
    input: Tensor, output_size: int | None | Sequence[int | None], return_indices: bool = False
) -> Any:
    """The greatest elements of as many windows as are asked for: those of `adaptive_avg_pool2d`.

    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, *output_size); None keeps a dimension as it is.
    `return_indices` adds where they stand in the image, h * W + w as int64.
    Raises: RuntimeError for an empty image, or a negative size.
    Source: He et al., "Spatial pyramid pooling in deep convolutional networks", ECCV 2014.
    """
    both = adaptive_max_pool2d_with_indices(input, output_size)
    return both if return_indices else both[0]


def adaptive_max_pool3d(
    input: Tensor, output_size: int | None | Sequence[int | None], return_indices: bool = False
) -> Any:
    """`adaptive_max_pool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""
    both = adaptive_max_pool3d_with_indices(input, output_size)
    return both if return_indices else both[0]


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: int | Sequence[int], return_indices: bool = False
) -> _Pair:
    """`adaptive_max_pool1d` with the elements' positions, whatever `return_indices` says."""
    return _core.adaptive_max_pool(1, input, _filled(output_size, input, 1))


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: int | None | Sequence[int | None], return_indices: bool = False
) -> _Pair:
    """`adaptive_max_pool2d` with the elements' positions, whatever `return_indices` says."""
    return _core.adaptive_max_pool(2, input, _filled(output_size, input, 2))


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: int | None | Sequence[int | None], return_indices: bool = False
) -> _Pair:
    """`adaptive_max_pool3d` with the elements' positions, whatever `return_indices` says."""
    return _core.adaptive_max_pool(3, input, _filled(output_size, input, 3))


def _filled(output_size: int | None | Sequence[int | None], input: Tensor, space: int) -> Sequence[int]:
    """The sizes asked for, the input's where None stands."""
    if isinstance(output_size, int):
        return (output_size,)
    sizes = (None,) * space if output_size is None else tuple(output_size)
    if None not in sizes:
        return sizes  # type: ignore[return-value]
    if len(sizes) != space:
        name = f"adaptive_pool{space}d"
        raise RuntimeError(f"{name}: output_size must have {space} elements, got {sizes}")
    return tuple(n if size is None else size for size, n in zip(sizes, input.shape[-space:], strict=True))
