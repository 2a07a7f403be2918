"""Convolutional layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dd2424 import _core, functional as F
from dd2424._core import Tensor, dtype
from dd2424.nn import init
from dd2424.nn.module import Module
from dd2424.nn.parameter import Parameter, UninitializedParameter, is_lazy

# fmt: off
__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    "LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d",
]
# fmt: on
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def _check_groups(name: str, groups: int, inputs: int, outputs: int) -> None:
    if groups <= 0 or inputs % groups or outputs % groups:
        raise ValueError(f"{name}: groups must divide in_channels and out_channels, got {groups} for {inputs} and "
                         f"{outputs}")  # fmt: skip


class _Conv(Module):
    """What convolutions and transposed convolutions of any number of dimensions share."""

    _space = 0
    _transposed = False
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int],
        padding: int | str | Sequence[int],
        dilation: int | Sequence[int],
        output_padding: int | Sequence[int],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: dtype | None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        _check_groups(name, groups, in_channels, out_channels)
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"{name}: padding_mode must be one of {', '.join(_PADDING_MODES)}, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = self._sizes(kernel_size), self._sizes(stride)
        self.dilation, self.output_padding = self._sizes(dilation), self._sizes(output_padding)
        self.padding: str | tuple[int, ...] = padding if isinstance(padding, str) else self._sizes(padding)
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f'{name}: padding must be numbers, "same" or "valid", got {padding!r}')
        if padding == "same" and any(step != 1 for step in self.stride):
            raise ValueError(f'{name}: stride must be 1 with padding="same", got {self.stride}')
        self.padding_mode = padding_mode
        self.weight = Parameter(_core.empty(self._weight_shape(), dtype=dtype, device=device))
        values = _core.empty((out_channels,), dtype=dtype, device=device) if bias else None
        self.register_parameter("bias", None if values is None else Parameter(values))
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        inputs, outputs = self.in_channels, self.out_channels
        first, second = (inputs, outputs) if self._transposed else (outputs, inputs)
        return (first, second // self.groups, *self.kernel_size)

    def _sizes(self, value: int | Sequence[int]) -> tuple[int, ...]:
        sizes = (value,) * self._space if isinstance(value, int) else tuple(value)
        return sizes * self._space if len(sizes) == 1 else sizes

    def reset_parameters(self) -> None:
        """Draw the initial values again: uniform on [-1, 1] / sqrt(C / groups * taps)."""
        if self.weight.numel() == 0:
            return
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def _margins(self) -> list[int]:
        """Padding in front and behind, the last dimension first, as `functional.pad` takes it."""
        if self.padding == "valid":
            return [0] * (2 * self._space)
        if self.padding == "same":
            total = [gap * (size - 1) for gap, size in zip(self.dilation, self.kernel_size, strict=True)]
            return [side for n in reversed(total) for side in (n // 2, n - n // 2)]
        assert not isinstance(self.padding, str)
        return [n for n in reversed(self.padding) for _ in range(2)]

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        defaults = {"padding": (0,), "dilation": (1,), "output_padding": (0,)}
        for name, (usual,) in defaults.items():
            if getattr(self, name) != (usual,) * self._space:
                parts.append(f"{name}={getattr(self, name)}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _ConvForward(_Conv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias,
                         padding_mode, device, dtype)  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return self._conv(input, self.weight, self.bias)

    def _conv(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        conv = (F.conv1d, F.conv2d, F.conv3d)[self._space - 1]
        if self.padding_mode == "zeros":
            return conv(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        padded = F.pad(input, self._margins(), mode=self.padding_mode)
        return conv(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


class Conv1d(_ConvForward):
    """`Conv2d` over one dimension. Shapes: input (N, C, T) or (C, T); weight (O, C / groups, KT)."""

    _space = 1


class Conv2d(_ConvForward):
    """Learned filters that slide over images.

        y[n, o, p] = bias[o] + sum over c, q of weight[o, c, q] * x[n, c, p * stride + q * dilation - padding]

    Weights and biases are drawn uniformly from [-1, 1] / sqrt(C / groups * KH * KW). `padding` may be "same" or
    "valid"; `padding_mode` says what stands outside of the image: "zeros", "reflect", "replicate" or "circular".
    Shapes: input (N, C, H, W) or (C, H, W); weight (O, C / groups, KH, KW); bias (O,); output (N, O, H', W').
    Raises: ValueError for groups that do not divide the channels, or an unknown padding or padding_mode.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86(11), 1998.
    """

    _space = 2


class Conv3d(_ConvForward):
    """`Conv2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W); weight (O, C / groups, KD, KH, KW)."""

    _space = 3


class _ConvTransposed(_Conv):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'{type(self).__name__}: padding_mode must be "zeros", got {padding_mode!r}')
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups,
                         bias, padding_mode, device, dtype)  # fmt: skip

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self._space - 1]
        extra = self.output_padding if output_size is None else self._extra_for(input, output_size)
        assert not isinstance(self.padding, str)
        return conv(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _extra_for(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that leads to `output_size`, given with or without batch and channels."""
        assert not isinstance(self.padding, str)
        wanted, extra = tuple(output_size)[-self._space :], []
        geometry = zip(
            input.shape[-self._space :], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
        )
        for size, (length, step, margin, gap, taps) in zip(wanted, geometry, strict=True):
            least = (length - 1) * step - 2 * margin + gap * (taps - 1) + 1
            if not least <= size < least + step:
                name, most = type(self).__name__, least + step - 1
                raise ValueError(f"{name}: output_size must lie between {least} and {most} for input "
                                 f"{tuple(input.shape)}, got {tuple(output_size)}")  # fmt: skip
            extra.append(size - least)
        return tuple(extra)


class ConvTranspose1d(_ConvTransposed):
    """`ConvTranspose2d` over one dimension. Shapes: input (N, C, T) or (C, T); weight (C, O / groups, KT)."""

    _space = 1


class ConvTranspose2d(_ConvTransposed):
    """Filters that spread each pixel over a patch: the gradient of `Conv2d` by its input, as a layer.

    `output_padding`, or `output_size` of the call, says which of the sizes is meant that a strided convolution would
    bring down to the input's.
    Shapes: input (N, C, H, W) or (C, H, W); weight (C, O / groups, KH, KW); bias (O,); output (N, O, H', W'),
    H' = (H - 1) * stride - 2 * padding + dilation * (KH - 1) + output_padding + 1.
    Raises: ValueError for another padding_mode than "zeros", or an output_size that cannot be had.
    Source: Zeiler et al., "Deconvolutional networks", CVPR 2010.
    """

    _space = 2


class ConvTranspose3d(_ConvTransposed):
    """`ConvTranspose2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""

    _space = 3


class _LazyConv(_Conv):
    """Takes in_channels from the first input, and is the plain layer from then on."""

    _becomes: type[_Conv]

    def _await_input(self, out_channels: int, groups: int, bias: bool, device: Any, dtype: dtype | None) -> None:
        self.out_channels, self.groups = out_channels, groups
        self.weight = UninitializedParameter(_core.empty((0,), dtype=dtype, device=device))
        if bias:
            self.bias = UninitializedParameter(_core.empty((0,), dtype=dtype, device=device))

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params():
            super().reset_parameters()

    def forward(self, input: Tensor, *args: Any) -> Tensor:
        plain, space = self._becomes, self._space
        if input.ndim not in (space + 1, space + 2):
            raise RuntimeError(f"{type(self).__name__}: input must have {space + 2} dimensions or, without a batch, "
                               f"{space + 1}, got {tuple(input.shape)}")  # fmt: skip
        if is_lazy(self.weight):
            self.in_channels = input.shape[-space - 1]
            _check_groups(plain.__name__, self.groups, self.in_channels, self.out_channels)
            self.weight.materialize(self._weight_shape())  # type: ignore[attr-defined]
            if is_lazy(self.bias):
                self.bias.materialize((self.out_channels,))  # type: ignore[union-attr]
            self.reset_parameters()
        self.__class__ = plain  # type: ignore[assignment]
        return self(input, *args)  # type: ignore[no-any-return]


class _LazyForward(_LazyConv, _ConvForward):
    def __init__(
        self,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, dilation, 1, False, padding_mode, device, dtype)
        self._await_input(out_channels, groups, bias, device, dtype)


class _LazyTransposed(_LazyConv, _ConvTransposed):
    def __init__(
        self,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, output_padding, 1, False, dilation, padding_mode, device,
                         dtype)  # fmt: skip
        self._await_input(out_channels, groups, bias, device, dtype)


class LazyConv1d(_LazyForward):
    """A `Conv1d` that takes in_channels from its first input."""

    _space, _becomes = 1, Conv1d


class LazyConv2d(_LazyForward):
    """A `Conv2d` that takes in_channels from its first input."""

    _space, _becomes = 2, Conv2d


class LazyConv3d(_LazyForward):
    """A `Conv3d` that takes in_channels from its first input."""

    _space, _becomes = 3, Conv3d


class LazyConvTranspose1d(_LazyTransposed):
    """A `ConvTranspose1d` that takes in_channels from its first input."""

    _space, _becomes = 1, ConvTranspose1d


class LazyConvTranspose2d(_LazyTransposed):
    """A `ConvTranspose2d` that takes in_channels from its first input."""

    _space, _becomes = 2, ConvTranspose2d


class LazyConvTranspose3d(_LazyTransposed):
    """A `ConvTranspose3d` that takes in_channels from its first input."""

    _space, _becomes = 3, ConvTranspose3d
