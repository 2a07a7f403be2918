"""Reductions of nothing, gradients, the composed ones, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck

INF = math.inf
EMPTY = [("sum", 0), ("prod", 1), ("mean", math.nan), ("any", False), ("all", True), ("var", math.nan),
         ("logsumexp", -INF), ("norm", 0), ("nansum", 0)]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), EMPTY)
def test_of_nothing(isa: str, name: str, value: float) -> None:
    over_none = getattr(dd2424, name)(dd2424.zeros(2, 0), dim=1)
    assert over_none.tolist() == pytest.approx([value, value], nan_ok=True)
    assert getattr(dd2424, name)(dd2424.zeros(2, 0), dim=0).shape == (0,)
    assert getattr(dd2424, name)(dd2424.zeros(2, 0), dim=0, keepdim=True).shape == (1, 0)


REFUSALS = [
    (lambda: dd2424.zeros(2, 0).amax(1), IndexError, "amax: the reduced dimensions must not be empty"),
    (lambda: dd2424.zeros(0).amax(), RuntimeError, "amax: dim must be given for an empty input"),
    (lambda: dd2424.zeros(0).max(), RuntimeError, "dim must be given for an empty input"),
    (lambda: dd2424.zeros(0).argmax(), IndexError, "argmax: the reduced dimension must not be empty"),
    (lambda: dd2424.ones(2, 3).sum(2), IndexError, "sum: dim must be from -2 to 1, got 2"),
    (lambda: dd2424.ones(2, 3).sum((0, -2)), RuntimeError, "sum: dim must name each dimension once"),
    (lambda: dd2424.ones(2, 3).max((0, 1)), TypeError, "max: dim must be an int or a tensor"),
    (lambda: dd2424.tensor([1, 2]).mean(), RuntimeError, "mean: input must have a floating dtype"),
    (lambda: dd2424.tensor([1, 2]).var(), RuntimeError, "var: input must have a floating dtype"),
    (lambda: dd2424.tensor([1, 2]).std(), RuntimeError, "std: input must have a floating dtype"),
    (lambda: dd2424.ones(2).cumsum(1), IndexError, "cumsum: dim must be from -1 to 0"),
    (lambda: dd2424.logcumsumexp(dd2424.ones(2), 1), IndexError, "logcumsumexp: dim must be from -1 to 0, got 1"),
    (lambda: dd2424.cov(dd2424.ones(2, 2, 2)), RuntimeError, "cov: input must have at most two dimensions, got 3"),
    (lambda: dd2424.ones(2).var("x"), TypeError, "var: dim must be an int"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS, ids=[m for _, _, m in REFUSALS])
def test_refuses(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


REDUCTIONS = {
    "sum": dd2424.sum,
    "mean": dd2424.mean,
    "amax": dd2424.amax,
    "amin": dd2424.amin,
    "var": dd2424.var,
    "std": dd2424.std,
    "logsumexp": dd2424.logsumexp,
    "nansum": dd2424.nansum,
    "nanmean": dd2424.nanmean,
    "norm": lambda x, *a: dd2424.norm(x, 2, *a),
    "norm 3": lambda x, *a: dd2424.norm(x, 3, *a),
    "norm 1": lambda x, *a: dd2424.norm(x, 1, *a),
    "norm inf": lambda x, *a: dd2424.norm(x, INF, *a),
    "var_mean": dd2424.var_mean,
    "std_mean": dd2424.std_mean,
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_gradients(rng: np.random.Generator, name: str) -> None:
    x = dd2424.from_numpy(rng.normal(size=(3, 4, 2))).requires_grad_()
    for arguments in ((1,), ((0, 2),), (-1, True), ((0, 1, 2),)):
        if name in ("var", "std") and len(arguments) == 2:
            arguments = (-1, None, True)
        elif "mean" in name and "_" in name and len(arguments) == 2:
            continue
        assert gradcheck(REDUCTIONS[name], (x, *arguments))
        assert gradgradcheck(REDUCTIONS[name], (x, *arguments))


@pytest.mark.parametrize("dim", [None, 0, -1])
@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_products(rng: np.random.Generator, dim: int | None, zeros: int) -> None:
    """Zeros leave the gradient of the others alone: no division takes place."""
    values = rng.uniform(0.5, 1.5, (3, 4))
    values.flat[rng.choice(12, zeros, replace=False)] = 0
    x = dd2424.from_numpy(values).requires_grad_()
    product = (lambda t: dd2424.prod(t)) if dim is None else (lambda t: dd2424.prod(t, dim))
    assert gradcheck(product, x)
    assert gradgradcheck(product, x)
    if dim is not None:
        assert gradcheck(lambda t: dd2424.cumprod(t, dim), x)
        assert gradgradcheck(lambda t: dd2424.cumprod(t, dim), x)


@pytest.mark.parametrize("name", ["cumsum", "logcumsumexp"])
def test_running_gradients(rng: np.random.Generator, name: str) -> None:
    x = dd2424.from_numpy(rng.normal(size=(3, 4))).requires_grad_()
    for dim in (0, 1):
        assert gradcheck(lambda t: getattr(dd2424, name)(t, dim), x)  # noqa: B023
    assert dd2424.autograd.grad(getattr(dd2424, name)(x[0, 0], 0), x)[0].sum().item() == 1
    assert name == "logcumsumexp" or gradgradcheck(lambda t: dd2424.cumsum(t, 1), x)


@pytest.mark.parametrize("name", ["max", "min", "median", "cummax", "kthvalue", "amax of equals"])
def test_picked_gradients(rng: np.random.Generator, name: str) -> None:
    x = dd2424.from_numpy(rng.permutation(12).reshape(3, 4).astype(float)).requires_grad_()
    functions = {"max": lambda t: dd2424.max(t, 1).values, "min": lambda t: dd2424.min(t, 0, True).values,
                 "median": lambda t: dd2424.median(t, 1).values, "cummax": lambda t: dd2424.cummax(t, 1).values,
                 "kthvalue": lambda t: dd2424.kthvalue(t, 2, 1).values, "amax of equals": dd2424.amax}  # fmt: skip
    assert gradcheck(functions[name], x)
    assert gradgradcheck(functions[name], x)


def grad_of(function, values: list[float]) -> list[float]:
    x = dd2424.tensor(values, dtype=dd2424.float64, requires_grad=True)
    function(x).sum().backward()
    return x.grad.tolist()


def test_gradients_at_special_points() -> None:
    assert grad_of(dd2424.amax, [1, 3, 3]) == [0, 0.5, 0.5]  # shared
    assert grad_of(lambda x: dd2424.max(x, 0).values, [1, 3, 3]) == [0, 1, 0]  # the first
    assert grad_of(dd2424.std, [2, 2, 2]) == [0, 0, 0]
    assert grad_of(dd2424.norm, [0, 0]) == [0, 0]
    assert grad_of(lambda x: x.logsumexp(0), [-INF, 0]) == [0, 1]
    assert grad_of(dd2424.nansum, [math.nan, 2]) == [0, 1]
    assert grad_of(dd2424.prod, [0, 0, 3]) == [0, 0, 0]
    assert grad_of(lambda x: x.cumprod(0), [0, 2, 3]) == [1 + 2 + 6, 0, 0]


def test_norms(isa: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 7))
    for p in (1, 2, 3, 0.5, INF, -INF, 0):
        assert_accurate(dd2424.norm(dd2424.from_numpy(x), p, 1), np.linalg.norm(x, p, 1), 16)
    assert dd2424.dist(dd2424.ones(3), dd2424.zeros(3), 1).item() == 3
    scaled = dd2424.renorm(dd2424.from_numpy(x), 2, 0, 1.0)
    assert_accurate(scaled.norm(2, 1), np.minimum(np.linalg.norm(x, 2, 1), 1), 1e9)  # PyTorch's 1e-7


def test_trapezoid(rng: np.random.Generator) -> None:
    y, x = rng.normal(size=(3, 5)), np.sort(rng.normal(size=5))
    t, points = dd2424.from_numpy(y), dd2424.from_numpy(x)
    assert_accurate(dd2424.trapezoid(t, points), (np.diff(x) * (y[:, 1:] + y[:, :-1]) / 2).sum(1), 8, scale=1)
    assert_accurate(dd2424.trapezoid(t, dx=2.0, dim=0), (y[1:] + y[:-1]).sum(0), 8, scale=1)
    areas = (np.diff(x) * (y[:, 1:] + y[:, :-1]) / 2).cumsum(1)
    assert_accurate(dd2424.cumulative_trapezoid(t, points), areas, 8, scale=1)
    assert dd2424.trapezoid(dd2424.ones(1)).item() == dd2424.trapezoid(dd2424.ones(0)).item() == 0


def test_covariance(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 8))
    counts, weights = rng.integers(1, 4, 8), rng.uniform(0.5, 1, 8)
    t = dd2424.from_numpy(x)
    assert_accurate(dd2424.cov(t), np.cov(x), 16, scale=1)
    given: dict[str, Tensor] = {"fweights": dd2424.from_numpy(counts), "aweights": dd2424.from_numpy(weights)}
    assert_accurate(dd2424.cov(t, **given), np.cov(x, fweights=counts, aweights=weights), 16, scale=1)
    assert_accurate(dd2424.cov(t, correction=0, fweights=given["fweights"]), np.cov(x, ddof=0, fweights=counts), 16, 1)
    assert_accurate(dd2424.corrcoef(t), np.corrcoef(x), 16, scale=1)
    assert dd2424.cov(t[0]).item() == pytest.approx(np.cov(x[0]))


def test_any_and_all_over_no_dimension() -> None:
    x = dd2424.tensor([[0.0, 2.0]])
    assert dd2424.any(x, ()).tolist() == [[False, True]]
    assert dd2424.sum(x, ()).item() == 2
    assert dd2424.tensor([0, 3], dtype=dd2424.uint8).any().dtype == dd2424.uint8


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(65, 2), (1000, 10), (3000, 3, 5), (200, 130)], ids=str)
def test_any_and_all_over_long_columns(isa: str, rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> None:
    array = rng.integers(0, 2, shape)
    array[:, 0], array[:, 1] = 0, 1
    x = dd2424.from_numpy(array.astype(dtype))
    for dim in range(len(shape)):
        np.testing.assert_array_equal(x.any(dim).numpy(), array.any(dim))
        np.testing.assert_array_equal(x.all(dim).numpy(), array.all(dim))


def test_diff_and_aminmax() -> None:
    x = dd2424.tensor([[1.0, 4.0, 9.0]])
    assert dd2424.diff(x).tolist() == [[3, 5]]
    assert dd2424.diff(x, 2).tolist() == [[2]]
    assert dd2424.diff(dd2424.tensor([True, True, False])).tolist() == [False, True]
    low, high = dd2424.aminmax(x)
    assert (low.item(), high.item()) == (1, 9)
