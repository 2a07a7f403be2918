"""Elementwise operations beside PyTorch's: names, dtypes, layouts, error classes and edge values."""

# ruff: noqa: B023  (a function made in a loop runs before the loop goes on)
from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest

import dd2424
import dd2424.nn.functional as F

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

DTYPES = ["float32", "float64", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "floor_divide",
    "remainder",
    "fmod",
    "pow",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "atan2",
    "copysign",
    "xlogy",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "logical_or",
    "logical_xor",
    "logaddexp",
    "logaddexp2",
    "ldexp",
    "heaviside",
    "float_power",
    "rsub",
    "hypot",
    "gcd",
    "lcm",
]
UNARY = [
    "abs",
    "sign",
    "square",
    "reciprocal",
    "sqrt",
    "rsqrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "erfc",
    "erfinv",
    "lgamma",
    "digamma",
    "floor",
    "ceil",
    "round",
    "trunc",
    "frac",
    "neg",
    "bitwise_not",
    "logical_not",
    "isnan",
    "isinf",
    "isfinite",
    "positive",
    "isposinf",
    "isneginf",
    "isreal",
    "signbit",
    "sinc",
    "logit",
    "nan_to_num",
    "deg2rad",
    "rad2deg",
    "sgn",
    "sigmoid",
    "relu",
    "angle",
]
ACTIVATIONS = [
    "relu",
    "relu6",
    "leaky_relu",
    "rrelu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "hardtanh",
    "hardsigmoid",
    "hardswish",
    "hardshrink",
    "softshrink",
    "tanhshrink",
    "softsign",
    "logsigmoid",
    "sigmoid",
    "tanh",
]


def outcome(run: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return run()
        except Exception as error:
            return error


def made(library: Any, dtype: str, data: Any) -> Any:
    return library.tensor(data, dtype=getattr(library, dtype))


def compare(theirs: Any, ours: Any, tolerance: float = 1e-5) -> None:
    """The same dtype, shape and values, or an error of the class that PyTorch raises.

    What PyTorch leaves out (TypeError: a number where a tensor must be; NotImplementedError: a dtype) we may have.
    """
    if isinstance(theirs, Exception):
        may_work = isinstance(theirs, NotImplementedError | TypeError)
        kind = RuntimeError if isinstance(theirs, NotImplementedError) else type(theirs)
        assert isinstance(ours, kind) or (may_work and not isinstance(ours, Exception)), (theirs, ours)
        return
    assert not isinstance(ours, Exception), ours
    assert str(theirs.dtype).replace("torch", "dd2424") == str(ours.dtype)
    assert tuple(theirs.shape) == tuple(ours.shape)
    loose = 1e-2 if theirs.dtype == torch.bfloat16 else tolerance
    np.testing.assert_allclose(ours.double().numpy(), theirs.double().numpy(), rtol=loose, atol=loose * 1e-2)


@pytest.mark.parametrize("name", BINARY)
def test_promotion_of_every_pair(name: str) -> None:
    values = {"many": [1, 3, 2], "one": 2}
    for first, second in itertools.product(DTYPES, DTYPES):
        for a, b in itertools.product(values.values(), values.values()):
            compare(
                outcome(lambda: getattr(torch, name)(made(torch, first, a), made(torch, second, b))),
                outcome(lambda: getattr(dd2424, name)(made(dd2424, first, a), made(dd2424, second, b))),
            )


@pytest.mark.parametrize("name", [n for n in BINARY if n not in ("ldexp", "heaviside", "gcd", "lcm")])
def test_promotion_with_numbers(name: str) -> None:
    for dtype, number, data in itertools.product(DTYPES, (2, 2.5, True, -1, 0), ([1, 3, 2], 3)):
        if (name, dtype, number) == ("pow", "bool", True):
            continue  # PyTorch returns its input where the exponent is 1
        for flipped in (False, True):
            results = []
            for library in (torch, dd2424):
                pair = (made(library, dtype, data), number)
                results.append(outcome(lambda: getattr(library, name)(*(pair[::-1] if flipped else pair))))
            if not (flipped and isinstance(results[0], TypeError)):
                compare(*results)


def test_promote_types_and_result_type() -> None:
    for a, b in itertools.product([*DTYPES, "float16"], [*DTYPES, "float16"]):
        theirs = torch.promote_types(getattr(torch, a), getattr(torch, b))
        assert str(theirs)[6:] == dd2424.promote_types(getattr(dd2424, a), getattr(dd2424, b)).name
        for x, y in itertools.product(([1], 1), ([1], 1)):
            theirs = torch.result_type(made(torch, a, x), made(torch, b, y))
            assert str(theirs)[6:] == dd2424.result_type(made(dd2424, a, x), made(dd2424, b, y)).name
        for number in (1, 1.5, True):
            assert str(torch.result_type(made(torch, a, [1]), number))[6:] == (
                dd2424.result_type(made(dd2424, a, [1]), number).name)  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary_of_every_dtype(name: str) -> None:
    for dtype, data in itertools.product(DTYPES, ([1, 0, 1, 1], 1, [])):
        compare(
            outcome(lambda: getattr(torch, name)(made(torch, dtype, data))),
            outcome(lambda: getattr(dd2424, name)(made(dd2424, dtype, data))),
        )


@pytest.mark.parametrize("name", [n for n in UNARY if hasattr(torch.Tensor, n + "_")])
def test_in_place_of_every_dtype(name: str) -> None:
    for dtype in DTYPES:
        results = []
        for library in (torch, dd2424):
            x = made(library, dtype, [1, 0, 1])
            results.append(outcome(getattr(x, name + "_")))
            assert isinstance(results[-1], Exception) or results[-1] is x
        compare(*results)


@pytest.mark.parametrize("name", [n for n in BINARY if hasattr(torch.Tensor, n + "_")])
def test_binary_in_place_of_every_dtype(name: str) -> None:
    for first, second in itertools.product(DTYPES, DTYPES):
        results = []
        for library in (torch, dd2424):
            x = made(library, first, [3, 1, 2])
            results.append(outcome(lambda: getattr(x, name + "_")(made(library, second, [1, 2, 1]))))
        compare(*results)


POINTS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3.5, math.nan, 1e-40, 1e30, -1e30, 88.8, -104.0, 3.0, -3.0, 6.0]
LIMITS = {"gelu", "silu", "mish", "hardswish", "softsign", "lgamma", "digamma", "logit", "tan"}  # at infinity ours has
# the limit where PyTorch has NaN; logit is compared where it is defined


@pytest.mark.parametrize("name", [*UNARY, *ACTIVATIONS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edge_values(name: str, dtype: str) -> None:
    libraries = (torch, dd2424) if name in UNARY else (torch.nn.functional, F)
    points = [0.25, 0.5] if name == "logit" else POINTS + ([] if name in LIMITS else [math.inf, -math.inf])
    theirs = outcome(lambda: getattr(libraries[0], name)(made(torch, dtype, points)))
    ours = outcome(lambda: getattr(libraries[1], name)(made(dd2424, dtype, points)))
    near = {"gelu": 1e-3}.get(name, 1e-5)  # PyTorch's own error in float32
    compare(theirs, ours, near if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "hardtanh"])
def test_gradients_at_edges(name: str) -> None:
    slopes = []
    for library, functions in ((torch, torch.nn.functional), (dd2424, F)):
        x = library.tensor([p for p in POINTS if not math.isnan(p)], dtype=library.float64, requires_grad=True)
        getattr(functions, name)(x).sum().backward()
        slopes.append(x.grad.numpy())
    np.testing.assert_allclose(slopes[1], slopes[0], rtol=1e-7, atol=1e-12)  # PyTorch has 1 / 6 in float32


LAYOUTS = {
    "contiguous": lambda m: m.ones(2, 3, 4, 5),
    "reversed": lambda m: m.ones(5, 4, 3, 2).permute(3, 2, 1, 0),
    "channels last": lambda m: m.ones(2, 4, 5, 3).permute(0, 3, 1, 2),
    "transposed": lambda m: m.ones(2, 4, 3, 5).transpose(1, 2),
    "every second": lambda m: m.ones(2, 3, 4, 10)[..., ::2],
    "reversed, cut": lambda m: m.ones(5, 4, 3, 4).permute(3, 2, 1, 0)[::2],
    "expanded": lambda m: m.ones(1, 3, 1, 5).expand(2, 3, 4, 5),
    "expanded from one": lambda m: m.ones(()).expand(2, 3, 4, 5),
    "one channel": lambda m: m.ones(1, 3, 1, 1),
    "row": lambda m: m.ones(5),
    "matrix transposed": lambda m: m.ones(5, 4).t(),
    "no dimensions": lambda m: m.ones(()),
}
OF_ONE = {
    "exp": lambda m, x: m.exp(x), "isnan": lambda m, x: m.isnan(x), "add a number": lambda m, x: x + 1,
    "compare": lambda m, x: x == 1, "subtract from": lambda m, x: 1 - x, "clamp": lambda m, x: x.clamp(0, 1),
    "masked_fill": lambda m, x: x.masked_fill(x > 0, 1.0), "logical_not": lambda m, x: m.logical_not(x),
    "gelu": lambda m, x: m.nn.functional.gelu(x), "round": lambda m, x: m.round(x), "pow": lambda m, x: x**2,
}  # fmt: skip
OF_TWO = {
    "add": lambda m, x, y: x + y, "lt": lambda m, x, y: x < y, "where": lambda m, x, y: m.where(x > 0, x, y),
    "where with a number": lambda m, x, y: m.where(y > 0, x, 1.0), "promoted": lambda m, x, y: x.double() + y,
    "lerp": lambda m, x, y: m.lerp(x, y, 0.5), "addcmul": lambda m, x, y: m.addcmul(x, y, y),
    "maximum": lambda m, x, y: m.maximum(x, y), "isclose": lambda m, x, y: m.isclose(x, y),
}  # fmt: skip


def moving(t: Any) -> tuple[tuple[int, int], ...]:
    """Shape and stride of the dimensions that are walked."""
    return tuple((n, step) for n, step in zip(t.shape, t.stride(), strict=True) if n != 1)


@pytest.mark.parametrize("name", OF_ONE)
def test_layout_of_one(name: str) -> None:
    for layout in LAYOUTS.values():
        assert moving(OF_ONE[name](torch, layout(torch))) == moving(OF_ONE[name](dd2424, layout(dd2424)))


@pytest.mark.parametrize("name", OF_TWO)
def test_layout_of_two(name: str) -> None:
    for first, second in itertools.product(LAYOUTS.values(), LAYOUTS.values()):
        theirs = outcome(lambda: OF_TWO[name](torch, first(torch), second(torch)))
        if not isinstance(theirs, Exception):
            assert moving(theirs) == moving(OF_TWO[name](dd2424, first(dd2424), second(dd2424)))


@pytest.mark.parametrize("owner", ["", "Tensor"])
def test_names(owner: str) -> None:
    theirs, ours = (getattr(m, owner) if owner else m for m in (torch, dd2424))
    names = {
        *UNARY,
        *BINARY,
        "clamp",
        "clip",
        "clamp_min",
        "clamp_max",
        "lerp",
        "addcmul",
        "addcdiv",
        "isclose",
        "frexp",
        "allclose",
        "equal",
        "where",
        "polygamma",
        "mvlgamma",
        "i0",
        "conj",
        "subtract",
        "multiply",
        "divide",
        "true_divide",
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "not_equal",
        "negative",
        "absolute",
        "arccos",
        "arcsin",
        "arctan",
        "arccosh",
        "arcsinh",
        "arctanh",
        "arctan2",
        "fix",
    }
    names |= {name + "_" for name in names}
    expected = {name for name in names if hasattr(theirs, name)}
    missing = sorted(name for name in expected if not hasattr(ours, name))
    known = {"bitwise_and_", "rsub_"} if owner else set()
    assert [name for name in missing if name not in known and not (owner == "" and name.endswith("_"))] == []
