"""Convolution over one to three dimensions, and its transpose."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import _core
from dd2424._core import Tensor

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    relu: bool = False,
) -> Tensor:
    """`conv2d` over one dimension. Shapes: input (N, C, T) or (C, T); weight (O, C / groups, KT); bias (O,)."""
    return _convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups, relu)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    relu: bool = False,
) -> Tensor:
    """Slide filters over images; `relu` adds max(y, 0) in the same kernel.

        y[n, o, p] = bias[o] + sum over c, q of weight[o, c, q] * x[n, c, p * stride + q * dilation - padding]

    where x is 0 outside of the image, and c runs over the C / groups channels of o's group. `padding` may be "valid"
    (none) or "same" (the output is as large as the input; an odd total leaves the extra zero behind).
    Shapes: input (N, C, H, W) or (C, H, W); weight (O, C / groups, KH, KW); bias (O,);
    output (N, O, H', W'), H' = floor((H + 2 * padding - dilation * (KH - 1) - 1) / stride) + 1. It lies channels-last
    in memory where input or weight does.
    Raises: RuntimeError where the sizes do not fit or the kernel is larger than the padded input.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86(11), 1998.
    """
    return _convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups, relu)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    relu: bool = False,
) -> Tensor:
    """`conv2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W); weight (O, C / groups, KD, KH, KW)."""
    return _convolution("conv3d", 3, input, weight, bias, stride, padding, dilation, groups, relu)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    relu: bool = False,
) -> Tensor:
    """`conv_transpose2d` over one dimension. Shapes: input (N, C, T) or (C, T); weight (C, O / groups, KT)."""
    return _transposed("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation,
                       relu)  # fmt: skip


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    relu: bool = False,
) -> Tensor:
    """The gradient of `conv2d` by its input, as an operation of its own: it brings images back to the larger size.

    Several input sizes of a strided convolution give one output size; `output_padding` says which is meant.
    Shapes: input (N, C, H, W) or (C, H, W); weight (C, O / groups, KH, KW); bias (O,); output (N, O, H', W'),
    H' = (H - 1) * stride - 2 * padding + dilation * (KH - 1) + output_padding + 1.
    Raises: RuntimeError where the sizes do not fit, or output_padding is not smaller than stride or dilation.
    Source: Zeiler et al., "Deconvolutional networks", CVPR 2010.
    """
    return _transposed("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation,
                       relu)  # fmt: skip


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    relu: bool = False,
) -> Tensor:
    """`conv_transpose2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W); weight (C, O / groups, ...)."""
    return _transposed("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation,
                       relu)  # fmt: skip


def _convolution(
    op: str,
    space: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Sequence[int],
    padding: int | str | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
    relu: bool,
) -> Tensor:
    _check_space(op, space, weight)
    steps, gaps = _per_dimension(stride, space), _per_dimension(dilation, space)
    before, after = _padding(op, space, padding, weight, steps, gaps)
    return _core.convolution(input, weight, bias, steps, before, after, gaps, groups, relu)


def _transposed(
    op: str,
    space: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    output_padding: int | Sequence[int],
    groups: int,
    dilation: int | Sequence[int],
    relu: bool,
) -> Tensor:
    _check_space(op, space, weight)
    steps, margins, extra, gaps = (_per_dimension(v, space) for v in (stride, padding, output_padding, dilation))
    return _core.convolution_transposed(input, weight, bias, steps, margins, extra, gaps, groups, relu)


def _check_space(op: str, space: int, weight: Tensor) -> None:
    if weight.ndim != space + 2:
        raise RuntimeError(f"{op}: weight must have {space + 2} dimensions, got shape {tuple(weight.shape)}")


def _per_dimension(value: int | Sequence[int], space: int) -> Sequence[int]:
    if isinstance(value, int):
        return (value,) * space
    return tuple(value) * space if len(value) == 1 else value


def _padding(
    op: str,
    space: int,
    padding: int | str | Sequence[int],
    weight: Tensor,
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Sequence[int], Sequence[int]]:
    """Zeros in front and behind, by dimension."""
    if padding == "valid":
        return (0,) * space, (0,) * space
    if padding == "same":
        if any(step != 1 for step in stride):
            raise RuntimeError(f'{op}: stride must be 1 with padding="same", got {tuple(stride)}')
        total = [gap * (size - 1) for gap, size in zip(dilation, weight.shape[2:], strict=True)]
        return tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
    if isinstance(padding, str):
        raise RuntimeError(f'{op}: padding must be numbers, "same" or "valid", got "{padding}"')
    both = _per_dimension(padding, space)
    return both, both
