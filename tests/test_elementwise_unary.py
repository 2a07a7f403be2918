"""Functions of one tensor: accurate over the whole range of numbers, at every level."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np
import pytest

import dd2424
import dd2424.nn.functional as F
from accuracy import assert_accurate, same_for_any_threads
from reference import elementwise as reference

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 88.7, -87.4, -103.9, 1e-40, -1e-40]
EXACT = {"neg", "abs", "square", "reciprocal", "sqrt", "floor", "ceil", "round", "trunc", "frac", "relu"}
FUNCTIONS = [(dd2424, name, f) for name, f in reference.UNARY.items()]
ACTIVATIONS = [(F, name, f) for name, f in reference.ACTIVATIONS.items()]


def every_kind(dtype: type, count: int) -> np.ndarray:
    """Numbers drawn by their bits: every exponent as often, denormal numbers, infinities and NaN among them."""
    rng = np.random.default_rng(0)
    if dtype is np.float32:
        numbers = rng.integers(0, 2**32, count, dtype=np.uint64).astype(np.uint32).view(np.float32)
    else:
        numbers = rng.integers(0, 2**64, count, dtype=np.uint64).view(np.float64)
    usual = [rng.uniform(-low, low, count) for low in (1, 9, 90)]
    parts = [np.where(np.isnan(numbers), np.nan, numbers), *usual, SPECIAL, [np.finfo(dtype).max, -1e-310]]
    return np.concatenate([np.asarray(part, dtype) for part in parts])


def evaluate(function, x: np.ndarray, dtype: type) -> np.ndarray:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact = function(x.astype(dtype))
        return np.where(np.abs(exact) > np.finfo(x.dtype).max, np.copysign(np.inf, exact), exact)


def near_the_edge(x: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Results within a rounding of overflow may fall on either side of it."""
    limit = np.finfo(x.dtype).max
    return np.isfinite(exact) & (np.abs(exact) > limit * (1 - 8 * np.finfo(x.dtype).eps))


@pytest.mark.parametrize(
    ("module", "name", "function"), FUNCTIONS + ACTIVATIONS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_float32_over_all_numbers(isa: str, module, name: str, function) -> None:
    x = every_kind(np.float32, 4001)
    exact = evaluate(function, x, np.float64)
    keep = ~near_the_edge(x, exact)
    actual = getattr(module, name)(dd2424.from_numpy(x)).numpy()
    assert_accurate(actual[keep], exact[keep], 0.5 if name in EXACT else 4)


@pytest.mark.parametrize("name", [n for n in reference.LONG | reference.LONG_ACTIVATIONS if n != "leaky_relu"])
def test_float64_over_all_numbers(isa: str, name: str) -> None:
    """Against long double."""
    module, function = (dd2424, reference.LONG) if name in reference.LONG else (F, reference.LONG_ACTIVATIONS)
    x = every_kind(np.float64, 301)
    exact = evaluate(function[name], x, np.longdouble).astype(np.float64)
    keep = ~near_the_edge(x, exact)
    actual = getattr(module, name)(dd2424.from_numpy(x)).numpy()
    assert_accurate(actual[keep], exact[keep], 0.5 if name in EXACT else 4)


@pytest.mark.parametrize(("dtype", "wide"), [(np.float32, np.float64), (np.float64, np.longdouble)])
def test_gelu_by_tanh(isa: str, dtype: type, wide: type) -> None:
    x = every_kind(dtype, 301)
    exact = evaluate(reference.gelu_tanh, x, wide).astype(np.float64)
    assert_accurate(F.gelu(dd2424.from_numpy(x), approximate="tanh"), exact, 4)


def test_gelu_in_float64_where_it_decays(isa: str) -> None:
    """x Phi(x) at -10, -20, -30: from Phi(-x) = erfc(x / sqrt(2)) / 2 in 40 digits."""
    x = dd2424.tensor([-10.0, -20.0, -30.0], dtype=dd2424.float64)
    exact = [-7.619853024160526e-23, -5.507248237212468e-88, -1.4720141781444561e-196]
    assert_accurate(F.gelu(x), np.array(exact), 4)


@pytest.mark.parametrize("name", ["exp", "tanh", "sqrt", "log", "floor", "relu"])
def test_bfloat16_is_computed_in_float32(isa: str, rng: np.random.Generator, name: str) -> None:
    x = np.abs(rng.normal(size=1037)).astype(ml_dtypes.bfloat16)
    exact = reference.UNARY[name](x.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(
        getattr(dd2424, name)(dd2424.from_numpy(x)).numpy(), exact.astype(ml_dtypes.bfloat16)
    ) if name in EXACT else assert_accurate(getattr(dd2424, name)(dd2424.from_numpy(x)), exact, 0.51)


@pytest.mark.parametrize("name", ["neg", "abs", "sqrt", "sin", "round", "trunc", "ceil", "expm1", "tanh", "asinh"])
def test_the_sign_of_zero(isa: str, name: str) -> None:
    zeros = dd2424.tensor([0.0, -0.0])
    signs = {"neg": [True, False], "abs": [False, False]}.get(name, [False, True])
    assert np.signbit(getattr(dd2424, name)(zeros).numpy()).tolist() == signs


def test_round_takes_halves_to_even(isa: str) -> None:
    x = dd2424.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 2.0**23 + 1, 0.49999997])
    assert dd2424.round(x).tolist() == [0, 2, 2, 0, -2, 2.0**23 + 1, 0]
    assert dd2424.round(dd2424.tensor([1.234, 1250.0]), decimals=2).tolist() == pytest.approx([1.23, 1250.0])
    assert dd2424.round(dd2424.tensor([1250.0, 1350.0]), decimals=-2).tolist() == [1200, 1400]


# Euler's constant and pi^2 / 6, 2 zeta(3), by DLMF 5.4 and 5.15; the others by reflection and recurrence.
POLYGAMMA = [(0, 1.0, -0.5772156649015329), (1, 1.0, 1.6449340668482264), (2, 1.0, -2.4041138063191885),
             (1, 0.5, 4.934802200544679), (3, 1.0, 6.493939402266829), (0, -0.5, 0.03648997397857652),
             (1, -0.5, 8.934802200544679), (2, -1.5, -0.2362040516417274), (1, -1e6 - 0.5, 9.869603401090358),
             (1, 1e10, 1.00000000005e-10), (0, 1e10, 23.025850929890456)]  # fmt: skip


@pytest.mark.parametrize(("n", "x", "value"), POLYGAMMA)
def test_polygamma(isa: str, n: int, x: float, value: float) -> None:
    assert_accurate(dd2424.polygamma(n, dd2424.tensor([x], dtype=dd2424.float64)), np.array([value]), 16, scale=1)


def test_polygamma_at_poles_and_ends() -> None:
    x = dd2424.tensor([0.0, -3.0, np.inf, np.nan], dtype=dd2424.float64)
    assert dd2424.polygamma(1, x).tolist() == pytest.approx([np.inf, np.inf, 0, np.nan], nan_ok=True)
    assert dd2424.digamma(x).tolist() == pytest.approx([-np.inf, np.nan, np.inf, np.nan], nan_ok=True)


def test_erfinv_is_the_inverse(isa: str, rng: np.random.Generator) -> None:
    x = dd2424.from_numpy(np.concatenate([rng.uniform(-3, 3, 301), [1e-9, -1e-30, 0.0]]))
    assert_accurate(dd2424.erfinv(dd2424.erf(x)), x.numpy(), 1, scale=4e3)  # erf(3) leaves 4e-5 of the digits
    assert dd2424.erfinv(dd2424.tensor([1.0, -1.0, 2.0])).tolist() == pytest.approx(
        [np.inf, -np.inf, np.nan], nan_ok=True
    )


UNEVEN = [(0,), (), (1,), (3, 5), (17, 33)]


@pytest.mark.parametrize("shape", UNEVEN)
@pytest.mark.parametrize("name", ["exp", "neg", "lgamma", "sign"])
def test_every_layout_gives_the_same(isa: str, rng: np.random.Generator, shape: tuple[int, ...], name: str) -> None:
    function = getattr(dd2424, name)
    x = rng.normal(size=shape).astype(np.float32)
    flat = function(dd2424.from_numpy(x)).numpy()
    moved = dd2424.from_numpy(np.array(x.T, order="C")).permute(tuple(range(x.ndim))[::-1])
    np.testing.assert_array_equal(function(moved).numpy(), flat)
    wide = dd2424.from_numpy(np.stack([x, x], -1))[..., 1]
    np.testing.assert_array_equal(function(wide).numpy(), flat)


def test_an_expanded_row(isa: str) -> None:
    x = dd2424.arange(5.0).expand(3, 5)
    np.testing.assert_array_equal(dd2424.square(x).numpy(), np.tile(np.arange(5.0) ** 2, (3, 1)))


@pytest.mark.parametrize("name", ["exp", "erf", "sin", "neg"])
def test_same_bits_for_any_threads(isa: str, rng: np.random.Generator, name: str) -> None:
    x = dd2424.from_numpy(rng.normal(size=100_003).astype(np.float32))
    same_for_any_threads(lambda: (getattr(dd2424, name)(x), getattr(dd2424, name)(x[::2])))
