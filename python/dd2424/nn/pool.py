"""Pooling layers: maxima and means of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dd2424._core import Tensor
from dd2424.nn import functional as F
from dd2424.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]
_Sizes = int | Sequence[int]


class _MaxPool(Module):
    _pool: Any

    def __init__(
        self,
        kernel_size: _Sizes,
        stride: _Sizes | None = None,
        padding: _Sizes = 0,
        dilation: _Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        return self._pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """`MaxPool2d` over one dimension. Shapes: input (N, C, T) or (C, T)."""

    _pool = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The greatest element of each window of an image; NaN where there is one.

        y[n, c, p] = max over q of x[n, c, p * stride + q * dilation - padding],    0 <= q < kernel_size

    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, H', W'); with `return_indices` also where the elements stand.
    Raises: RuntimeError where sizes do not fit, or the padding is more than half of the kernel.
    Source: Jarrett et al., "What is the best multi-stage architecture for object recognition?", ICCV 2009.
    """

    _pool = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """`MaxPool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""

    _pool = staticmethod(F.max_pool3d)


class AvgPool1d(Module):
    """`AvgPool2d` over one dimension. Shapes: input (N, C, T) or (C, T)."""

    def __init__(
        self,
        kernel_size: _Sizes,
        stride: _Sizes | None = None,
        padding: _Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = _single(kernel_size)
        self.stride = self.kernel_size if stride is None else _single(stride)
        self.padding = _single(padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    _pool: Any

    def __init__(
        self,
        kernel_size: _Sizes,
        stride: _Sizes | None = None,
        padding: _Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self._pool(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip
        return y

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of each window of an image.

        y[n, c, p] = sum over q of x[n, c, p * stride + q - padding] / count,    0 <= q < kernel_size

    where count is `divisor_override` or the number of elements in the window, with `count_include_pad` those of the
    padding too.
    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, H', W').
    Raises: RuntimeError where sizes do not fit, the padding is more than half of the kernel, or the divisor is 0.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86(11), 1998.
    """

    _pool = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """`AvgPool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""

    _pool = staticmethod(F.avg_pool3d)


class _Adaptive(Module):
    _pool: Any

    def __init__(self, output_size: int | None | Sequence[int | None]) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Any:
        return self._pool(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """`AdaptiveAvgPool2d` over one dimension. Shapes: input (N, C, T) or (C, T); output (N, C, output_size)."""

    _pool = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    """The means of as many windows as are asked for; of the whole image with `output_size` 1.

        y[n, c, p] = mean of x[n, c, i],    floor(p * H / H') <= i < ceil((p + 1) * H / H')

    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, *output_size); None keeps a dimension as it is.
    Raises: RuntimeError for an input that is empty in space, or a negative size.
    Source: He et al., "Spatial pyramid pooling in deep convolutional networks", ECCV 2014.
    """

    _pool = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_Adaptive):
    """`AdaptiveAvgPool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""

    _pool = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMax(_Adaptive):
    def __init__(self, output_size: int | None | Sequence[int | None], return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return self._pool(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """`AdaptiveMaxPool2d` over one dimension. Shapes: input (N, C, T) or (C, T); output (N, C, output_size)."""

    _pool = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The greatest elements of as many windows as are asked for: those of `AdaptiveAvgPool2d`.

    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, *output_size); with `return_indices` also where they stand.
    Raises: RuntimeError for an empty image, or a negative size.
    Source: He et al., "Spatial pyramid pooling in deep convolutional networks", ECCV 2014.
    """

    _pool = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMax):
    """`AdaptiveMaxPool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""

    _pool = staticmethod(F.adaptive_max_pool3d)


def _single(value: _Sizes) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)
