"""The constructors that PyTorch had before dtypes."""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424._core import Tensor, dtype

# fmt: off
__all__ = [
    "FloatTensor", "DoubleTensor", "HalfTensor", "BFloat16Tensor", "LongTensor", "IntTensor", "ShortTensor",
    "CharTensor", "ByteTensor", "BoolTensor",
]
# fmt: on


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
