"""Dtypes by PyTorch's names, and their limits."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from dd2424 import _core
from dd2424._core import dtype

__all__ = ["finfo", "iinfo"]

_NUMPY: dict[dtype, np.dtype[np.generic]] = {
    _core.float64: np.dtype(np.float64),
    _core.float32: np.dtype(np.float32),
    _core.float16: np.dtype(np.float16),
    _core.bfloat16: np.dtype(ml_dtypes.bfloat16),
    _core.int64: np.dtype(np.int64),
    _core.int32: np.dtype(np.int32),
    _core.int16: np.dtype(np.int16),
    _core.int8: np.dtype(np.int8),
    _core.uint8: np.dtype(np.uint8),
    _core.bool: np.dtype(np.bool_),
}
_FROM_NUMPY = {numpy_dtype: ours for ours, numpy_dtype in _NUMPY.items()}


def to_numpy_dtype(ours: dtype) -> np.dtype[np.generic]:
    """NumPy's (or ml_dtypes') dtype for this one."""
    return _NUMPY[ours]


def from_numpy_dtype(theirs: np.dtype[np.generic]) -> dtype:
    """The dtype that holds what NumPy's `theirs` holds. Raises: TypeError where there is none."""
    found = _FROM_NUMPY.get(np.dtype(theirs).newbyteorder("="))
    if found is None:
        raise TypeError(f"from_numpy: dtype must be a float, an integer of at most 64 bits or bool, got {theirs}")
    return found


class finfo:
    """Limits of a floating-point dtype, the default one if none is given.

    bits; eps, the gap after 1; max, min; tiny (smallest_normal); resolution, 10^-digits.
    """

    def __init__(self, type: dtype | None = None) -> None:
        self.dtype = _core.get_default_dtype() if type is None else type
        if not self.dtype.is_floating_point:
            raise TypeError(f"finfo: type must be floating-point, got {self.dtype}")
        limits: Any = ml_dtypes.finfo(_NUMPY[self.dtype])  # type: ignore[no-untyped-call]
        self.bits = int(limits.bits)
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.tiny)
        self.resolution = float(limits.resolution)

    def __repr__(self) -> str:
        return (f"finfo(resolution={self.resolution}, min={self.min}, max={self.max}, eps={self.eps}, "
                f"smallest_normal={self.tiny}, tiny={self.tiny}, dtype={_short(self.dtype)})")  # fmt: skip


class iinfo:
    """Limits of an integer dtype: bits, max, min."""

    def __init__(self, type: dtype) -> None:
        self.dtype = type
        if type.is_floating_point or type == _core.bool:
            raise TypeError(f"iinfo: type must be an integer type, got {type}")
        limits = np.iinfo(_NUMPY[type].str)
        self.bits, self.max, self.min = int(limits.bits), int(limits.max), int(limits.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={_short(self.dtype)})"


def _short(type: dtype) -> str:
    return str(type).rpartition(".")[2]
