"""Layers that pad, in each mode and for one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import functional as F
from dd2424._core import Tensor
from dd2424.nn.module import Module

# fmt: off
__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]
# fmt: on


class _Pad(Module):
    """`padding`: one number for all sides, or (in front, behind) of each dimension, the last first."""

    _space = 0
    _mode = "constant"
    value: float | None = None

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self._space) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_Pad):
    value = 0.0


class _ReflectionPad(_Pad):
    _mode = "reflect"


class _ReplicationPad(_Pad):
    _mode = "replicate"


class _CircularPad(_Pad):
    _mode = "circular"


class ConstantPad1d(_ConstantPad):
    """A constant around rows. Shapes: input (C, T) or (N, C, T)."""

    _space = 1


class ConstantPad2d(_ConstantPad):
    """A constant around images. Shapes: input (C, H, W) or (N, C, H, W)."""

    _space = 2


class ConstantPad3d(_ConstantPad):
    """A constant around volumes. Shapes: input (C, D, H, W) or (N, C, D, H, W)."""

    _space = 3


class ZeroPad1d(_ZeroPad):
    """Zeros around rows. Shapes: input (C, T) or (N, C, T)."""

    _space = 1


class ZeroPad2d(_ZeroPad):
    """Zeros around images. Shapes: input (C, H, W) or (N, C, H, W)."""

    _space = 2


class ZeroPad3d(_ZeroPad):
    """Zeros around volumes. Shapes: input (C, D, H, W) or (N, C, D, H, W)."""

    _space = 3


class ReflectionPad1d(_ReflectionPad):
    """The mirror image around rows. Shapes: input (C, T) or (N, C, T)."""

    _space = 1


class ReflectionPad2d(_ReflectionPad):
    """The mirror image around images. Shapes: input (C, H, W) or (N, C, H, W)."""

    _space = 2


class ReflectionPad3d(_ReflectionPad):
    """The mirror image around volumes. Shapes: input (C, D, H, W) or (N, C, D, H, W)."""

    _space = 3


class ReplicationPad1d(_ReplicationPad):
    """The border repeated around rows. Shapes: input (C, T) or (N, C, T)."""

    _space = 1


class ReplicationPad2d(_ReplicationPad):
    """The border repeated around images. Shapes: input (C, H, W) or (N, C, H, W)."""

    _space = 2


class ReplicationPad3d(_ReplicationPad):
    """The border repeated around volumes. Shapes: input (C, D, H, W) or (N, C, D, H, W)."""

    _space = 3


class CircularPad1d(_CircularPad):
    """The other end before and behind rows. Shapes: input (C, T) or (N, C, T)."""

    _space = 1


class CircularPad2d(_CircularPad):
    """The other end before and behind images. Shapes: input (C, H, W) or (N, C, H, W)."""

    _space = 2


class CircularPad3d(_CircularPad):
    """The other end before and behind volumes. Shapes: input (C, D, H, W) or (N, C, D, H, W)."""

    _space = 3
