"""A GPU's tensors and other libraries' arrays over the same memory: CuPy, DLPack, the CUDA array interface."""

from __future__ import annotations

from typing import Any

import numpy as np

from dd2424 import _core
from dd2424._core import CudaStream, Tensor
from dd2424.cuda.library import require, why_not

_CODES = {
    dtype: np.dtype(dtype.name).str
    for dtype in (_core.float32, _core.float64, _core.float16, _core.int64, _core.int32, _core.int16, _core.int8,
                  _core.uint8, _core.bool)
}  # fmt: skip
_LEGACY, _ANY = 1, -1  # names of streams that the protocols give: the default one, and none to wait for
_has_allocator = False


def _cupy(name: str) -> Any:
    """CuPy, taking its memory from here. Raises: RuntimeError where it is missing."""
    global _has_allocator
    if reason := why_not(cupy=True):
        raise RuntimeError(f"{name}: {reason}; or use .cpu() for a copy")
    import cupy  # type: ignore[import-not-found, import-untyped, unused-ignore]

    if not _has_allocator:
        cupy.cuda.set_allocator(cupy.cuda.PythonFunctionAllocator(
            lambda size, device: _core.cuda_allocate(size), lambda block, device: _core.cuda_release(block)
        ).malloc)  # fmt: skip
        _has_allocator = True
    return cupy


def _check_dtype(name: str, tensor: Tensor) -> None:
    if tensor.dtype not in _CODES:
        raise TypeError(f"{name}: no array library there has {tensor.dtype}; use .float()")


def array_of(tensor: Tensor) -> Any:
    """A CuPy array over the memory of a GPU's tensor; what CuPy does with it comes behind what was asked for here.

    Raises: RuntimeError without CuPy, TypeError for bfloat16.
    """
    cupy = _cupy("array")
    _check_dtype("array", tensor)
    theirs, ours = cupy.cuda.get_current_stream().ptr, CudaStream.current()
    if theirs != ours.pointer:
        CudaStream.at(theirs).wait_stream(ours)
    spans = zip(tensor.shape, tensor.stride(), strict=True)
    count = 1 + sum((n - 1) * step for n, step in spans) if tensor.numel() else 0
    memory = cupy.cuda.UnownedMemory(tensor.data_ptr(), count * tensor.itemsize, tensor, 0)
    strides = tuple(step * tensor.itemsize for step in tensor.stride())
    return cupy.ndarray(
        tuple(tensor.shape), np.dtype(_CODES[tensor.dtype]), cupy.cuda.MemoryPointer(memory, 0), strides
    )


def interface_of(tensor: Tensor) -> dict[str, Any]:
    """The memory of a GPU's tensor, as CuPy, Numba and PyTorch take it; ready behind the current stream's work.

    Raises: AttributeError for a tensor in the processor's memory, and TypeError for bfloat16.
    """
    if not tensor.is_cuda:
        raise AttributeError("__cuda_array_interface__: the tensor must be on a GPU; use .cuda()")
    _check_dtype("__cuda_array_interface__", tensor)
    strides = tuple(step * tensor.itemsize for step in tensor.stride())
    return {"shape": tuple(tensor.shape), "typestr": _CODES[tensor.dtype], "strides": strides, "version": 3,
            "data": (tensor.data_ptr(), False), "stream": CudaStream.current().pointer or _LEGACY}  # fmt: skip


def _wait_for(stream: int | None) -> None:
    """Lets what comes next on the current stream wait for another library's, by the name its protocol gives."""
    if stream is None or stream == _ANY:
        return
    theirs, ours = CudaStream.at(0 if stream == _LEGACY else stream), CudaStream.current()
    if theirs.pointer != ours.pointer:
        ours.wait_stream(theirs)


def from_interface(array: Any) -> Tensor:
    """A tensor over the memory of an array with `__cuda_array_interface__`, without a copy; the array is kept alive.

    Raises: TypeError for a dtype that there is none for, RuntimeError where there is no GPU or strides are negative.
    """
    require("as_tensor")
    given = array.__cuda_array_interface__
    kinds = {code: dtype for dtype, code in _CODES.items()}
    if given["typestr"] not in kinds:
        raise TypeError(f"as_tensor: data must have a dtype that tensors have, got {given['typestr']}")
    dtype, shape = kinds[given["typestr"]], tuple(given["shape"])
    strides = given.get("strides")
    if strides is None:
        sizes = (*shape[1:], 1)
        strides = tuple(dtype.itemsize * int(np.prod(sizes[d:], dtype=np.int64)) for d in range(len(shape)))
    if any(step < 0 or step % dtype.itemsize for step in strides):
        raise RuntimeError(f"as_tensor: data must have whole strides that are not negative, got {strides}")
    _wait_for(given.get("stream"))
    steps = tuple(step // dtype.itemsize for step in strides)
    pointer, is_read_only = given["data"]
    return _core.from_device_pointer(pointer, shape, steps, dtype, not is_read_only, array)


def to_dlpack(
    tensor: Tensor,
    stream: int | None = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """A DLPack capsule over a GPU's tensor, ready on `stream` as the protocol names it.

    Raises: BufferError for another device, or where a copy is asked for.
    """
    if dl_device not in (None, (2, 0)) or copy:
        raise BufferError("__dlpack__: dl_device must be that of the tensor, and copy must not be asked for")
    if stream != _ANY:
        ours, theirs = CudaStream.current(), CudaStream.at(0 if stream in (None, _LEGACY) else stream)
        if theirs.pointer != ours.pointer:
            theirs.wait_stream(ours)
    return _core.to_dlpack(tensor)


def from_dlpack(array: Any) -> Tensor:
    """A tensor over the memory of another library's GPU array, without a copy."""
    require("from_dlpack")
    return _core.from_dlpack(array.__dlpack__(stream=CudaStream.current().pointer or _LEGACY))
