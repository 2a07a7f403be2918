"""Copies and conversions: every pair of dtypes, every layout, in place, and their gradients."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import dd2424
from accuracy import bits, same_for_any_threads
from dd2424.autograd import gradcheck, gradgradcheck
from reference import copy as reference

SIZES = [0, 1, 31, 33, 259, 1031]


def values(rng: np.random.Generator, dtype: str, count: int) -> np.ndarray:
    """Numbers that every signed type holds, for the floats with fractions and beyond."""
    if dtype == "bool":
        return rng.integers(0, 2, count).astype(np.bool_)
    low = 0 if dtype == "uint8" else -100
    x = rng.integers(low, 100, count).astype(np.float64)
    if dtype in ("float32", "float64", "float16", "bfloat16"):
        x = x + rng.choice([0, 0.25, 0.5, 0.999, 1e-3], count)
    return x.astype(reference.DTYPES[dtype])


@pytest.mark.parametrize("target", reference.DTYPES)
@pytest.mark.parametrize("source", reference.DTYPES)
def test_every_pair(isa: str, rng: np.random.Generator, source: str, target: str) -> None:
    for size in SIZES:
        x = values(rng, source, size)
        if target == "uint8":
            x = np.abs(x.astype(np.float64)).astype(x.dtype)
        converted = dd2424.from_numpy(x).to(getattr(dd2424, target))
        assert converted.dtype.name == target
        np.testing.assert_array_equal(converted.numpy(), reference.convert(x, target))


@np.errstate(over="ignore", invalid="ignore")
def narrow(x: np.ndarray, dtype: str) -> np.ndarray:
    return reference.convert(x, dtype)


@pytest.mark.parametrize("target", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("source", ["float64", "float32"])
def test_rounding_to_narrow_floats(isa: str, rng: np.random.Generator, source: str, target: str) -> None:
    """All exponents, ties, overflow, denormal numbers and NaN; from a double, rounded once and not twice."""
    kind = reference.DTYPES[source]
    low, high = (-40, 18) if target == "float16" else (-150, 126)
    x = (rng.uniform(-2, 2, 5000) * 2.0 ** rng.integers(low, high, 5000)).astype(kind)
    ties = (np.arange(-4001, 4001, 2) / 2.0**11).astype(kind)
    tricky = np.array(
        [1 + 2.0**-8 + 2.0**-40, 1 + 3 * 2.0**-8 - 2.0**-40, 65519.999, 65520, 2.0**-25, 3e38, np.inf]
    ).astype(kind)
    for part in (x, ties, tricky, -tricky, np.array([0.0, -0.0], kind)):
        expected = narrow(part, target)
        actual = dd2424.from_numpy(part).to(getattr(dd2424, target)).numpy()
        np.testing.assert_array_equal(actual.view(f"u{actual.itemsize}"), expected.view(f"u{expected.itemsize}"))
    nan = dd2424.tensor([np.nan, 1.0], dtype=getattr(dd2424, source)).to(getattr(dd2424, target))
    assert nan.float().isnan().tolist() == [True, False]


def test_every_float16_goes_through_float32(isa: str) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    wide = dd2424.from_numpy(every).float()
    np.testing.assert_array_equal(wide.numpy(), every.astype(np.float32))
    back = wide.to(dd2424.float16).numpy()
    same = back.view(np.uint16) == every.view(np.uint16)
    assert (same | np.isnan(every)).all()


def test_floats_to_integers_go_towards_zero(isa: str) -> None:
    x = dd2424.tensor([-2.9, -0.5, 0.5, 2.9, 126.99])
    for dtype in (dd2424.int64, dd2424.int32, dd2424.int16, dd2424.int8):
        assert x.to(dtype).tolist() == [-2, 0, 0, 2, 126]
    assert dd2424.tensor([-1, 256, 300]).to(dd2424.uint8).tolist() == [255, 0, 44]
    assert dd2424.tensor([2**40 + 5]).int().item() == 5
    assert dd2424.tensor([0.0, -0.0, 0.1, np.nan, -np.inf]).bool().tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("shape", [(3, 5), (33, 17), (5, 64, 3), (2, 3, 4, 5), (128, 130)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int8", "bool", "int64"])
def test_layouts(isa: str, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> None:
    x = values(rng, dtype, int(np.prod(shape))).reshape(shape)
    t = dd2424.from_numpy(x)
    orders = [tuple(range(len(shape)))[::-1], (*range(1, len(shape)), 0), (len(shape) - 1, *range(len(shape) - 1))]
    for order in orders:
        moved = t.permute(order)
        assert not moved.is_contiguous() or 1 in shape
        copy = moved.contiguous()
        assert copy.is_contiguous()
        np.testing.assert_array_equal(copy.numpy(), x.transpose(order))
        np.testing.assert_array_equal(moved.clone().numpy(), x.transpose(order))
        np.testing.assert_array_equal(moved.double().numpy(), x.transpose(order).astype(np.float64))
    spread = dd2424.zeros((*shape, 3), dtype=t.dtype)
    spread[..., 1] = t
    np.testing.assert_array_equal(spread[..., 1].contiguous().numpy(), x)
    assert not spread[..., 0].any()
    assert not spread[..., 2].any()


def test_copies_broadcast(isa: str) -> None:
    x = dd2424.zeros(3, 5)
    assert x.copy_(dd2424.arange(5)) is x
    assert x.tolist() == [[0, 1, 2, 3, 4]] * 3
    x.copy_(dd2424.ones(3, 1, dtype=dd2424.bool))
    assert x.unique().tolist() == [1]
    x.copy_(x.expand(3, 5))
    assert x[:, ::2].fill_(7).shape == (3, 3)
    assert x.tolist() == [[7, 1, 7, 1, 7]] * 3
    assert x.zero_().any().item() is False


def test_copies_over_themselves(isa: str) -> None:
    """As if the source had been copied first, whatever overlaps."""
    x = dd2424.arange(10)
    x[1:].copy_(x[:-1].clone())
    y = dd2424.arange(10)
    y[1:].copy_(y[:-1])
    assert y.tolist() == x.tolist()
    square = dd2424.arange(9).reshape(3, 3)
    square.copy_(square.T)
    assert square.tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    square.copy_(square[:1])
    assert square.tolist() == [[0, 3, 6]] * 3


@pytest.mark.parametrize("size", [1000, 1 << 18], ids=["one move", "by threads"])
def test_copies_over_memory_known_by_another_tensor(isa: str, size: int) -> None:
    array = np.arange(size, dtype=np.float32)
    expected = np.r_[array[:1], array[:-1]]
    x = dd2424.from_numpy(array.copy())
    x[1:].copy_(x.data[:-1])
    np.testing.assert_array_equal(x.numpy(), expected)
    left, right = dd2424.from_numpy(array), dd2424.from_numpy(array)
    left[1:].copy_(right[:-1])
    np.testing.assert_array_equal(array, expected)


def test_copies_over_their_own_bytes_in_another_dtype(isa: str) -> None:
    x = dd2424.zeros(1 << 16)
    halves = x.view(dd2424.int16)
    halves.copy_(dd2424.arange(2 << 16) % 1000)
    expected = halves[: 1 << 16].numpy().astype(np.float32)
    x.copy_(halves[: 1 << 16])
    np.testing.assert_array_equal(x.numpy(), expected)
    x.copy_(x.view(dd2424.int32))
    np.testing.assert_array_equal(x.numpy(), expected.view(np.int32).astype(np.float32))


def test_what_shares_and_what_copies() -> None:
    x = dd2424.ones(3)
    assert x.to(dd2424.float32) is x
    assert x.contiguous() is x
    assert x.float() is x
    assert x.to(dd2424.float32, copy=True).data_ptr() != x.data_ptr()
    assert x.clone().data_ptr() != x.data_ptr()
    assert x.detach().data_ptr() == x.data_ptr()
    assert x.to(dd2424.ones(1).double()).dtype == dd2424.float64
    assert x.type_as(dd2424.tensor([1])).dtype == dd2424.int64


METHODS = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "bfloat16": "bfloat16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "char": "int8",
    "byte": "uint8",
    "bool": "bool",
}


@pytest.mark.parametrize("name", METHODS)
def test_conversion_methods(name: str) -> None:
    assert getattr(dd2424.tensor([1.0]), name)().dtype.name == METHODS[name]


def test_memory_formats() -> None:
    x = dd2424.arange(120.0).reshape(2, 3, 4, 5)
    last = x.contiguous(memory_format=dd2424.channels_last)
    assert last.stride() == (60, 1, 15, 3)
    assert last.is_contiguous(memory_format=dd2424.channels_last)
    assert bits(last.contiguous()) == bits(x)
    assert last.contiguous(memory_format=dd2424.channels_last) is last
    assert last.clone().stride() == last.stride()
    assert last.clone(memory_format=dd2424.contiguous_format).stride() == x.stride()
    assert x.to(memory_format=dd2424.channels_last).stride() == last.stride()
    assert dd2424.zeros_like(x, memory_format=dd2424.channels_last).stride() == last.stride()
    assert dd2424.ones_like(last, memory_format=dd2424.contiguous_format).stride() == x.stride()
    assert dd2424.rand_like(last).stride() == last.stride()
    with pytest.raises(RuntimeError, match="contiguous: input must have 4 dimensions"):
        dd2424.ones(2, 2).contiguous(memory_format=dd2424.channels_last)
    with pytest.raises(TypeError, match="clone: memory_format must be a memory format, got rows"):
        x.clone(memory_format="rows")


CONVERSIONS = {
    "clone": lambda x: x.clone(),
    "contiguous": lambda x: x.T.contiguous(),
    "to": lambda x: x.to(dd2424.float64, copy=True),
    "copy_": lambda x: dd2424.zeros(2, 3, dtype=dd2424.float64).copy_(x),
    "copy_ of a row": lambda x: dd2424.zeros(4, 2, 3, dtype=dd2424.float64).copy_(x),
    "fill_": lambda x: (x * 1).fill_(2.0) + x,
    "copy_ into a view": lambda x: [z := x * 2, z[0].copy_(x[1]), z * z][2],
    "double": lambda x: x.double(),
    "zero_ of a view": lambda x: [z := x * 2, z[:, 1].zero_(), z * z][2],
    "channels last": lambda x: x.reshape(1, 2, 3, 1).contiguous(memory_format=dd2424.channels_last) ** 2,
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_gradients(rng: np.random.Generator, name: str) -> None:
    x = dd2424.from_numpy(rng.normal(size=(2, 3))).requires_grad_()
    assert gradcheck(CONVERSIONS[name], x)
    assert "view" in name or gradgradcheck(CONVERSIONS[name], x)


def test_gradients_come_back_in_their_dtype() -> None:
    x = dd2424.ones(3, dtype=dd2424.bfloat16, requires_grad=True)
    (x.float() * 3).double().sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (dd2424.bfloat16, [3, 3, 3])
    assert not x.long().requires_grad


def test_float16_is_for_storage() -> None:
    x = dd2424.tensor([1.0, 2.0], dtype=dd2424.float16)
    assert x.tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="float16 is for storage on the CPU: convert it"):
        x + x


REFUSALS = [
    (lambda: dd2424.ones(2).copy_(dd2424.ones(3)), RuntimeError, r"copy_: .*\(2,\).*\(3,\)"),
    (
        lambda: dd2424.ones(2).copy_(dd2424.ones(2, 2)),
        RuntimeError,
        r"copy_: input must broadcast to \(2,\), got \(2, 2\)",
    ),
    (lambda: dd2424.ones(1).expand(3).fill_(2), RuntimeError, "fill_: the tensor written in place must have one place"),
    (lambda: dd2424.ones(2, requires_grad=True).fill_(2), RuntimeError, "fill_: a leaf that requires a gradient"),
    (lambda: dd2424.from_numpy(np.broadcast_to(np.ones(1), (1,))).zero_(), RuntimeError, "fill_: .* must be writable"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS, ids=[m for _, _, m in REFUSALS])
def test_refuses(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_same_bits_for_any_threads(isa: str, rng: np.random.Generator) -> None:
    x = dd2424.from_numpy(rng.normal(size=(503, 701)).astype(np.float32))
    same_for_any_threads(
        lambda: [x.T.contiguous(), x.bfloat16(), x.long(), x[::2].clone(), dd2424.full((100_000,), 2.5)]
    )


def test_bfloat16_arrays_are_ml_dtypes() -> None:
    x = dd2424.ones(2, dtype=dd2424.bfloat16)
    assert x.numpy().dtype == ml_dtypes.bfloat16
    assert dd2424.from_numpy(x.numpy()).data_ptr() == x.data_ptr()
