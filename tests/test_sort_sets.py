"""Elements as sets, against NumPy: the different ones, how often each occurs, which are among others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import same_for_any_threads

NAN = float("nan")


def same_as_numpy(array: np.ndarray, dim: int | None) -> None:
    expected = np.unique(array, return_inverse=True, return_counts=True, axis=dim, equal_nan=False)
    x = dd2424.from_numpy(array)
    found = x.unique(return_inverse=True, return_counts=True, dim=dim)
    assert found[1].shape == (array.shape if dim is None else (array.shape[dim],))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.reshape(ours.shape))
    np.testing.assert_array_equal(x.unique(dim=dim).numpy(), expected[0])


@pytest.mark.parametrize("dim", [None, 0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_unique(rng: np.random.Generator, dim: int | None, dtype: str) -> None:
    same_as_numpy(np.array([[2, 1, 2], [2, 1, 2], [0, 1, 0]]).astype(dtype), dim)
    same_as_numpy(rng.integers(0, 2, (40, 4)).astype(dtype), dim)


def test_unique_slices(rng: np.random.Generator) -> None:
    few = rng.integers(-2, 3, (30, 2, 5))
    for dim in range(3):
        same_as_numpy(np.concatenate([few, few[::-1]], 0), dim)
    rows = rng.standard_normal((5, 70))
    rows[1:3] = rows[0]
    rows[2, 65] += 1  # told apart by a column far behind
    rows[3, 0] = rows[0, 0]
    same_as_numpy(rows[rng.integers(0, 5, 20)], 0)
    same_as_numpy(rows.T[:1], 0)
    same_as_numpy(np.zeros((3, 1)), 1)
    same_for_any_threads(lambda: dd2424.unique(dd2424.from_numpy(few), return_inverse=True, dim=1))


def test_nan_equals_nothing() -> None:
    x = dd2424.tensor([[1.0, NAN], [1.0, NAN], [1.0, 0.0], [1.0, 0.0]])
    values, inverse, counts = x.unique(return_inverse=True, return_counts=True, dim=0)
    assert values[0].tolist() == [1, 0]
    assert values.shape == (3, 2)
    assert (inverse.tolist(), counts.tolist()) == ([1, 2, 0, 0], [2, 1, 1])
    assert x.unique_consecutive(dim=0).shape == (3, 2)
    assert dd2424.isin(dd2424.tensor([NAN, 1.0]), dd2424.tensor([NAN, 1.0, 2.0])).tolist() == [False, True]


def test_unique_consecutive() -> None:
    x = dd2424.tensor([1, 1, 2, 2, 3, 1, 1])
    values, inverse, counts = dd2424.unique_consecutive(x, return_inverse=True, return_counts=True)
    assert values.tolist() == [1, 2, 3, 1]
    assert inverse.tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert counts.tolist() == [2, 2, 1, 2]
    rows = dd2424.tensor([[1, 1], [1, 1], [2, 1], [1, 1]])
    values, inverse, counts = rows.t().unique_consecutive(return_inverse=True, return_counts=True, dim=1)
    assert values.tolist() == [[1, 2, 1], [1, 1, 1]]
    assert (inverse.tolist(), counts.tolist()) == ([0, 0, 1, 2], [2, 1, 1])
    assert rows[:0].unique_consecutive(dim=0).shape == (0, 2)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_bincount(rng: np.random.Generator, dtype: str) -> None:
    x = rng.integers(0, 30, 5000).astype(dtype)
    weights = rng.standard_normal(5000, np.float32)
    t = dd2424.from_numpy(x)
    np.testing.assert_array_equal(t.bincount().numpy(), np.bincount(x))
    np.testing.assert_array_equal(t.bincount(minlength=50).numpy(), np.bincount(x, minlength=50))
    sums = same_for_any_threads(lambda: t.bincount(dd2424.from_numpy(weights)))
    np.testing.assert_allclose(sums.numpy(), np.bincount(x, weights).astype(np.float32), rtol=2**-23)
    assert dd2424.bincount(t, t).dtype is dd2424.float64
    assert t[:0].bincount().shape == (0,)
    assert t[:0].bincount(minlength=3).tolist() == [0, 0, 0]


def test_histc(rng: np.random.Generator) -> None:
    x = dd2424.tensor([0.0, 1.0, 1.0, 2.0, 4.0])
    assert dd2424.histc(x, 4).tolist() == [1, 2, 1, 1]
    assert x.histc(2, 1, 2).tolist() == [2, 1]
    assert dd2424.histc(dd2424.tensor([3.0, 3.0]), 2).tolist() == [0, 2]
    assert dd2424.histc(dd2424.tensor([NAN, -1e30, 0.5, 1e30, float("inf")]), 2, 0, 1).tolist() == [0, 1]
    assert x[:0].histc(2).tolist() == [0, 0]
    numbers = rng.standard_normal((70, 90))
    expected = np.histogram(numbers, 50, (-1.5, 2.0))[0]
    np.testing.assert_array_equal(dd2424.from_numpy(numbers).histc(50, -1.5, 2.0).numpy(), expected)


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
@pytest.mark.parametrize("count", [0, 1, 2, 60])
@pytest.mark.parametrize("invert", [False, True])
def test_isin(rng: np.random.Generator, dtype: str, count: int, invert: bool) -> None:
    x, among = (rng.integers(0, 100, shape).astype(dtype) for shape in ((7, 9), count))
    found = dd2424.isin(dd2424.from_numpy(x), dd2424.from_numpy(among), invert=invert)
    np.testing.assert_array_equal(found.numpy(), np.isin(x, among, invert=invert))


def test_isin_of_numbers_and_kinds() -> None:
    x = dd2424.tensor([0.0, 1.0, 1.5])
    assert dd2424.isin(x, 1).tolist() == [False, True, False]
    assert dd2424.isin(1.5, x).item() is True
    assert dd2424.isin(x, dd2424.tensor([1, 3])).tolist() == [False, True, False]
    assert dd2424.isin(dd2424.tensor([1, 2]), dd2424.tensor([1.5, 2.0])).tolist() == [False, True]


X = dd2424.tensor([[1.0, 2.0]])
REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: X[0].bincount(), NotImplementedError, "bincount: input must have an integer dtype"),
    (lambda: X.long().bincount(), RuntimeError, "bincount: input must be a vector of non-negative"),
    (lambda: dd2424.tensor([-1]).bincount(), RuntimeError, "bincount: input must be a vector of non-negative"),
    (lambda: dd2424.tensor([1]).bincount(X[0]), RuntimeError, r"bincount: weights must have .* \(1,\), got \(2,\)"),
    (lambda: dd2424.tensor([1]).bincount(minlength=-1), RuntimeError, "bincount: minlength must not be negative"),
    (lambda: X.histc(0), RuntimeError, "histc: bins must be positive, got 0"),
    (lambda: X.histc(4, 2, 1), RuntimeError, "histc: min and max must be finite and in order, got 2.0 and 1.0"),
    (lambda: (X * NAN).histc(4), RuntimeError, "histc: min and max must be finite"),
    (lambda: X.unique(dim=2), IndexError, "unique: dim"),
    (lambda: X.unique_consecutive(dim=-3), IndexError, "unique_consecutive: dim"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[row[2][:30] for row in REFUSED])
def test_refusals(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
