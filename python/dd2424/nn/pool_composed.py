"""Pooling layers made from other operations: power means, random windows, and the way back from a maximum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dd2424._core import Tensor
from dd2424.nn import functional as F
from dd2424.nn.module import Module

# fmt: off
__all__ = [
    "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d",
    "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
]
# fmt: on
_Sizes = int | Sequence[int]


class _LPPool(Module):
    _pool: Any

    def __init__(
        self, norm_type: float, kernel_size: _Sizes, stride: _Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self._pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)
        return y

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """`LPPool2d` over one dimension. Shapes: input (N, C, T) or (C, T)."""

    _pool = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """The power sum of each window: its maximum as p grows, its sum for p = 1.

        y[n, c, o] = (sum over q of x[n, c, o * stride + q]^p)^(1 / p),    p = norm_type

    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, H', W').
    Source: Sermanet, Chintala and LeCun, "Convolutional neural networks applied to house numbers", ICPR 2012.
    """

    _pool = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """`LPPool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""

    _pool = staticmethod(F.lp_pool3d)


class _MaxUnpool(Module):
    _pool: Any
    _space = 0

    def __init__(self, kernel_size: _Sizes, stride: _Sizes | None = None, padding: _Sizes = 0) -> None:
        super().__init__()
        self.kernel_size = self._sizes(kernel_size)
        self.stride = self.kernel_size if stride is None else self._sizes(stride)
        self.padding = self._sizes(padding)

    def _sizes(self, value: _Sizes) -> tuple[int, ...]:
        return (value,) * self._space if isinstance(value, int) else tuple(value)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        y: Tensor = self._pool(input, indices, self.kernel_size, self.stride, self.padding, output_size)
        return y

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """`MaxUnpool2d` over one dimension. Shapes: input and indices (N, C, T) or (C, T)."""

    _space = 1
    _pool = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """Put maxima back to where `MaxPool2d(return_indices=True)` found them; all else is 0.

    Shapes: input and indices (N, C, H, W) or (C, H, W);
    output (N, C, H', W'), H' = (H - 1) * stride - 2 * padding + kernel_size, unless the call says `output_size`.
    Raises: RuntimeError for indices of another shape, dtype or outside of the image; ValueError for an output_size that
    cannot have been pooled to the input's.
    Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 2.1.
    """

    _space = 2
    _pool = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """`MaxUnpool2d` over volumes. Shapes: input and indices (N, C, D, H, W) or (C, D, H, W)."""

    _space = 3
    _pool = staticmethod(F.max_unpool3d)


class _Fractional(Module):
    _pool: Any
    _space = 0

    def __init__(
        self,
        kernel_size: _Sizes,
        output_size: _Sizes | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{name}: one of output_size and output_ratio must be given, got {output_size} and "
                             f"{output_ratio}")  # fmt: skip
        self.kernel_size = self._each(kernel_size)
        self.output_size = None if output_size is None else self._each(output_size)
        self.output_ratio = None if output_ratio is None else self._each(output_ratio)
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"{name}: output_ratio must lie between 0 and 1, got {output_ratio}")
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def _each(self, value: Any) -> Any:
        return (value,) * self._space if isinstance(value, int | float) else tuple(value)

    def forward(self, input: Tensor) -> Any:
        return self._pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_Fractional):
    """The greatest elements of windows that lie at random, a little more or less than a fraction apart.

    Shapes: input (N, C, H, W) or (C, H, W); output (N, C, H', W'), `output_size` or `output_ratio` times the input's.
    Raises: ValueError unless one of output_size and output_ratio is given, or for a ratio outside (0, 1).
    Source: Graham, "Fractional max-pooling", arXiv:1412.6071.
    """

    _space = 2
    _pool = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_Fractional):
    """`FractionalMaxPool2d` over volumes. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""

    _space = 3
    _pool = staticmethod(F.fractional_max_pool3d)
