"""A GPU's tensors as other libraries' arrays and theirs as tensors: over the same memory, in the same order."""

from __future__ import annotations

import gc
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor, cuda
from dd2424.cuda import arrays
from on_gpu import needs_gpu

pytestmark = needs_gpu
DTYPES = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


class FakeCupy(ModuleType):
    """As much of CuPy as is used, over the emulated GPU."""

    __version__ = "14.0"

    def __init__(self) -> None:
        super().__init__("cupy")
        self.current, self.allocator, self.version = 0, None, 13000
        self.cuda = SimpleNamespace(
            get_current_stream=lambda: SimpleNamespace(ptr=self.current), ExternalStream=self.stream,
            UnownedMemory=lambda *args: args, MemoryPointer=lambda memory, offset: (*memory, offset),
            PythonFunctionAllocator=lambda malloc, free: SimpleNamespace(malloc=(malloc, free)),
            set_allocator=lambda allocator: setattr(self, "allocator", allocator),
            runtime=SimpleNamespace(runtimeGetVersion=lambda: self.version),
        )  # fmt: skip

    def stream(self, pointer: int) -> Any:
        return SimpleNamespace(use=lambda: setattr(self, "current", pointer))

    @staticmethod
    def ndarray(shape: Any, dtype: Any, memory: Any, strides: Any) -> Any:
        return SimpleNamespace(shape=shape, dtype=dtype, memory=memory, strides=strides)


@pytest.fixture
def cupy(monkeypatch):
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(arrays, "_has_allocator", False)
    return fake


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_interface_gives_the_memory_and_takes_it(rng, dtype):
    x = dd2424.tensor(rng.integers(0, 2, (4, 6))).to(getattr(dd2424, dtype)).cuda()
    for view in (x, x.t(), x[1:, ::2], x[:0], x[2, 3]):
        given = view.__cuda_array_interface__
        assert given["shape"] == tuple(view.shape)
        assert given["stream"] == 1
        holder = SimpleNamespace(__cuda_array_interface__=given)
        y = dd2424.as_tensor(holder)
        assert (y.dtype, y.stride(), y.data_ptr()) == (view.dtype, view.stride(), view.data_ptr())
        assert y.tolist() == view.tolist()
        assert dd2424.tensor(holder).tolist() == view.tolist()
        assert view.numel() == 0 or dd2424.tensor(holder).data_ptr() != view.data_ptr()
    assert dd2424.as_tensor(SimpleNamespace(__cuda_array_interface__=x.__cuda_array_interface__),
                            dtype=dd2424.float64, device="cpu").tolist() == x.tolist()  # fmt: skip


def test_the_interfaces_owner_lives_as_long_as_the_tensor():
    x = dd2424.ones(3, device="cuda")
    gone: list[str] = []

    class Holder:
        __cuda_array_interface__ = x.__cuda_array_interface__

        def __del__(self) -> None:
            gone.append("gone")

    y = dd2424.as_tensor(Holder())[1:]
    gc.collect()
    assert not gone
    del y
    gc.collect()
    assert gone == ["gone"]


def test_what_the_interface_cannot_be_is_refused():
    x = dd2424.ones(4, device="cuda")
    given = x.__cuda_array_interface__
    for change, error, message in (
        ({"typestr": "<c8"}, TypeError, "data must have a dtype that tensors have, got <c8"),
        ({"strides": (-4,)}, RuntimeError, "strides that are not negative"),
        ({"strides": (3,)}, RuntimeError, "whole strides"),
    ):
        with pytest.raises(error, match=message):
            dd2424.as_tensor(SimpleNamespace(__cuda_array_interface__={**given, **change}))
    dense = dd2424.as_tensor(SimpleNamespace(__cuda_array_interface__={
        **given, "shape": (2, 2), "strides": None, "data": (x.data_ptr(), True), "stream": None}))  # fmt: skip
    assert dense.stride() == (2, 1)
    with pytest.raises(RuntimeError, match="must be writable, got one over read-only memory"):
        dense.add_(1)
    with pytest.raises(TypeError, match=r"no array library there has dd2424.bfloat16"):
        _ = x.bfloat16().__cuda_array_interface__


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_dlpack_there_and_back(rng, dtype):
    x = dd2424.tensor(rng.integers(0, 2, (4, 6))).to(getattr(dd2424, dtype)).cuda()
    for view in (x, x.t(), x[1:, ::2], x[2, 3], x[:0]):
        y = dd2424.from_dlpack(view)
        assert (y.dtype, y.shape, y.stride(), y.data_ptr()) == (view.dtype, view.shape, view.stride(), view.data_ptr())
        assert y.tolist() == view.tolist()
    assert x.__dlpack_device__() == (2, 0)
    unused = x.__dlpack__(stream=-1, max_version=(1, 0))
    del unused, view, y
    before = cuda.memory_allocated()
    z = dd2424.from_dlpack(x)
    del x
    gc.collect()
    assert cuda.memory_allocated() == before
    del z
    assert cuda.memory_allocated() < before


def test_dlpack_refuses_what_it_must():
    x = dd2424.ones(3, device="cuda")
    capsule = x.__dlpack__()
    assert dd2424._core.from_dlpack(capsule).tolist() == [1, 1, 1]
    with pytest.raises(TypeError, match='capsule must be a fresh "dltensor"'):
        dd2424._core.from_dlpack(capsule)
    for options in ({"dl_device": (1, 0)}, {"copy": True}):
        with pytest.raises(BufferError, match="dl_device must be that of the tensor"):
            x.__dlpack__(**options)
    with pytest.raises(BufferError, match="must not require a gradient"):
        dd2424.ones(2, device="cuda", requires_grad=True).__dlpack__()
    with pytest.raises(RuntimeError, match="__dlpack__: input must be on a GPU"):
        dd2424._core.to_dlpack(dd2424.ones(2))


def test_what_another_library_made_on_its_stream_is_waited_for():
    s = cuda.Stream()
    s.wait_stream(cuda.current_stream())
    with cuda.stream(s):
        x = dd2424.full((1000,), 3.0, device="cuda") * 2
        given, capsule = x.__cuda_array_interface__, x.__dlpack__(stream=1)
    assert given["stream"] == s.cuda_stream
    assert dd2424._core.from_dlpack(capsule).sum().item() == 6000
    with cuda.stream(s):
        y = x + 1
        given = y.__cuda_array_interface__
    assert dd2424.as_tensor(SimpleNamespace(__cuda_array_interface__=given)).sum().item() == 7000


def test_an_array_is_a_view_in_order(cupy):
    x = dd2424.arange(12, device="cuda").reshape(3, 4)[1:, ::2]
    array = x.array
    assert (array.shape, array.dtype, array.strides) == ((2, 2), np.dtype("i8"), (32, 16))
    pointer, size, owner, device, offset = array.memory
    assert (pointer, size, device, offset) == (x.data_ptr(), 56, 0, 0)
    assert isinstance(owner, Tensor)
    assert owner is x
    s = cuda.Stream()
    with cuda.stream(s):
        assert cupy.current == s.cuda_stream, "CuPy works on the same stream"
        y = x * 2
    assert cupy.current == 0
    with cuda.stream(s):
        other = cuda.ExternalStream(cuda.Stream().cuda_stream)
        cupy.current = other.cuda_stream
        assert y.array.shape == (2, 2), "CuPy's own stream waits for ours"
    with other:
        z = y + 1
    cuda.current_stream().wait_stream(other)
    assert z.tolist() == [[9, 13], [17, 21]]
    assert x[:0].array.memory[1] == 0
    with pytest.raises(TypeError, match=r"array: no array library there has dd2424.bfloat16; use .float"):
        _ = dd2424.ones(2, device="cuda", dtype=dd2424.bfloat16).array


def test_its_memory_comes_from_here(cupy):
    _ = dd2424.ones(2, device="cuda").array
    malloc, free = cupy.allocator
    before = cuda.memory_allocated()
    block = malloc(1000, 0)
    assert cuda.memory_allocated() >= before + 1000
    free(block, 0)
    assert cuda.memory_allocated() == before


def test_a_cupy_that_does_not_fit_is_named(cupy, monkeypatch):
    runtime = {**dd2424._core.cuda_properties(), "runtime": "CUDA 13.0"}
    monkeypatch.setattr(dd2424._core, "cuda_properties", lambda: runtime)
    assert cuda.why_not(cupy=True) == ""
    cupy.version = 12060
    reason = "CuPy 14.0 is for CUDA 12.6, dd2424's CUDA library for CUDA 13.0: install cupy-cuda13x"
    assert cuda.why_not(cupy=True) == reason
    with pytest.raises(RuntimeError, match=f"array: {reason}; or use .cpu"):
        _ = dd2424.ones(2, device="cuda").array
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert cuda.why_not(cupy=True) == "CuPy is missing: install cupy-cuda13x"
