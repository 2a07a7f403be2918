"""New tensors: of constants, ranges, and from what Python, NumPy and other libraries hold."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate

DTYPES = ["float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_of_every_dtype(isa: str, dtype: str) -> None:
    kind = getattr(dd2424, dtype)
    for made, value in (
        (dd2424.zeros(3, 35, dtype=kind), 0),
        (dd2424.ones((3, 35), dtype=kind), 1),
        (dd2424.full((3, 35), 1, dtype=kind), 1),
    ):
        assert (made.dtype, made.shape) == (kind, (3, 35))
        assert made.double().unique().tolist() == [value]
    assert dd2424.zeros_like(made).dtype == kind
    assert dd2424.full_like(made, 0).any().item() == 0 if dtype != "float16" else True
    assert dd2424.empty_like(made, dtype=dd2424.float32).dtype == dd2424.float32


def test_sizes_in_every_spelling() -> None:
    for made in (dd2424.zeros(2, 3), dd2424.zeros((2, 3)), dd2424.zeros([2, 3]), dd2424.zeros(dd2424.Size([2, 3]))):
        assert made.shape == (2, 3)
    assert dd2424.zeros(()).shape == dd2424.zeros([]).shape == ()
    assert dd2424.empty(0, 3).shape == (0, 3)
    assert dd2424.ones(2, 3, requires_grad=True).requires_grad


def test_fill_values_give_the_dtype() -> None:
    assert dd2424.full((2,), 1).dtype == dd2424.int64
    assert dd2424.full((2,), 1.5).dtype == dd2424.float32
    assert dd2424.full((2,), True).dtype == dd2424.bool
    assert dd2424.full((1,), 300, dtype=dd2424.uint8).item() == 44
    assert dd2424.full((1,), math.nan).isnan().item()
    assert dd2424.full((1,), 2**62 + 1).item() == 2**62 + 1
    dd2424.set_default_dtype(dd2424.float64)
    assert (dd2424.zeros(1).dtype, dd2424.full((1,), 0.5).dtype, dd2424.tensor(0.5).dtype) == (dd2424.float64,) * 3


def test_new_of_a_tensor() -> None:
    x = dd2424.ones(2, dtype=dd2424.float64)
    for made, value in (
        (x.new_zeros(3), 0),
        (x.new_ones((3,)), 1),
        (x.new_full((3,), 7), 7),
        (x.new_tensor([5, 5, 5]), 5),
    ):
        assert (made.dtype, made.tolist()) == (dd2424.float64, [value] * 3)
    assert x.new_empty((2, 2)).shape == (2, 2)
    assert x.new_zeros(1, dtype=dd2424.int32).dtype == dd2424.int32


RANGES = [
    (5,),
    (2, 7),
    (2, 7, 2),
    (7, 2, -2),
    (0.0, 1.0, 0.1),
    (1, 2, 0.25),
    (0,),
    (3, 3),
    (-3, 3),
    (10, 0, -3),
    (0.5, 3),
]


@pytest.mark.parametrize("arguments", RANGES, ids=str)
@pytest.mark.parametrize("dtype", [None, "float32", "float64", "int64", "int32", "bfloat16"])
def test_arange(isa: str, arguments: tuple, dtype: str | None) -> None:
    if dtype and dtype.startswith("int") and any(isinstance(v, float) for v in arguments):
        return
    made = dd2424.arange(*arguments, dtype=dtype and getattr(dd2424, dtype))
    exact = np.arange(*arguments)
    if dtype is None:
        assert made.dtype == (dd2424.int64 if exact.dtype == np.int64 else dd2424.float32)
    assert_accurate(made, exact.astype(np.float64) if made.is_floating_point() else exact, 0.51)


def test_a_long_arange_does_not_drift(isa: str) -> None:
    x = dd2424.arange(0, 100_000, 0.1, dtype=dd2424.float64)
    assert len(x) == 1_000_000
    assert_accurate(x[-3:], np.array([999_997, 999_998, 999_999]) * 0.1, 1)
    assert dd2424.arange(2**53, 2**53 + 3).tolist() == [2**53, 2**53 + 1, 2**53 + 2]


def test_linspace_meets_both_ends(isa: str) -> None:
    for start, end, steps in ((0, 1, 11), (-3, 7, 6), (5, -5, 7), (0.1, 0.9, 101), (1, 1, 4)):
        x = dd2424.linspace(start, end, steps, dtype=dd2424.float64)
        assert_accurate(x, np.linspace(start, end, steps), 1, scale=max(abs(start), abs(end)))
        assert (x[0].item(), x[-1].item()) == (start, end)
    assert dd2424.linspace(3, 9, 1).tolist() == [3]
    assert dd2424.linspace(3, 9, 0).shape == (0,)
    assert dd2424.linspace(0, 10, 3, dtype=dd2424.int64).tolist() == [0, 5, 10]
    assert_accurate(dd2424.logspace(-2, 3, 6), np.logspace(-2, 3, 6), 1)
    assert dd2424.logspace(0, 3, 4, base=2.0).tolist() == [1, 2, 4, 8]
    with pytest.raises(RuntimeError, match="linspace: steps must be non-negative, got -1"):
        dd2424.linspace(0, 1, -1)


def test_range_includes_its_end() -> None:
    assert dd2424.range(0, 3).tolist() == [0, 1, 2, 3]
    assert dd2424.range(1, 2, 0.5).tolist() == [1, 1.5, 2]


def test_patterns() -> None:
    assert dd2424.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert dd2424.eye(0).shape == (0, 0)
    assert dd2424.eye(3, dtype=dd2424.int64).sum().item() == 3
    np.testing.assert_array_equal(dd2424.tril_indices(3, 4, 1).numpy(), np.stack(np.tril_indices(3, 1, 4)))
    np.testing.assert_array_equal(dd2424.triu_indices(3, 4, -1).numpy(), np.stack(np.triu_indices(3, -1, 4)))
    np.testing.assert_array_equal(dd2424.vander(dd2424.arange(1, 4)).numpy(), np.vander(np.arange(1, 4)))
    np.testing.assert_array_equal(dd2424.vander(dd2424.arange(3), 2, True).numpy(), np.vander(np.arange(3), 2, True))


# From what there is.


def test_tensor_of_python_data() -> None:
    assert dd2424.tensor(3).dtype == dd2424.int64
    assert dd2424.tensor([1, 2.5]).dtype == dd2424.float32
    assert dd2424.tensor([True, False]).dtype == dd2424.bool
    assert dd2424.tensor([[1, 2], [3, 4]]).shape == (2, 2)
    assert dd2424.tensor([]).shape == (0,)
    assert dd2424.tensor([[], []]).shape == (2, 0)
    assert dd2424.tensor((1, (2))).tolist() == [1, 2]
    assert dd2424.tensor([1.7, -1.7], dtype=dd2424.int64).tolist() == [1, -1]
    assert dd2424.tensor(np.float64(0.1)).dtype == dd2424.float64
    assert dd2424.tensor(2.0, requires_grad=True).requires_grad
    assert dd2424.tensor([2**63 - 1, -(2**63)]).tolist() == [2**63 - 1, -(2**63)]
    assert dd2424.scalar_tensor(3).dtype == dd2424.float32


def test_tensor_copies_and_from_numpy_shares() -> None:
    array = np.arange(4.0)
    copy, shared = dd2424.tensor(array), dd2424.from_numpy(array)
    array[0] = 9
    assert (copy[0].item(), shared[0].item()) == (0, 9)
    shared[1] = 8
    assert array[1] == 8
    assert dd2424.as_tensor(array).data_ptr() == shared.data_ptr() == dd2424.asarray(array).data_ptr()
    assert dd2424.asarray(array, copy=True).data_ptr() != shared.data_ptr()
    assert dd2424.as_tensor(shared) is shared
    assert dd2424.as_tensor(array, dtype=dd2424.float32).dtype == dd2424.float32
    assert shared.numpy().ctypes.data == array.ctypes.data


def test_arrays_of_other_kinds() -> None:
    for dtype in (np.float32, np.float64, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_,
                  ml_dtypes.bfloat16):  # fmt: skip
        array = np.ones((2, 3), dtype)
        assert dd2424.from_numpy(array).numpy().dtype == array.dtype
    swapped = np.arange(3, dtype=">f8")
    assert dd2424.from_numpy(swapped).tolist() == [0, 1, 2]
    assert dd2424.from_numpy(np.arange(6).reshape(2, 3).T).stride() == (1, 3)
    misaligned = np.frombuffer(b"x" + np.arange(3.0).tobytes(), np.float64, 3, 1)
    assert dd2424.from_numpy(misaligned).tolist() == [0, 1, 2]
    assert dd2424.tensor(np.arange(3)[::-1]).tolist() == [2, 1, 0]


def test_buffers_and_other_libraries() -> None:
    memory = bytearray(np.arange(4, dtype=np.int32).tobytes())
    x = dd2424.frombuffer(memory, dtype=dd2424.int32, offset=4)
    assert x.tolist() == [1, 2, 3]
    x[0] = 7
    assert np.frombuffer(memory, np.int32)[1] == 7
    array = np.arange(3.0)
    assert dd2424.from_dlpack(array).data_ptr() == dd2424.from_numpy(array).data_ptr()
    assert np.from_dlpack(dd2424.ones(2)).tolist() == [1, 1]
    strided = dd2424.empty_strided((2, 3), (1, 2))
    assert (strided.shape, strided.stride()) == ((2, 3), (1, 2))


REFUSALS = [
    (lambda: dd2424.zeros(-1), RuntimeError, "must have no negative size"),
    (lambda: dd2424.zeros("3"), TypeError, ""),
    (lambda: dd2424.zeros(2, dtype=3), TypeError, "zeros: dtype must be a dtype, got 3"),
    (lambda: dd2424.zeros(2, device="cuda"), RuntimeError, "zeros: device must be cpu"),
    (
        lambda: dd2424.zeros(2, dtype=dd2424.int64, requires_grad=True),
        RuntimeError,
        "only floating tensors can require",
    ),
    (lambda: dd2424.zeros(2**40, 2**40), RuntimeError, ""),
    (lambda: dd2424.arange(0, 5, 0), RuntimeError, "arange: step must not be 0"),
    (lambda: dd2424.arange(5, 0), RuntimeError, "arange: end must lie from start in the direction of step"),
    (lambda: dd2424.arange(0, math.inf), RuntimeError, "arange: end must lie"),
    (lambda: dd2424.tensor([[1, 2], [3]]), (ValueError, TypeError), ""),
    (lambda: dd2424.tensor("abc"), TypeError, "tensor: data must be numbers"),
    (lambda: dd2424.tensor([1, None]), TypeError, "tensor: data must be numbers"),
    (lambda: dd2424.from_numpy([1, 2]), TypeError, "from_numpy: expected a NumPy array, got list"),
    (lambda: dd2424.from_numpy(np.array(["a"])), TypeError, "from_numpy: array must have one of the dtypes"),
    (lambda: dd2424.from_numpy(np.ones(2, np.complex64)), TypeError, "from_numpy: array must have one of the dtypes"),
    (lambda: dd2424.from_numpy(np.ones(3)[::-1]), ValueError, "from_numpy: array must not have negative strides"),
    (lambda: dd2424.from_dlpack(3), TypeError, "from_dlpack: ext_tensor must have __dlpack__, got int"),
    (lambda: dd2424.frombuffer(b"123", dtype=dd2424.int32), ValueError, "buffer size must be a multiple"),
    (lambda: dd2424.empty_strided((2,), (-1,)), RuntimeError, "empty_strided: stride must be one number"),
    (lambda: dd2424.set_default_dtype(dd2424.int64), TypeError, "set_default_dtype: dtype must be floating"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS, ids=range(len(REFUSALS)))
def test_refuses(call, error, message: str) -> None:
    with pytest.raises(error, match=message or "."):
        call()


def test_limits_of_dtypes() -> None:
    for name, numpy_type in (("float32", np.float32), ("float64", np.float64), ("float16", np.float16)):
        ours, theirs = dd2424.finfo(getattr(dd2424, name)), np.finfo(numpy_type)
        assert (ours.bits, ours.eps, ours.max, ours.min, ours.tiny) == (
            theirs.bits, float(theirs.eps), float(theirs.max), float(theirs.min), float(theirs.tiny))  # fmt: skip
    assert dd2424.finfo(dd2424.bfloat16).eps == 2.0**-7
    assert dd2424.finfo().bits == 32
    for name in ("int64", "int32", "int16", "int8", "uint8"):
        ours, theirs = dd2424.iinfo(getattr(dd2424, name)), np.iinfo(name)
        assert (ours.bits, ours.max, ours.min) == (theirs.bits, theirs.max, theirs.min)
    with pytest.raises(TypeError, match="finfo: type must be floating-point"):
        dd2424.finfo(dd2424.int64)
    with pytest.raises(TypeError, match="iinfo: type must be an integer type"):
        dd2424.iinfo(dd2424.bool)
