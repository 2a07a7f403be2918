"""Resizing and rearranging images, and sampling them at the places of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import _core
from dd2424._core import Tensor

__all__ = [
    "affine_grid", "channel_shuffle", "fold", "grid_sample", "interpolate", "pixel_shuffle", "pixel_unshuffle",
    "unfold", "upsample", "upsample_bilinear", "upsample_nearest",
]  # fmt: skip
_WITHOUT_CORNERS = ("nearest", "nearest-exact", "area")


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize images to `size`, or by `scale_factor`.

    Output i of a dimension stands at the input's coordinate

        (i + 0.5) * in / out - 0.5, or, with `align_corners`, i * (in - 1) / (out - 1),

    where 1 / scale_factor takes the place of in / out if it is given and not to be recomputed from the sizes. `mode`
    says what is read there: "nearest" takes the pixel at floor(i * in / out), "nearest-exact" the nearest one;
    "linear", "bilinear" and "trilinear" weigh neighbours by their distance, "bicubic" by Keys' kernel with slope -3/4;
    "area" is the mean over all pixels that an output covers. `antialias` stretches the kernel over these pixels as
    well ("bilinear", "bicubic" with slope -1/2, and "lanczos", which is for that alone).
    Shapes: input (N, C, T), (N, C, H, W) or (N, C, D, H, W); output likewise, of the new size.
    Raises: ValueError for arguments that exclude each other; NotImplementedError for a mode that is unknown or not for
    these dimensions or this dtype; RuntimeError for empty sizes.
    Source: Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP 29(6), 1981.
    """
    if mode in _WITHOUT_CORNERS and align_corners is not None:
        raise ValueError(f"interpolate: align_corners must be None in mode {mode}, got {align_corners}")
    sizes, scales = _sizes(input, size, scale_factor, bool(recompute_scale_factor) or mode == "area")
    if recompute_scale_factor and size is not None:
        raise ValueError("interpolate: recompute_scale_factor must not be set with an explicit size")
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.ndim == 4):
        raise ValueError("interpolate: antialias must go with mode bilinear, bicubic or lanczos and an input of 4 "
                         f"dimensions, got mode {mode} and {input.ndim}")  # fmt: skip
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("interpolate: mode lanczos must go with antialias=True and without align_corners")
    return _core.interpolate(input, sizes, scales, mode, bool(align_corners), antialias)


def _sizes(
    input: Tensor, size: int | Sequence[int] | None, scale: float | Sequence[float] | None, drops_scale: bool
) -> tuple[Sequence[int], Sequence[float]]:
    """The output's size and, unless it is to be forgotten, the scale, by dimension."""
    space = input.ndim - 2
    if (size is None) == (scale is None):
        raise ValueError("interpolate: size or scale_factor must be given, and not both")
    for name, value in (("size", size), ("scale_factor", scale)):
        if isinstance(value, Sequence) and len(value) != space:
            raise ValueError(f"interpolate: {name} must have a number for each of {space} dimensions of input "
                             f"{tuple(input.shape)}, got {tuple(value)}")  # fmt: skip
    if size is not None:
        return (tuple(size) if isinstance(size, Sequence) else (size,) * space), ()
    assert scale is not None
    scales = tuple(scale) if isinstance(scale, Sequence) else (scale,) * space
    return [math.floor(n * s) for n, s in zip(input.shape[2:], scales)], (() if drops_scale else scales)


def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate` by its older name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """`interpolate` in mode "nearest"."""
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """`interpolate` in mode "bilinear", with corners aligned."""
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Spread groups of r * r channels over squares of pixels.

        y[c, h * r + i, w * r + j] = x[c * r * r + i * r + j, h, w]

    Shapes: input (*, C * r * r, H, W); output (*, C, H * r, W * r), in the input's memory format.
    Raises: RuntimeError where r * r does not divide the channels.
    Source: Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
    neural network", arXiv:1609.05158, section 3.
    """
    return _core.pixel_shuffle(input, upscale_factor)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Undo `pixel_shuffle`. Shapes: input (*, C, H * r, W * r); output (*, C * r * r, H, W)."""
    return _core.pixel_unshuffle(input, downscale_factor)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Deal the channels of each group out to all: channel (g, c) of (groups, C / groups) becomes channel (c, g).

    Shapes: input (N, C, *); output the same, in the input's memory format.
    Raises: RuntimeError where groups does not divide the channels.
    Source: Zhang et al., "ShuffleNet", arXiv:1707.01083, section 3.1.
    """
    return _core.channel_shuffle(input, groups)


def unfold(
    input: Tensor,
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """Lay the patches under a sliding kernel out as columns, so that a convolution is one matrix product.

        y[n, (c, p, q), (i, j)] = x[n, c, i * stride + p * dilation - padding, likewise], 0 outside of the image

    Shapes: input (N, C, H, W) or (C, H, W); output (N, C * KH * KW, L), L the number of patches.
    Raises: RuntimeError where the kernel does not fit into the padded image.
    """
    return _core.unfold(input, _pair(kernel_size), _pair(dilation), _pair(padding), _pair(stride))


def fold(
    input: Tensor,
    output_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """Add patches up to images of `output_size`: the adjoint of `unfold`, hence its gradient.

    Shapes: input (N, C * KH * KW, L) or (C * KH * KW, L); output (N, C, *output_size).
    Raises: RuntimeError where L is not the number of patches, or KH * KW does not divide the rows.
    """
    return _core.fold(input, _pair(output_size), _pair(kernel_size), _pair(dilation), _pair(padding), _pair(stride))


def _pair(value: int | Sequence[int]) -> Sequence[int]:
    if isinstance(value, int):
        return (value, value)
    return tuple(value) * 2 if len(value) == 1 else value


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Read images at the places that a grid names, each as (x, y) or (x, y, z) from -1 to 1.

    These are the centres of the border's pixels with `align_corners`, else their outer sides. `mode` is "bilinear"
    (trilinear for volumes), "nearest" or "bicubic"; outside stands what `padding_mode` says: "zeros", the nearest
    "border" pixel, or the image's "reflection". Gradients reach the image and the grid, of any order.
    Shapes: input (N, C, H, W) or (N, C, D, H, W); grid (N, H', W', 2) or (N, D', H', W', 3); output (N, C, H', W') or
    (N, C, D', H', W').
    Raises: ValueError for unknown modes; RuntimeError where input and grid do not match.
    Source: Jaderberg et al., "Spatial transformer networks", arXiv:1506.02025, section 3.3.
    """
    return _core.grid_sample(input, grid, mode, padding_mode, bool(align_corners))


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid for `grid_sample` that takes each image through an affine map: place (x, y, 1) becomes theta (x, y, 1).

    Shapes: theta (N, 2, 3) and size (N, C, H, W) give (N, H, W, 2); (N, 3, 4) and (N, C, D, H, W) (N, D, H, W, 3).
    Raises: ValueError for a theta of another shape or dtype, or empty sizes; NotImplementedError for other sizes.
    Source: Jaderberg et al., "Spatial transformer networks", arXiv:1506.02025, section 3.2.
    """
    if not theta.dtype.is_floating_point:
        raise ValueError(f"affine_grid: theta must have a floating dtype, got {theta.dtype}")
    space = len(size) - 2
    if space not in (2, 3):
        raise NotImplementedError(f"affine_grid: size must have 4 or 5 numbers, got {tuple(size)}")
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (space, space + 1):
        raise ValueError(f"affine_grid: theta must be (N, {space}, {space + 1}) for size {tuple(size)}, got "
                         f"{tuple(theta.shape)}")  # fmt: skip
    if min(size) <= 0:
        raise ValueError(f"affine_grid: size must be positive, got {tuple(size)}")
    if theta.shape[0] != size[0]:
        raise RuntimeError(f"affine_grid: theta must have size[0] = {size[0]} maps, got {tuple(theta.shape)}")
    base = _core.ones((*size[2:], space + 1), dtype=theta.dtype, device=theta.device)
    for d, n in enumerate(reversed(size[2:])):  # x, the last dimension, comes first
        base[..., d] = _coordinates(n, theta, bool(align_corners)).reshape(n, *[1] * d)
    grid = base.reshape(1, -1, space + 1) @ theta.transpose(1, 2)
    return grid.reshape(size[0], *size[2:], space)


def _coordinates(n: int, like: Tensor, align_corners: bool) -> Tensor:
    """Of n pixels on [-1, 1]."""
    if n == 1:
        return _core.zeros((1,), dtype=like.dtype, device=like.device)
    steps = _core.arange(0, n, dtype=_core.float64, device=like.device)
    places = steps * (2 / (n - 1)) - 1 if align_corners else (2 * steps + 1) / n - 1
    return places.to(like.dtype)
