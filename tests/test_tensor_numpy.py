"""Memory shared with NumPy and others: from_numpy, .array, the buffer protocol, DLPack, what is copied instead."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import dd2424
from dd2424 import Tensor

DTYPES = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_memory_is_shared_both_ways(dtype: str) -> None:
    array = np.zeros((2, 3), ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x = dd2424.from_numpy(array)
    assert x.dtype is getattr(dd2424, dtype)
    assert x.data_ptr() == array.ctypes.data
    array[0, 1] = 1
    assert x[0, 1].item() == 1
    x[1, 2] = 1
    assert array[1, 2] == 1
    assert np.shares_memory(x.numpy(), array)
    assert x.numpy().dtype == array.dtype
    assert np.shares_memory(x.array, x.T.array)


def test_strides_are_kept() -> None:
    array = np.arange(24.0).reshape(4, 6)
    for view in (array.T, array[1:, ::2], array[:, 2], np.broadcast_to(array[0], (3, 6)), array[:0]):
        x = dd2424.from_numpy(view)
        np.testing.assert_array_equal(x.numpy(), view)
        if view.size:
            assert x.data_ptr() == view.ctypes.data
    x = dd2424.tensor(array)[1:, ::2].T
    assert x.numpy().strides == (16, 48)
    np.testing.assert_array_equal(x.numpy(), array[1:, ::2].T)


def test_a_last_dimension_of_one_element_has_any_stride() -> None:
    column = dd2424.arange(6, dtype=dd2424.float64).reshape(2, 3).T[:, 1:2]
    assert column.stride() == (1, 3)
    for dtype in ("int32", "int16", "uint8"):
        x = column.view(getattr(dd2424, dtype))
        expected = column.numpy().copy().view(dtype)
        assert (x.shape, x.stride()) == (expected.shape, (expected.shape[1], 1))
        np.testing.assert_array_equal(x.numpy(), expected)


def test_owners_live_as_long_as_they_are_needed() -> None:
    array = np.ones(1000)
    watched = weakref.ref(array)
    x = dd2424.from_numpy(array)
    del array
    gc.collect()
    assert watched() is not None
    view = x[10:]
    del x
    assert view.sum().item() == 990
    del view
    gc.collect()
    assert watched() is None
    array = dd2424.ones(1000).numpy()
    dd2424.full((1000,), 7.0)  # would take freed memory
    assert array.sum() == 1000


def test_read_only_memory_may_not_be_written() -> None:
    array = np.arange(6.0).reshape(2, 3)
    array.flags.writeable = False
    x = dd2424.from_numpy(array)
    assert (x + 1).sum().item() == 21
    assert not x.numpy().flags.writeable
    for write in (lambda: x.add_(1), lambda: x.fill_(0.0), lambda: x.__setitem__(0, 1.0), lambda: x[0].zero_(),
                  lambda: x.T.mul_(2), lambda: x.__setitem__([0], 1.0), lambda: x.copy_(x + 1),
                  lambda: x.detach().add_(1), lambda: x.data.add_(1)):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"must be writable, got one over read-only memory"):
            write()
    assert array.sum() == 15
    assert x.clone().add_(1).sum().item() == 21


def test_what_cannot_be_shared_is_copied() -> None:
    swapped = np.arange(3, dtype=">f4")
    assert dd2424.from_numpy(swapped).tolist() == [0, 1, 2]
    assert dd2424.tensor(swapped).dtype is dd2424.float32
    raw = np.zeros(17, np.uint8)
    misaligned = raw[1:].view(np.float64)
    misaligned[:] = [1.5, 2.5]
    x = dd2424.from_numpy(misaligned)
    assert x.tolist() == [1.5, 2.5]
    assert x.data_ptr() % 8 == 0
    packed = np.zeros(3, np.dtype([("a", "u1"), ("b", "<f4")]))
    packed["b"] = [1, 2, 3]
    assert dd2424.from_numpy(packed["b"]).tolist() == [1, 2, 3]


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"from_numpy: array must not have negative strides; use array.copy\(\)"):
        dd2424.from_numpy(np.arange(3)[::-1])
    assert dd2424.tensor(np.arange(3)[::-1]).tolist() == [2, 1, 0]
    for dtype in (complex, "U3", object, "M8[s]", np.uint32, [("a", "f4")]):
        with pytest.raises(TypeError, match=r"from_numpy: array must have one of the dtypes"):
            dd2424.from_numpy(np.zeros(2, dtype))
    with pytest.raises(TypeError, match=r"from_numpy: expected a NumPy array, got list"):
        dd2424.from_numpy([1, 2])
    leaf = dd2424.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"requires a gradient; use .detach\(\).numpy\(\)"):
        leaf.numpy()
    with pytest.raises(RuntimeError, match=r"requires a gradient"):
        np.asarray(leaf)
    assert leaf.numpy(force=True).tolist() == [1, 1]


# NumPy's functions take tensors


def test_numpy_functions_take_tensors() -> None:
    x = dd2424.arange(6.0).reshape(2, 3)
    assert np.sum(np.asarray(x)) == 15
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy())
    assert np.asarray(x, dtype=np.int64).dtype == np.int64
    np.testing.assert_array_equal(np.stack([x, x]), np.stack([x.numpy()] * 2))
    assert np.float32(2) * dd2424.ones(2) is not None
    assert isinstance(dd2424.ones(2) * np.float32(2), Tensor)
    assert isinstance(np.float64(2) * dd2424.ones(2), Tensor)
    assert isinstance(dd2424.ones(2) + np.int64(1), Tensor)


# the buffer protocol


def test_buffers() -> None:
    x = dd2424.arange(6.0).reshape(2, 3)
    view = memoryview(x)
    assert view.shape == (2, 3)
    assert view.format == "f"
    view[1, 2] = 9.0
    assert x[1, 2].item() == 9
    del x
    assert view[1, 2] == 9
    assert bytes(memoryview(dd2424.tensor([1, 2], dtype=dd2424.uint8))) == b"\x01\x02"
    array = np.zeros(2)
    array.flags.writeable = False
    assert memoryview(dd2424.from_numpy(array)).readonly


def test_frombuffer_and_bytearray() -> None:
    data = bytearray(np.arange(4, dtype=np.float32).tobytes())
    x = dd2424.frombuffer(data, dtype=dd2424.float32)
    assert x.tolist() == [0, 1, 2, 3]
    x[0] = 5.0
    assert np.frombuffer(data, np.float32)[0] == 5
    assert dd2424.frombuffer(data, dtype=dd2424.float32, count=2, offset=4).tolist() == [1, 2]
    assert dd2424.frombuffer(bytes(data), dtype=dd2424.int16).shape == (8,)
    with pytest.raises(ValueError, match=r"buffer"):
        dd2424.frombuffer(data, dtype=dd2424.float64, offset=3)


# DLPack


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_with_numpy(dtype: str) -> None:
    x = dd2424.zeros(2, 3).to(getattr(dd2424, dtype))
    array = np.from_dlpack(x)
    assert np.shares_memory(array, x.numpy())
    source = np.ones((3, 2), dtype).T
    y = dd2424.from_dlpack(source)
    assert y.dtype is x.dtype
    assert y.data_ptr() == source.ctypes.data
    assert y.stride() == tuple(s // source.itemsize for s in source.strides)
    assert dd2424.from_dlpack(x).data_ptr() == x.data_ptr()
    assert x.__dlpack_device__() == (1, 0)


def test_dlpack_of_a_leaf_is_refused() -> None:
    with pytest.raises(BufferError, match=r"must not require a gradient"):
        dd2424.ones(2, requires_grad=True).__dlpack__()


@pytest.mark.torch
def test_dlpack_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = dd2424.arange(6.0).reshape(2, 3).T
    theirs = torch.from_dlpack(x)
    theirs[0, 0] = 9.0
    assert x[0, 0].item() == 9
    back = dd2424.from_dlpack(torch.ones(2, 3, dtype=torch.float64).T)
    assert back.shape == (3, 2)
    assert back.dtype is dd2424.float64


# tensor(): data of any kind


@pytest.mark.parametrize(("data", "dtype"), [
    (1, "int64"), (1.5, "float32"), (True, "bool"), ([1, 2], "int64"), ([1, 2.5], "float32"), ([[True]], "bool"),
    ([], "float32"), ([[], []], "float32"), ((1, (2)), "int64"), (range(3), "int64"), (np.float64(2), "float64"),
    (np.zeros(2, np.float16), "float16"), ([np.float32(1)], "float32"), (2**40, "int64"),
])  # fmt: skip
def test_dtypes_are_inferred(data: Any, dtype: str) -> None:
    x = dd2424.tensor(data)
    assert x.dtype is getattr(dd2424, dtype)
    assert x.shape == np.shape(data)


def test_tensors_in_lists() -> None:
    x = dd2424.tensor([dd2424.tensor(1.0), dd2424.tensor(2.0)])
    assert x.tolist() == [1, 2]
    y = dd2424.ones(2, requires_grad=True)
    assert dd2424.tensor([y[0].item(), 3]).tolist() == [1, 3]
    assert not dd2424.tensor(y).requires_grad
    assert dd2424.as_tensor(y) is y
    assert dd2424.as_tensor([1, 2]).tolist() == [1, 2]


def test_ragged_and_foreign_data_are_refused() -> None:
    for data in ([[1], [1, 2]], "text", [None], {"a": 1}, object()):
        with pytest.raises((TypeError, ValueError)):
            dd2424.tensor(data)
    with pytest.raises(RuntimeError, match=r"tensor: only floating tensors can require gradients"):
        dd2424.tensor([1], requires_grad=True)
