"""Functions of two tensors: values, broadcasting, layouts, and what in-place forms refuse."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, same_for_any_threads
from reference import elementwise as reference

ROUNDINGS = {"add": 0.5, "sub": 0.5, "mul": 0.5, "div": 0.5, "floor_divide": 0, "remainder": 0.5, "fmod": 0,
             "maximum": 0, "minimum": 0, "fmax": 0, "fmin": 0, "copysign": 0}  # fmt: skip
SHAPES = [((37,), (37,)), ((5, 1), (1, 7)), ((), (3,)), ((0,), (1,)), ((4, 3, 5), (3, 1)), ((2, 9, 17), (2, 9, 17))]


def operands(rng: np.random.Generator, name: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    low = 0.1 if name in ("pow", "xlogy") else -9
    return [rng.uniform(low, 9, shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("name", list(reference.BINARY))
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_matches_numpy(isa: str, rng: np.random.Generator, name: str, shapes) -> None:
    a, b = operands(rng, name, *shapes)
    exact = reference.BINARY[name](a.astype(np.float64), b.astype(np.float64))
    scale = np.abs(a) + np.abs(b) if name.startswith("logadd") else 0
    actual = getattr(dd2424, name)(dd2424.from_numpy(np.array(a)), dd2424.from_numpy(np.array(b)))
    assert_accurate(actual, exact, ROUNDINGS.get(name, 4), scale=scale)


@pytest.mark.parametrize("name", ["add", "mul", "maximum", "atan2", "eq", "where"])
@pytest.mark.parametrize("shape", [(3, 5), (17, 33), (2, 3, 4, 5)])
def test_every_layout_gives_the_same(isa: str, rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> None:
    a, b = (dd2424.from_numpy(x) for x in operands(rng, name, shape, shape))
    function = (lambda x, y: dd2424.where(x > 0, x, y)) if name == "where" else getattr(dd2424, name)
    expected = function(a, b).numpy()
    turned = a.permute(tuple(range(a.ndim))[::-1]).contiguous().permute(tuple(range(a.ndim))[::-1])
    spread = dd2424.stack([b, b], -1)[..., 1]
    for left, right in ((turned, b), (a, spread), (turned, spread)):
        np.testing.assert_array_equal(function(left, right).numpy(), expected)


@pytest.mark.parametrize("name", ["add", "div", "pow", "lt"])
def test_a_number_on_either_side(isa: str, rng: np.random.Generator, name: str) -> None:
    (x,) = operands(rng, "pow", (41,))
    t, function = dd2424.from_numpy(x), reference.COMPARISONS.get(name) or reference.BINARY[name]
    assert_accurate(getattr(dd2424, name)(t, 1.5), function(x.astype(np.float64), 1.5), 1)
    assert_accurate(getattr(dd2424, name)(1.5, t), function(1.5, x.astype(np.float64)), 1)


def test_operators_are_functions() -> None:
    x = dd2424.tensor([1.0, -2.0, 3.0])
    pairs = [(x + 2, [3, 0, 5]), (2 - x, [1, 4, -1]), (2 * x, [2, -4, 6]), (6 / x, [6, -3, 2]), (x**2, [1, 4, 9]),
             (2**x, [2, 0.25, 8]), (x // 2, [0, -1, 1]), (7 // x, [7, -4, 2]), (x % 2, [1, 0, 1]), (-x, [-1, 2, -3]),
             (abs(x), [1, 2, 3]), (+x, [1, -2, 3]), (7 % x, [0, -1, 1]), (dd2424.rsub(x, 1), [0, 3, -2])]  # fmt: skip
    for actual, expected in pairs:
        assert actual.tolist() == expected
    whole = dd2424.tensor([5, 6])
    bits = [(whole & 4, [4, 4]), (whole | 8, [13, 14]), (whole ^ 1, [4, 7]), (~whole, [-6, -7]), (whole << 1, [10, 12]),
            (whole >> 1, [2, 3]), (1 << whole, [32, 64]), (3 & whole, [1, 2])]  # fmt: skip
    for actual, expected in bits:
        assert actual.tolist() == expected


NAN = float("nan")


def test_nan_in_extremes(isa: str) -> None:
    a, b = dd2424.tensor([NAN, 1.0, NAN] * 7), dd2424.tensor([1.0, NAN, NAN] * 7)
    for name in ("maximum", "minimum"):
        assert np.isnan(getattr(dd2424, name)(a, b).numpy()).all()
    for name in ("fmax", "fmin"):
        np.testing.assert_array_equal(getattr(dd2424, name)(a, b).numpy(), np.float32([1, 1, NAN] * 7))
    for name, expected in (("eq", False), ("ne", True), ("lt", False), ("ge", False)):
        assert getattr(dd2424, name)(a, b).unique().tolist() == [expected]


def test_division_of_floats_by_zero(isa: str) -> None:
    x, zero = dd2424.tensor([1.0, -1.0, 0.0]), dd2424.zeros(3)
    expected = np.float32([np.inf, -np.inf, NAN])
    np.testing.assert_array_equal((x / zero).numpy(), expected)
    np.testing.assert_array_equal((x // zero).numpy(), expected)
    assert dd2424.isnan(x % zero).all()


def test_floor_division_takes_the_exact_remainder(isa: str) -> None:
    one, tenth = dd2424.tensor([1.0], dtype=dd2424.float64), dd2424.tensor([0.1], dtype=dd2424.float64)
    assert (one // tenth).item() == 1 // 0.1 == 9
    assert dd2424.div(one, tenth, rounding_mode="floor").item() == 9


def test_logaddexp_does_not_overflow(isa: str) -> None:
    inf = float("inf")
    a, b = dd2424.tensor([1000.0, inf, -inf, -inf, 0.0, inf]), dd2424.tensor([1000.0, 1.0, -inf, 2.0, -30.0, -inf])
    np.testing.assert_allclose(dd2424.logaddexp(a, b).numpy(), np.logaddexp(a.numpy(), b.numpy()), rtol=2e-7)
    assert dd2424.logaddexp(a, b)[4].item() == pytest.approx(9.357623e-14)  # log1p keeps it


def test_lerp_meets_both_ends(isa: str, rng: np.random.Generator) -> None:
    a, b = (dd2424.from_numpy(rng.normal(size=101).astype(np.float32)) for _ in range(2))
    for weight, end in ((0.0, a), (1.0, b), (dd2424.zeros(101), a), (dd2424.ones(101), b)):
        np.testing.assert_array_equal(dd2424.lerp(a, b, weight).numpy(), end.numpy())


def test_scaled_sums() -> None:
    x, y, z = dd2424.tensor([1.0, 2.0]), dd2424.tensor([3.0, 4.0]), dd2424.tensor([2.0, 8.0])
    assert dd2424.add(x, y, alpha=2).tolist() == [7, 10]
    assert x.sub(y, alpha=0.5).tolist() == [-0.5, 0]
    assert dd2424.addcmul(x, y, z, value=0.5).tolist() == [4, 18]
    assert dd2424.addcdiv(x, y, z, value=2).tolist() == [4, 3]
    assert dd2424.add(dd2424.tensor([1]), 2, alpha=3).tolist() == [7]


def test_bfloat16_rounds_once(isa: str, rng: np.random.Generator) -> None:
    a, b = (rng.normal(size=1031).astype(ml_dtypes.bfloat16) for _ in range(2))
    exact = (a.astype(np.float32) + b.astype(np.float32)).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal((dd2424.from_numpy(a) + dd2424.from_numpy(b)).numpy(), exact)


@pytest.mark.parametrize("name", ["add", "pow", "fmod", "lt", "logaddexp"])
def test_same_bits_for_any_threads(isa: str, rng: np.random.Generator, name: str) -> None:
    a, b = (dd2424.from_numpy(x) for x in operands(rng, "pow", (301, 337), (1, 337)))
    same_for_any_threads(lambda: getattr(dd2424, name)(a, b))


# In place.


def test_in_place_returns_itself_and_counts() -> None:
    x = dd2424.ones(3)
    for number, write in enumerate((x.add_, x.mul_, x.sub_, x.div_, x.pow_, x.clamp_, x.fill_, x.copy_), 1):
        assert write(dd2424.ones(3) if write == x.copy_ else 1.0) is x
        assert x._version == number


def test_in_place_over_itself_and_its_views(isa: str) -> None:
    x = dd2424.arange(6.0).reshape(2, 3)
    x += x
    assert x.tolist() == [[0, 2, 4], [6, 8, 10]]
    y = dd2424.arange(9.0).reshape(3, 3)
    y += y.T  # overlaps: as if the other had been copied
    assert y.tolist() == [[0, 4, 8], [4, 8, 12], [8, 12, 16]]
    z = dd2424.arange(5.0)
    z[1:] += z[:-1]
    assert z.tolist() == [0, 1, 3, 5, 7]


@pytest.mark.parametrize("part", [np.s_[:1], np.s_[:, :1], np.s_[:1, :1], np.s_[0]], ids=str)
@pytest.mark.parametrize("name", ["sub_", "div_", "mul_", "add_"])
def test_in_place_over_a_broadcast_part_of_itself(rng: np.random.Generator, name: str, part) -> None:
    """The part starts where the whole does, and may have its strides: it is read as it was before the write."""
    array = rng.uniform(1, 2, (1000, 300)).astype(np.float32)
    x = dd2424.from_numpy(array.copy())
    getattr(x, name)(x[part])
    expected = getattr(dd2424, name[:-1])(dd2424.from_numpy(array), dd2424.from_numpy(array[part].copy()))
    np.testing.assert_array_equal(x.numpy(), expected.numpy())


REFUSALS = [
    (lambda: dd2424.ones(3) + dd2424.ones(4), RuntimeError, r"add: .*\(3,\).*\(4,\)"),
    (
        lambda: dd2424.ones(3).add_(dd2424.ones(2, 3)),
        RuntimeError,
        r"add_: other must broadcast to \(3,\), got \(2, 3\)",
    ),
    (lambda: dd2424.ones(3, dtype=dd2424.int64).add_(1.5), RuntimeError, "add_: result has dtype dd2424.float32"),
    (lambda: dd2424.ones(3, dtype=dd2424.int32).sinc_(), RuntimeError, "sinc_: result has dtype dd2424.float32"),
    (lambda: dd2424.ones(1).expand(3).mul_(2), RuntimeError, "mul: the tensor written in place must have one place"),
    (
        lambda: dd2424.add(dd2424.ones(2, dtype=dd2424.int32), 1, alpha=0.5),
        RuntimeError,
        "add: alpha must be an integer",
    ),
    (lambda: dd2424.ones(2) & 1, NotImplementedError, "bitwise_and: operands must have integer or boolean dtypes"),
    (lambda: ~dd2424.ones(2), NotImplementedError, "bitwise_not: input must have an integer"),
    (lambda: dd2424.tensor([True]) - dd2424.tensor([True]), RuntimeError, "sub: operands must not be boolean"),
    (lambda: -dd2424.tensor([True]), RuntimeError, "neg: input must not be boolean"),
    (lambda: dd2424.tensor([2]) ** -1, RuntimeError, "pow: exponent must not be negative"),
    (lambda: dd2424.where(dd2424.ones(2), 1.0, 2.0), RuntimeError, "where: condition must be boolean"),
    (lambda: dd2424.where(dd2424.tensor([True]), 1.0), TypeError, "where: input and other must both be given"),
    (lambda: dd2424.div(dd2424.ones(2), 2, rounding_mode="up"), RuntimeError, "div: rounding_mode must be None"),
    (lambda: dd2424.clamp(dd2424.ones(2)), RuntimeError, "clamp: at least one of min and max"),
    (lambda: dd2424.heaviside(dd2424.ones(2), dd2424.ones(2).double()), RuntimeError, "heaviside: values must have"),
    (lambda: dd2424.logaddexp(dd2424.ones(2), 1.0), TypeError, "logaddexp: input and other must be tensors"),
    (lambda: dd2424.gcd(dd2424.ones(2), dd2424.ones(2)), NotImplementedError, "gcd: operands must have integer dtypes"),
    (lambda: dd2424.polygamma(-1, dd2424.ones(2)), RuntimeError, "polygamma: n must not be negative, got -1"),
    (lambda: dd2424.mvlgamma(dd2424.ones(2), 4), RuntimeError, "mvlgamma: input must be above 1.5"),
    (lambda: dd2424.nextafter(dd2424.tensor([1]), dd2424.tensor([2])), RuntimeError, "nextafter: operands must be"),
    (lambda: dd2424.ones(2) + "1", TypeError, "unsupported operand|must be"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS, ids=[m for _, _, m in REFUSALS])
def test_refuses(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
