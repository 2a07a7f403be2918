"""Sorting, ranks, counts and look-ups in sorted order; NaN counts as the largest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424.autograd import gradcheck, gradgradcheck
from reference import sort as reference

ARRAYS: dict[str, Any] = {
    "normal": np.random.default_rng(0).standard_normal((4, 5)),
    "equal": np.array([[3, 1, 2, 1, 3], [0, 2, 2, 2, 0], [1, 1, 1, 1, 1]]),
    "nan": np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, -np.inf], [np.inf, 0.0, -0.0]]),
    "bool": np.array([[True, False, True], [False, False, True]]),
    "vector": np.random.default_rng(1).standard_normal(33),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("descending", [False, True])
def test_sort_is_stable(name: str, descending: bool) -> None:
    x = ARRAYS[name]
    for dim in range(x.ndim):
        values, places = reference.sort(x, dim, descending)
        found = dd2424.sort(dd2424.tensor(x), dim, descending)
        np.testing.assert_array_equal(found.values.numpy(), values, strict=True)
        np.testing.assert_array_equal(found.indices.numpy(), places, strict=True)
        np.testing.assert_array_equal(dd2424.tensor(x).argsort(dim, descending).numpy(), places, strict=True)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("largest", [False, True])
def test_topk_is_the_head_of_sort(name: str, largest: bool) -> None:
    x = ARRAYS[name]
    for dim in range(x.ndim):
        for k in (0, 1, x.shape[dim]):
            values, _ = reference.sort(x, dim, largest)
            found = dd2424.topk(dd2424.tensor(x), k, dim, largest)
            np.testing.assert_array_equal(found.values.numpy(), np.take(values, range(k), axis=dim))
            np.testing.assert_array_equal(np.take_along_axis(x, found.indices.numpy(), dim), found.values.numpy())


@pytest.mark.parametrize("name", ["normal", "equal", "vector"])
def test_ranks(name: str) -> None:
    array = ARRAYS[name]
    x = dd2424.tensor(array)
    for dim in range(array.ndim):
        ordered = np.sort(array, axis=dim)
        size = array.shape[dim]
        for k in (1, size):
            expected = np.take(ordered, k - 1, axis=dim)
            np.testing.assert_array_equal(x.kthvalue(k, dim).values.numpy(), expected)
            assert x.kthvalue(k, dim, keepdim=True).values.shape[dim] == 1
        np.testing.assert_array_equal(x.median(dim).values.numpy(), np.take(ordered, (size - 1) // 2, axis=dim))
        np.testing.assert_array_equal(x.nanmedian(dim).values.numpy(), x.median(dim).values.numpy())
    assert x.median().item() == np.sort(array.reshape(-1))[(array.size - 1) // 2]


def test_medians_and_nan() -> None:
    x = dd2424.tensor(ARRAYS["nan"])
    assert x.median().isnan().item()
    assert x.nanmedian().item() == 0.0
    assert x.median(1).values.isnan().tolist() == [True, True, False]
    assert x.nanmedian(1).values.tolist()[0] == 1.0
    assert dd2424.full((2,), float("nan")).nanmedian().isnan().item()


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "nearest", "midpoint"])
@pytest.mark.parametrize("dim", [None, 0, 1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_quantiles_match_numpy(interpolation: str, dim: int | None, keepdim: bool) -> None:
    array, q = ARRAYS["normal"], np.array([0.0, 0.31, 0.5, 1.0])
    x = dd2424.tensor(array)
    expected = np.quantile(array, q, axis=dim, keepdims=keepdim, method=interpolation)
    found = dd2424.quantile(x, dd2424.tensor(q), dim, keepdim, interpolation=interpolation)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)
    array = array.copy()
    array[1, :3], array[2] = np.nan, np.nan
    if dim != 1:
        expected = np.nanquantile(array, q, axis=dim, keepdims=keepdim, method=interpolation)
        found = dd2424.nanquantile(dd2424.tensor(array), dd2424.tensor(q), dim, keepdim, interpolation=interpolation)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)
        assert dd2424.tensor(array).quantile(0.5, dim).isnan().any()


def test_mode_is_the_smallest_of_the_most_frequent() -> None:
    x = dd2424.tensor([[3, 1, 3, 1, 0], [2, 2, 2, 0, 0]])
    assert x.mode().values.tolist() == [1, 2]
    assert x.mode(0, keepdim=True).values.tolist() == [[2, 1, 2, 0, 0]]


@pytest.mark.parametrize("name", ["normal", "equal", "vector"])
def test_running_extremes(name: str) -> None:
    array = ARRAYS[name]
    x = dd2424.tensor(array)
    for dim in range(array.ndim):
        largest, smallest = x.cummax(dim), x.cummin(dim)
        np.testing.assert_array_equal(largest.values.numpy(), np.maximum.accumulate(array, dim))
        np.testing.assert_array_equal(smallest.values.numpy(), np.minimum.accumulate(array, dim))
        np.testing.assert_array_equal(np.take_along_axis(array, largest.indices.numpy(), dim), largest.values.numpy())
    assert dd2424.tensor([1.0, 1.0, 0.0]).cummax(0).indices.tolist() == [0, 1, 1]
    assert dd2424.tensor([1.0, float("nan"), 3.0]).cummax(0).values.isnan().tolist() == [False, True, True]


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted_and_bucketize(right: bool) -> None:
    side = "right" if right else "left"
    edges, values = np.array([1.0, 3.0, 3.0, 7.0]), np.array([[0.0, 3.0], [7.0, 9.0]])
    expected = np.searchsorted(edges, values, side)
    t, v = dd2424.tensor(edges), dd2424.tensor(values)
    np.testing.assert_array_equal(dd2424.searchsorted(t, v, right=right).numpy(), expected)
    np.testing.assert_array_equal(dd2424.searchsorted(t, v, side=side).numpy(), expected)
    np.testing.assert_array_equal(dd2424.bucketize(v, t, right=right).numpy(), expected)
    rows = dd2424.searchsorted(dd2424.stack([t, t + 1]), v, right=right, out_int32=True)
    assert rows.dtype is dd2424.int32
    np.testing.assert_array_equal(rows.numpy(), [np.searchsorted(edges + i, values[i], side) for i in (0, 1)])
    shuffled = dd2424.tensor([7.0, 3.0, 1.0, 3.0])
    np.testing.assert_array_equal(
        dd2424.searchsorted(shuffled, v, right=right, sorter=shuffled.argsort()).numpy(), expected
    )


def test_scalars() -> None:
    x = dd2424.tensor(3.0)
    for found in (x.sort(), x.topk(1), x.kthvalue(1), x.cummax(0), x.median(0), x.mode()):
        assert found.values.shape == found.indices.shape == ()
        assert found.values.item() == 3
        assert found.indices.item() == 0


@pytest.mark.parametrize("name", ["sort", "topk", "kthvalue", "median", "cummax", "quantile", "msort"])
def test_gradients(rng: np.random.Generator, name: str) -> None:
    calls: dict[str, Any] = {
        "sort": lambda x: x.sort(0).values, "topk": lambda x: x.topk(2).values,
        "kthvalue": lambda x: x.kthvalue(2).values,
        "median": lambda x: x.median(), "cummax": lambda x: x.cummax(1).values, "msort": lambda x: x.msort(),
        "quantile": lambda x: x.quantile(dd2424.tensor([0.3, 0.9], dtype=dd2424.float64), 1),
    }  # fmt: skip
    x = dd2424.tensor(rng.permutation(12).reshape(3, 4) * 1.0, requires_grad=True)
    assert gradcheck(calls[name], x)
    assert gradgradcheck(calls[name], x)


def test_refusals() -> None:
    x = dd2424.arange(6.0).reshape(2, 3)
    refusals: list[tuple[Any, type[Exception], str]] = [
        (lambda: x.topk(4), RuntimeError, r"topk: k must be in \[0, 3\], got 4"),
        (lambda: x.kthvalue(0), RuntimeError, r"kthvalue: k must be in \[1, 3\], got 0"),
        (lambda: x.quantile(1.5), RuntimeError, r"quantile: q must be in \[0, 1\], got 1.5"),
        (lambda: x.long().quantile(0.5), RuntimeError, "quantile: input must be floating-point"),
        (lambda: x.quantile(dd2424.tensor(0.5, dtype=dd2424.float64)), RuntimeError, "quantile: q must be a number or"),
        (lambda: x.quantile(0.5, interpolation="cubic"), RuntimeError, "quantile: interpolation must be linear"),
        (lambda: dd2424.searchsorted(x, x.T), RuntimeError, "searchsorted: input must have the sequence's first"),
    ]
    for call, error, message in refusals:
        with pytest.raises(error, match=message):
            call()
