"""Reductions: accurate in any layout, alike for any number of threads, and what empty ones give."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, same_for_any_threads
from reference import reduce as reference

SHAPES = [(1,), (7, 5), (3, 17, 33), (129, 65), (2, 5000)]
ROUNDINGS = {"amax": 0, "amin": 0, "prod": 100, "logsumexp": 4, "norm": 2}


def axes(shape: tuple[int, ...]) -> list:
    return [None, 0, -1, *([(0, 1), (-1, 0)] if len(shape) > 1 else [])]


@pytest.mark.parametrize("name", list(reference.REDUCTIONS))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matches_numpy(isa: str, rng: np.random.Generator, name: str, shape: tuple[int, ...], dtype: type) -> None:
    x = (rng.uniform(0.9, 1.1, shape) if name == "prod" else rng.normal(size=shape)).astype(dtype)
    function, scale = reference.REDUCTIONS[name]
    wide = x.astype(np.longdouble)
    limit = ROUNDINGS.get(name, 2) * (4 if dtype is np.float64 and name not in ("amax", "amin") else 1)
    for axis in axes(shape):
        dim = {"dim": () if name == "amax" and axis is None else axis} if axis is not None or name != "logsumexp" else {
            "dim": tuple(range(x.ndim))}  # fmt: skip
        if name == "prod" and isinstance(axis, tuple):
            continue
        actual = getattr(dd2424, name)(dd2424.from_numpy(x), **dim)
        assert_accurate(actual, np.asarray(function(wide, axis=axis), np.float64), limit, scale=scale(x, axis))
        if axis is not None:
            kept = getattr(dd2424, name)(dd2424.from_numpy(x), keepdim=True, **dim)
            assert tuple(kept.shape) == np.sum(x, axis=axis, keepdims=True).shape
            np.testing.assert_array_equal(kept.numpy().reshape(actual.shape), actual.numpy())


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "amax", "var", "argmax", "any", "logsumexp"])
@pytest.mark.parametrize("shape", [(5, 7, 3), (33, 130), (3, 0, 2), (1, 9)], ids=str)
def test_every_layout_gives_the_same_bits(isa: str, rng: np.random.Generator, name: str, shape) -> None:
    """Strides that a copy would not have (slices) choose no other order of summation."""
    x = dd2424.from_numpy(rng.normal(size=shape).astype(np.float32))
    wide = dd2424.stack([x, x], -1)[..., 1]
    cut = dd2424.cat([x, x], 0)[: shape[0]]
    for dim in range(len(shape)):
        if shape[dim] == 0 and name in ("amax", "argmax"):
            continue
        expected = getattr(dd2424, name)(x, dim=dim).numpy()
        for other in (wide, cut):
            np.testing.assert_array_equal(getattr(dd2424, name)(other, dim=dim).numpy(), expected)


@pytest.mark.parametrize("name", ["sum", "amax", "argmax", "var"])
def test_transposed_and_expanded(isa: str, rng: np.random.Generator, name: str) -> None:
    x = rng.normal(size=(37, 19, 6)).astype(np.float32)
    moved = dd2424.from_numpy(x).permute(2, 0, 1)
    for dim in range(3):
        plain = getattr(dd2424, name)(moved.contiguous(), dim=dim).numpy()
        assert_accurate(getattr(dd2424, name)(moved, dim=dim), plain, 4, scale=40)
    row = dd2424.from_numpy(x[0, 0]).expand(1000, 6)
    assert_accurate(dd2424.sum(row, 0), x[0, 0].astype(np.float64) * 1000, 8)


@pytest.mark.slow
def test_a_large_sum_keeps_its_digits(isa: str) -> None:
    """A million ones and a tenth: a running float32 sum would stop at 2^24 and lose the tenths."""
    x = dd2424.full((2**25 + 3,), 0.1)
    exact = (2**25 + 3) * float(np.float32(0.1))
    assert x.sum().item() == pytest.approx(exact, rel=4e-7)
    assert x.expand(2, 2**25 + 3).mean().item() == pytest.approx(float(np.float32(0.1)), rel=4e-7)


@pytest.mark.parametrize("correction", [0, 1, 3])
@pytest.mark.parametrize("offset", [0.0, 1e4, -3e6])
@pytest.mark.parametrize(
    ("shape", "axis"), [((300,), None), ((40, 67), 0), ((40, 67), 1), ((3, 5, 7), (0, 2))], ids=str
)
def test_variance_of_what_lies_far_from_zero(
    isa: str, rng: np.random.Generator, correction, offset, shape, axis
) -> None:
    x = (rng.normal(size=shape) + offset).astype(np.float32)
    exact = reference.variance(x.astype(np.float64), axis, correction)
    t = dd2424.from_numpy(x)
    assert_accurate(dd2424.var(t, axis, correction=correction), exact, 8)
    assert_accurate(dd2424.std(t, axis, correction=correction), np.sqrt(exact), 8)
    variance, mean = dd2424.var_mean(t, axis, correction=correction)
    assert_accurate(variance, exact, 8)
    assert_accurate(mean, x.astype(np.float64).mean(axis=axis), 3, scale=np.abs(x).mean(axis=axis))


def test_variance_spellings() -> None:
    x = dd2424.tensor([1.0, 2.0, 4.0])
    assert x.var().item() == pytest.approx(7 / 3)
    assert x.var(unbiased=False).item() == x.var(False).item() == x.var(correction=0).item() == pytest.approx(14 / 9)
    assert x.std(0, False).item() == pytest.approx(math.sqrt(14 / 9))
    assert dd2424.ones(1).var().isnan().item()
    assert dd2424.tensor([3.0]).var(correction=0).item() == 0


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_sums_of_every_dtype(isa: str, rng: np.random.Generator, dtype: str) -> None:
    x = rng.integers(0, 2 if dtype == "bool" else 100, (13, 37))
    t = dd2424.from_numpy(x).to(getattr(dd2424, dtype))
    total = t.sum()
    assert total.dtype == (t.dtype if t.is_floating_point() else dd2424.int64)
    assert total.item() == (x.sum() if dtype != "bfloat16" else float(np.asarray(x.sum()).astype(ml_dtypes.bfloat16)))
    assert t[:, :3].amax().item() == x[:, :3].max()
    assert (t.argmax(1).numpy() == x.argmax(1)).all()
    assert (t.any(0).numpy() == x.any(0)).all()
    assert (t.all(1).numpy() == x.all(1)).all()
    assert dd2424.count_nonzero(t, 1).tolist() == (x != 0).sum(1).tolist()


def test_integer_sums_wrap_in_int64() -> None:
    x = dd2424.tensor([2**62, 2**62])
    assert x.sum().item() == -(2**63)
    assert dd2424.tensor([255, 255], dtype=dd2424.uint8).prod().item() == 255 * 255


@pytest.mark.parametrize("name", ["argmax", "argmin", "max", "min"])
def test_the_first_of_equals_and_nan_win(isa: str, rng: np.random.Generator, name: str) -> None:
    sign = 1 if "max" in name else -1
    x = rng.integers(0, 4, (23, 41)).astype(np.float32)
    for a, axis in ((x, 0), (x, 1), (np.ascontiguousarray(x.T).T, 0)):
        expected = (sign * a).argmax(axis)
        result = getattr(dd2424, name)(dd2424.from_numpy(a), axis)
        indices = result if name.startswith("arg") else result.indices
        np.testing.assert_array_equal(indices.numpy(), expected)
    x[5, 7] = x[5, 30] = np.nan
    result = getattr(dd2424, name)(dd2424.from_numpy(x), 1)
    assert (result if name.startswith("arg") else result.indices)[5].item() == 7
    if not name.startswith("arg"):
        assert math.isnan(result.values[5].item())
        assert math.isnan(getattr(dd2424, name)(dd2424.from_numpy(x)).item())


def test_whole_argmax_counts_row_by_row() -> None:
    x = dd2424.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1)
    assert x.argmax().item() == x.contiguous().argmax().item() == 23
    assert x.argmax(keepdim=True).shape == (1, 1, 1)
    assert dd2424.tensor(3.0).argmax().item() == 0


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp"])
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 33, 3), (4, 1000)], ids=str)
def test_running(isa: str, rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> None:
    x = rng.uniform(0.9, 1.1, shape).astype(np.float32) * rng.choice([-1, 1], shape).astype(np.float32)
    for dim in range(len(shape)):
        exact = reference.running(x.astype(np.float64), dim, name)
        scale = np.abs(x.astype(np.float64)).cumsum(dim) if name == "cumsum" else 1 if name == "logcumsumexp" else 0
        for t in (dd2424.from_numpy(x), dd2424.from_numpy(np.array(x.T, order="C")).T):
            assert_accurate(getattr(dd2424, name)(t, dim), exact, 300 if name == "cumprod" else 2, scale)


def test_running_sums_of_integers_and_numbers() -> None:
    x = dd2424.tensor([[1, 2], [3, 4]], dtype=dd2424.int32)
    assert x.cumsum(0).tolist() == [[1, 2], [4, 6]]
    assert x.cumsum(1, dtype=dd2424.float32).dtype == dd2424.float32
    assert dd2424.tensor(3.0).cumsum(0).item() == 3
    assert x.cumprod(1).tolist() == [[1, 2], [3, 12]]
    assert dd2424.zeros(0, 3).cumsum(0).shape == (0, 3)


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "argmin", "var", "logsumexp", "cumsum", "norm", "prod"])
def test_same_bits_for_any_threads(isa: str, rng: np.random.Generator, name: str) -> None:
    x = dd2424.from_numpy(rng.normal(size=(303, 701)).astype(np.float32))
    same_for_any_threads(lambda: [getattr(dd2424, name)(y, dim=dim) for y in (x, x.T) for dim in (0, 1)])
    if name not in ("cumsum", "logsumexp"):
        same_for_any_threads(lambda: [getattr(dd2424, name)(x), getattr(dd2424, name)(x.T)])


INF = float("inf")


def test_infinities_and_nan(isa: str) -> None:
    x = dd2424.tensor([[INF, 1.0], [-INF, -INF], [INF, -INF], [math.nan, 1.0]])
    assert x.sum(1).tolist() == pytest.approx([INF, -INF, math.nan, math.nan], nan_ok=True)
    assert x.logsumexp(1).tolist() == pytest.approx([INF, -INF, INF, math.nan], nan_ok=True)
    assert x.amax(1).tolist() == pytest.approx([INF, -INF, INF, math.nan], nan_ok=True)
    assert x.amin(1).tolist() == pytest.approx([1.0, -INF, -INF, math.nan], nan_ok=True)
    assert x.isfinite().all(1).tolist() == [False] * 4
    assert x.var(1).isnan().all().item()
    assert dd2424.nansum(x[3]).item() == 1
    assert dd2424.nanmean(x[3]).item() == 1
    assert dd2424.tensor([3e38, 3e38, -3e38]).sum().item() == pytest.approx(3e38)  # blocks are added in double
