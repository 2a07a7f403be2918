"""New tensors: of constants, ranges, and from what Python and NumPy hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor, dtype
from dd2424._device import device
from dd2424._dtypes import to_numpy_dtype
from dd2424._formats import memory_format
from dd2424._types import Number

# fmt: off
__all__ = [
    "tensor", "as_tensor", "asarray", "from_numpy", "scalar_tensor", "empty", "zeros", "ones", "full", "empty_like",
    "empty_strided", "frombuffer", "from_dlpack", "zeros_like", "ones_like", "full_like", "arange", "range",
    "linspace", "logspace", "eye", "tril_indices", "triu_indices", "vander",
]
# fmt: on
Device = device | str | None


_PLAIN = {bool, int, float, list, tuple, np.ndarray}


def tensor(data: Any, *, dtype: dtype | None = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """A copy of a number, nested lists, an array or a tensor. Python floats take the default dtype, ints int64."""
    if type(data) not in _PLAIN and not isinstance(data, Tensor) and hasattr(data, "__cuda_array_interface__"):
        shared = as_tensor(data)
        return shared.to(dtype=dtype or shared.dtype, device=device, copy=True).requires_grad_(requires_grad)
    return _core.tensor(data, dtype=dtype, device=device, requires_grad=requires_grad)


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor that shares the array's memory. Raises: TypeError for what is no array or has no dtype here."""
    return _core.from_numpy(ndarray)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of another library's array, without a copy.

    Raises: TypeError for what does not speak DLPack or has a dtype that there is none for; RuntimeError for memory of
        another kind of device than the processor and CUDA's.
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(f"from_dlpack: ext_tensor must have __dlpack__, got {type(ext_tensor).__name__}")
    kind, _ = ext_tensor.__dlpack_device__()
    if int(kind) == 2:
        from dd2424.cuda.arrays import from_dlpack as from_gpu

        return from_gpu(ext_tensor)
    if int(kind) != 1:
        raise RuntimeError(f"from_dlpack: ext_tensor must be in the processor's memory, got device kind {int(kind)}")
    return _core.from_numpy(np.from_dlpack(ext_tensor))


def frombuffer(buffer: Any, *, dtype: dtype, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A vector over a buffer's memory from byte `offset`; `count` -1 takes all of it. A read-only buffer may not be
    written in place.

    Raises: ValueError where the buffer does not hold whole elements, or too few.
    """
    array = np.frombuffer(buffer, to_numpy_dtype(dtype), count, offset)
    return _core.from_numpy(array).requires_grad_(requires_grad)


def as_tensor(data: Any, dtype: dtype | None = None, device: Device = None) -> Tensor:
    """As `tensor`, sharing memory with an array or tensor where dtype and device allow."""
    if isinstance(data, Tensor):
        return data if dtype is None and device is None else data.to(dtype=dtype or data.dtype, device=device)
    if type(data).__module__ == "numpy" and type(data).__name__ == "ndarray":
        shared = _core.from_numpy(data)
        return shared if dtype is None and device is None else shared.to(dtype=dtype or shared.dtype, device=device)
    if hasattr(data, "__cuda_array_interface__"):
        from dd2424.cuda.arrays import from_interface

        shared = from_interface(data)
        return shared if dtype is None and device is None else shared.to(dtype=dtype or shared.dtype, device=device)
    return _core.tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """As `as_tensor`; `copy=True` never shares memory."""
    made = tensor(obj, dtype=dtype, device=device) if copy else as_tensor(obj, dtype, device)
    return made.requires_grad_() if requires_grad else made


def scalar_tensor(s: Number, *, dtype: dtype | None = None, device: Device = None) -> Tensor:
    """A 0-d tensor of the default dtype."""
    return _core.full((), s, dtype=dtype or _core.get_default_dtype(), device=device)


def _size(size: tuple[Any, ...]) -> Sequence[int]:
    return size[0] if len(size) == 1 and not isinstance(size[0], int) else size


def empty(*size: Any, dtype: dtype | None = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Elements not set: whatever the memory held."""
    return _core.empty(_size(size), dtype=dtype, device=device, requires_grad=requires_grad)


def zeros(*size: Any, dtype: dtype | None = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """All 0."""
    return _core.zeros(_size(size), dtype=dtype, device=device, requires_grad=requires_grad)


def ones(*size: Any, dtype: dtype | None = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """All 1."""
    return _core.ones(_size(size), dtype=dtype, device=device, requires_grad=requires_grad)


def full(
    size: Sequence[int],
    fill_value: Number,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """All `fill_value`, whose type gives the dtype."""
    return _core.full(size, fill_value, dtype=dtype, device=device, requires_grad=requires_grad)


def empty_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: memory_format | None = None,
) -> Tensor:
    """`empty` with the input's shape and dtype."""
    return _core.empty_like(input, dtype=dtype, device=device, requires_grad=requires_grad, memory_format=memory_format)


def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """`empty` with these strides, in elements. Raises: RuntimeError for a negative stride or unequal lengths."""
    if len(size) != len(stride) or any(step < 0 for step in stride):
        raise RuntimeError(f"empty_strided: stride must be one number >= 0 a dimension of {tuple(size)}, got {stride}")
    span = 1 + sum((n - 1) * step for n, step in zip(size, stride)) if all(size) else 0
    made = _core.empty((span,), dtype=dtype, device=device).as_strided(tuple(size), tuple(stride))
    return made.detach().requires_grad_(requires_grad)


def zeros_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: memory_format | None = None,
) -> Tensor:
    """`zeros` with the input's shape and dtype."""
    return _core.zeros_like(input, dtype=dtype, device=device, requires_grad=requires_grad, memory_format=memory_format)


def ones_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: memory_format | None = None,
) -> Tensor:
    """`ones` with the input's shape and dtype."""
    return _core.ones_like(input, dtype=dtype, device=device, requires_grad=requires_grad, memory_format=memory_format)


def full_like(
    input: Tensor,
    fill_value: Number,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: memory_format | None = None,
) -> Tensor:
    """`full` with the input's shape and dtype."""
    return _core.full_like(
        input, fill_value, dtype=dtype, device=device, requires_grad=requires_grad, memory_format=memory_format
    )


def arange(
    start: Number,
    end: Number | None = None,
    step: Number = 1,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below `end`; with one number, 0 ... below it. Shapes: (ceil((end - start) / step),)."""
    first, last = (0, start) if end is None else (start, end)
    return _core.arange(first, last, step, dtype=dtype, device=device, requires_grad=requires_grad)


def range(start: Number = 0, end: Number = 0, step: Number = 1, *, dtype: dtype | None = None) -> Tensor:
    """start, start + step, ... up to and including `end`."""
    count = int((end - start) / step) + 1
    kind = dtype or _core.get_default_dtype()
    return (_core.arange(0, count, 1, dtype=_core.float64) * step + start).to(kind)


def linspace(
    start: Number,
    end: Number,
    steps: int,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers from `start` to `end`, both included, evenly spaced, computed in float64. Shapes: (steps,)."""
    if steps < 0:
        raise RuntimeError(f"linspace: steps must be non-negative, got {steps}")
    numbers = _core.arange(0, steps, 1, dtype=_core.float64, device=device)
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    # The second half counts from the end, so that both ends are met exactly.
    values = _core.where(numbers < steps / 2, start + numbers * step, end - (steps - 1 - numbers) * step)
    made = (values if steps > 1 else numbers + start).to(dtype or _core.get_default_dtype())
    return made.requires_grad_() if requires_grad else made


def logspace(
    start: Number, end: Number, steps: int, base: float = 10.0, *, dtype: dtype | None = None, device: Device = None
) -> Tensor:
    """base^start ... base^end, evenly spaced on a logarithmic scale. Shapes: (steps,)."""
    exponents = linspace(start, end, steps, dtype=_core.float64, device=device)
    return _core.pow(base, exponents).to(dtype or _core.get_default_dtype())


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the diagonal, zeros elsewhere. Shapes: (n, m), m being n by default."""
    columns = n if m is None else m
    made = _core.zeros((n, columns), dtype=dtype, device=device)
    if n and columns:
        made.as_strided((min(n, columns),), (columns + 1,)).fill_(1)
    return made.requires_grad_() if requires_grad else made


def _triangle(row: int, col: int, offset: int, lower: bool) -> Tensor:
    rows, columns = _core.arange(0, row).unsqueeze(1), _core.arange(0, col).unsqueeze(0)
    inside = columns - rows <= offset if lower else columns - rows >= offset
    return _core.nonzero(inside).T.contiguous()


def tril_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Rows and columns of the elements on and below a diagonal, row by row. Shapes: (2, count)."""
    return _triangle(row, col, offset, lower=True)


def triu_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Rows and columns of the elements on and above a diagonal, row by row. Shapes: (2, count)."""
    return _triangle(row, col, offset, lower=False)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of x, by column: the highest first unless `increasing`. Shapes: x (n,); output (n, N)."""
    count = x.shape[0] if N is None else N
    exponents = _core.arange(0, count) if increasing else _core.arange(count - 1, -1, -1)
    return _core.pow(x.unsqueeze(1), exponents)
