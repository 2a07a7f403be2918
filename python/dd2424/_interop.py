"""Tensors over memory that others own: buffers, DLPack; and the constructors that PyTorch had before dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor, dtype

# fmt: off
__all__ = [
    "from_dlpack", "frombuffer", "FloatTensor", "DoubleTensor", "HalfTensor", "BFloat16Tensor", "LongTensor",
    "IntTensor", "ShortTensor", "CharTensor", "ByteTensor", "BoolTensor",
]
# fmt: on


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of another library's array, without a copy.

    Raises: TypeError for what does not speak DLPack or has a dtype that there is none for; RuntimeError for a GPU's.
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(f"from_dlpack: ext_tensor must have __dlpack__, got {type(ext_tensor).__name__}")
    kind, _ = ext_tensor.__dlpack_device__()
    if int(kind) != 1:
        raise RuntimeError(f"from_dlpack: ext_tensor must be in the processor's memory, got device kind {int(kind)}")
    return _core.from_numpy(np.from_dlpack(ext_tensor))


def frombuffer(buffer: Any, *, dtype: dtype, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A vector over a buffer's memory from byte `offset`; `count` -1 takes all of it. A read-only buffer may not be
    written in place.

    Raises: ValueError where the buffer does not hold whole elements, or too few.
    """
    from dd2424._dtypes import to_numpy_dtype

    array = np.frombuffer(buffer, to_numpy_dtype(dtype), count, offset)
    return _core.from_numpy(array).requires_grad_(requires_grad)


class _TypedTensor(type):
    """FloatTensor and its kin: called they make a tensor of their dtype, isinstance asks for it."""

    dtype_of_elements: dtype

    def __call__(cls, *args: Any) -> Tensor:
        if len(args) == 1 and not isinstance(args[0], int | _core.Size):
            return _core.tensor(args[0], dtype=cls.dtype_of_elements)
        return _core.empty(*args or (0,), dtype=cls.dtype_of_elements)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype_of_elements


def _typed(name: str, kind: dtype) -> _TypedTensor:
    doc = f"A tensor of {kind}: {name}(2, 3) is uninitialised, {name}(data) a copy."
    return _TypedTensor(name, (), {"dtype_of_elements": kind, "dtype": kind, "__doc__": doc, "__module__": "dd2424"})


FloatTensor, DoubleTensor = _typed("FloatTensor", _core.float32), _typed("DoubleTensor", _core.float64)
HalfTensor, BFloat16Tensor = _typed("HalfTensor", _core.float16), _typed("BFloat16Tensor", _core.bfloat16)
LongTensor, IntTensor = _typed("LongTensor", _core.int64), _typed("IntTensor", _core.int32)
ShortTensor, CharTensor = _typed("ShortTensor", _core.int16), _typed("CharTensor", _core.int8)
ByteTensor, BoolTensor = _typed("ByteTensor", _core.uint8), _typed("BoolTensor", _core.bool)
