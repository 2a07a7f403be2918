"""Integers and bools: arithmetic wraps, division by zero is refused, shifts and powers are Python's where they fit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import dd2424
from reference.elementwise import wrapped

DTYPES = {"int8": (8, True), "uint8": (8, False), "int16": (16, True), "int32": (32, True), "int64": (64, True)}


def edges(dtype: str) -> list[int]:
    bits, is_signed = DTYPES[dtype]
    most = 2 ** (bits - is_signed) - 1
    numbers = [0, 1, 2, 3, 7, most, most - 1, most // 2, most // 3]
    return numbers + ([-1, -2, -7, -most, -most - 1] if is_signed else [])


def compute(name: str, dtype: str, pairs: list[tuple[int, int]]) -> list[int]:
    a, b = (dd2424.tensor(list(side), dtype=getattr(dd2424, dtype)) for side in zip(*pairs, strict=True))
    result = getattr(dd2424, name)(a, b)
    assert result.dtype == a.dtype
    return result.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "floor_divide", "remainder", "fmod", "bitwise_and",
                                  "bitwise_or", "bitwise_xor", "maximum", "minimum"])  # fmt: skip
def test_is_pythons_wrapped(isa: str, dtype: str, name: str) -> None:
    python = {
        "add": int.__add__,
        "sub": int.__sub__,
        "mul": int.__mul__,
        "floor_divide": int.__floordiv__,
        "remainder": int.__mod__,
        "fmod": lambda a, b: abs(a) % abs(b) * (-1 if a < 0 else 1),
        "bitwise_and": int.__and__,
        "bitwise_or": int.__or__,
        "bitwise_xor": int.__xor__,
        "maximum": max,
        "minimum": min,
    }[name]
    divides = name in ("floor_divide", "remainder", "fmod")
    pairs = [(a, b) for a, b in itertools.product(edges(dtype), edges(dtype)) if b or not divides]
    assert compute(name, dtype, pairs) == [wrapped(python(a, b), *DTYPES[dtype]) for a, b in pairs]


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers(isa: str, dtype: str) -> None:
    pairs = list(itertools.product(edges(dtype), [0, 1, 2, 3, 5, 7]))
    assert compute("pow", dtype, pairs) == [wrapped(a**b, *DTYPES[dtype]) for a, b in pairs]


def test_negative_powers_of_integers_are_cut_off(isa: str) -> None:
    base = dd2424.tensor([1, -1, -1, 2, -3])
    assert (base ** dd2424.tensor([-5, -2, -3, -1, -1])).tolist() == [1, 1, -1, 0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_shifts(isa: str, dtype: str) -> None:
    """A shift by the width or more leaves no bit but the sign's; a negative one likewise."""
    bits, is_signed = DTYPES[dtype]
    pairs = list(itertools.product(edges(dtype), [0, 1, bits - 1, bits, 100]))
    left = [wrapped(a << b, bits, is_signed) for a, b in pairs]
    assert compute("bitwise_left_shift", dtype, pairs) == left
    assert compute("bitwise_right_shift", dtype, pairs) == [a >> b for a, b in pairs]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_division_by_zero_is_refused(dtype: str, name: str) -> None:
    x = dd2424.tensor([1, 2, 3], dtype=getattr(dd2424, dtype))
    for zero in (0, dd2424.tensor([1, 0, 1], dtype=x.dtype)):
        with pytest.raises(RuntimeError, match=f"{name}: integer division by zero"):
            getattr(dd2424, name)(x, zero)
    with pytest.raises(RuntimeError, match="division by zero"):
        x //= 0


def test_rounded_division_is_exact_where_floats_are_not(isa: str) -> None:
    a = dd2424.tensor([2**53 + 1, -(2**53) - 1, 7, -7, 2**62])
    b = dd2424.tensor([1, 1, 2, 2, -3])
    assert dd2424.div(a, b, rounding_mode="trunc").tolist() == [2**53 + 1, -(2**53) - 1, 3, -3, -(2**62 // 3)]
    assert dd2424.div(a, b, rounding_mode="floor").tolist() == [2**53 + 1, -(2**53) - 1, 3, -4, -(2**62 // 3) - 1]
    assert dd2424.div(dd2424.tensor([1, 2]), 4).tolist() == [0.25, 0.5]
    c = a.clone()
    assert c.div_(b, rounding_mode="trunc").tolist() == dd2424.div(a, b, rounding_mode="trunc").tolist()
    assert c is c.div_(1, rounding_mode="floor")


@pytest.mark.parametrize("dtype", DTYPES)
def test_unary(isa: str, dtype: str) -> None:
    numbers, kind = edges(dtype) * 3, DTYPES[dtype]
    x = dd2424.tensor(numbers, dtype=getattr(dd2424, dtype))
    python = {"neg": lambda a: -a, "abs": abs, "square": lambda a: a * a, "bitwise_not": lambda a: ~a,
              "sign": lambda a: (a > 0) - (a < 0), "relu": lambda a: max(a, 0), "floor": lambda a: a}  # fmt: skip
    for name, function in python.items():
        result = getattr(dd2424, name)(x)
        assert (result.dtype, result.tolist()) == (x.dtype, [wrapped(function(a), *kind) for a in numbers]), name
    assert x.clamp(1, 5).tolist() == [min(max(a, 1), 5) for a in numbers]
    assert dd2424.nn.functional.hardtanh(x, 0, 2).tolist() == [min(max(a, 0), 2) for a in numbers]


def test_clamp_by_what_a_dtype_lacks(isa: str) -> None:
    x = dd2424.tensor([-128, 0, 127], dtype=dd2424.int8)
    assert x.clamp(-1000, 1000).tolist() == [-128, 0, 127]
    assert x.clamp(min=0.5).tolist() == [0.5, 0.5, 127.0]
    assert x.clamp(5, 1).tolist() == [1, 1, 1]  # max wins
    assert x.clamp(dd2424.tensor([0, 1, 2]), 100).tolist() == [0, 1, 100]


def test_bools_are_logical(isa: str) -> None:
    a, b = dd2424.tensor([False, False, True, True] * 9), dd2424.tensor([False, True, False, True] * 9)
    table = {"add": (0, 1, 1, 1), "mul": (0, 0, 0, 1), "maximum": (0, 1, 1, 1), "minimum": (0, 0, 0, 1),
             "fmax": (0, 1, 1, 1), "fmin": (0, 0, 0, 1), "bitwise_and": (0, 0, 0, 1), "bitwise_or": (0, 1, 1, 1),
             "bitwise_xor": (0, 1, 1, 0), "logical_and": (0, 0, 0, 1), "logical_or": (0, 1, 1, 1),
             "logical_xor": (0, 1, 1, 0), "eq": (1, 0, 0, 1), "lt": (0, 1, 0, 0), "ge": (1, 0, 1, 1)}  # fmt: skip
    for name, expected in table.items():
        result = getattr(dd2424, name)(a, b)
        assert (result.dtype, result.tolist()) == (dd2424.bool, [bool(v) for v in expected] * 9), name
    assert (~a).tolist() == [True, True, False, False] * 9
    assert dd2424.sign(a).tolist() == a.tolist()
    assert (dd2424.square(a).dtype, (a / b).dtype) == (dd2424.int64, dd2424.float32)


@pytest.mark.parametrize("dtype", [*DTYPES, "float32", "float64", "bfloat16"])
def test_comparisons(isa: str, dtype: str) -> None:
    numbers = np.array(edges("int8" if dtype not in DTYPES else dtype) * 2)
    x = dd2424.tensor(numbers.tolist(), dtype=getattr(dd2424, dtype))
    for name, function in (("eq", np.equal), ("lt", np.less), ("le", np.less_equal), ("gt", np.greater)):
        pairs = getattr(dd2424, name)(x.unsqueeze(1), x)
        np.testing.assert_array_equal(pairs.numpy(), function(numbers[:, None], numbers))
    assert dd2424.logical_not(x).tolist() == (numbers == 0).tolist()


def test_whole_number_functions() -> None:
    a, b = dd2424.tensor([12, -18, 0]), dd2424.tensor([8, 12, 5])
    assert dd2424.gcd(a, b).tolist() == [4, 6, 5]
    assert dd2424.lcm(a, b).tolist() == [24, 36, 0]
    assert dd2424.isclose(dd2424.tensor([1, 200], dtype=dd2424.uint8), dd2424.tensor([2, 200], dtype=dd2424.uint8),
                          rtol=0, atol=1).tolist() == [True, True]  # fmt: skip
