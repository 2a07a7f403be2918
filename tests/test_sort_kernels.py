"""Sorting at sizes that reach every way through the kernels, against NumPy's stable sort: the order is unique."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import dd2424
from accuracy import bits, same_for_any_threads
from reference import sort as reference

SIZES = [1, 2, 12, 13, 63, 64, 65, 129, 511, 700]
DTYPES = ["float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
SPECIAL = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.0, 1.0])


def random(rng: np.random.Generator, shape: Any, dtype: str) -> Any:
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype.startswith(("int", "uint")):
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return rng.standard_normal(shape).astype(getattr(ml_dtypes, dtype, dtype))


PATTERNS: dict[str, Any] = {
    "random": lambda rng, n, dtype: random(rng, (3, n), dtype),
    "few values": lambda rng, n, dtype: random(rng, 3, dtype)[rng.integers(0, 3, (3, n))],
    "rising": lambda rng, n, dtype: np.sort(random(rng, (3, n), dtype), -1),
    "falling": lambda rng, n, dtype: np.sort(random(rng, (3, n), dtype), -1)[:, ::-1].copy(),
    "pipes": lambda rng, n, dtype: np.abs(np.arange(3 * n).reshape(3, n) % (n + 1) - n // 2).astype(dtype),
}


def check(x: Any, descending: bool) -> None:
    places = reference.order(x, descending)
    found = dd2424.sort(dd2424.from_numpy(x), -1, descending)
    np.testing.assert_array_equal(found.indices.numpy(), places, strict=True)
    assert bits(found.values) == bits(np.take_along_axis(x, places, -1))  # -0.0 and NaN as they were


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
def test_every_size_and_pattern(isa: str, rng: np.random.Generator, pattern: str, dtype: str, descending: bool) -> None:
    for n in SIZES:
        check(PATTERNS[pattern](rng, n, dtype), descending)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(rng: np.random.Generator, dtype: str) -> None:
    for descending in (False, True):
        check(random(rng, (4, 130), dtype), descending)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_zeros_nan_and_infinities(isa: str, rng: np.random.Generator, dtype: str) -> None:
    with np.errstate(over="ignore"):
        special = SPECIAL.astype(getattr(ml_dtypes, dtype, dtype))
    for n in (5, 40, 300):
        for descending in (False, True):
            check(special[rng.integers(0, len(special), (5, n))], descending)


@pytest.mark.parametrize("spread", [1, 1 << 20, 1 << 40, (1 << 62) - 1])
def test_wide_keys_that_agree_in_their_upper_half(isa: str, rng: np.random.Generator, spread: int) -> None:
    crowd = rng.integers(0, 4, (2, 600)) * spread + rng.integers(0, 3, (2, 600)) - spread
    check(crowd, False)
    check(crowd, True)
    check(np.nextafter(1.0, 2.0) ** rng.integers(0, 9, (2, 600)), False)  # doubles of one exponent


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("n", [40_000, 70_001])
def test_long_rows_and_any_threads(isa: str, rng: np.random.Generator, dtype: str, n: int) -> None:
    x = random(rng, (1, n), dtype)
    x[0, : n // 4] = x[0, n // 4 : 2 * (n // 4)]
    found = same_for_any_threads(lambda: dd2424.from_numpy(x).sort())
    np.testing.assert_array_equal(found[1].numpy(), reference.order(x))
    rows = dd2424.from_numpy(x.reshape(-1)[:40_000].reshape(400, 100))
    same_for_any_threads(lambda: (rows.sort(0), rows.topk(3), rows.median(1)))


def test_rows_that_mislead_every_pivot(isa: str) -> None:
    sampled = lambda count: [i * (count // 9) for i in range(9)]
    x = reference.misleading(3000, 45, sampled).astype(np.int32)
    assert sorted(x) == list(range(3000))
    check(x[None], False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("n", [10, 300, 5000])
def test_the_best_of_long_rows(isa: str, rng: np.random.Generator, dtype: str, n: int) -> None:
    rows = {"random": random(rng, (3, n), dtype), "ties": rng.integers(0, 5, (3, n)).astype(dtype)}
    rows["rising"] = np.sort(rows["random"], -1)
    for x in rows.values():
        for largest in (True, False):
            order = reference.order(x, largest)
            for k in (1, 5, n // 3, n):
                found = dd2424.from_numpy(x).topk(k, largest=largest)
                np.testing.assert_array_equal(found.indices.numpy(), order[:, :k], strict=True)
                assert bits(found.values) == bits(np.take_along_axis(x, order[:, :k], -1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_ranks_of_long_rows(isa: str, rng: np.random.Generator, dtype: str) -> None:
    for x in (random(rng, (3, 3000), dtype), rng.integers(0, 9, (3, 3000)).astype(dtype) * (1 << 40)):
        order, t = reference.order(x), dd2424.from_numpy(x)
        for k in (1, 2, 1500, 2999, 3000):
            np.testing.assert_array_equal(t.kthvalue(k).indices.numpy(), order[:, k - 1])
        np.testing.assert_array_equal(t.median(-1).indices.numpy(), order[:, 1499])
        if dtype != "int64":
            x[1, [7, 2000]] = np.nan
            assert t.median(-1).indices[1].item() == 7
            assert t.nanmedian(-1).indices[1].item() == order_without_nan(x[1])


def order_without_nan(row: Any) -> int:
    return int(reference.order(row)[(np.isfinite(row).sum() - 1) // 2])


@pytest.mark.parametrize("name", ["sort", "topk", "kthvalue", "median", "cummax"])
def test_odd_layouts(rng: np.random.Generator, name: str) -> None:
    calls: dict[str, Any] = {"sort": lambda t, d: t.sort(d), "topk": lambda t, d: t.topk(2, d),
                             "kthvalue": lambda t, d: t.kthvalue(2, d), "median": lambda t, d: t.median(d),
                             "cummax": lambda t, d: t.cummax(d)}  # fmt: skip
    x = dd2424.from_numpy(rng.integers(0, 9, (6, 10, 8)).astype(np.float32))
    for strided in (x[::2, 1:9, ::3], x.permute(2, 0, 1), x[:, :1].expand(6, 10, 8)):
        for dim in range(3):
            assert bits(calls[name](strided, dim)) == bits(calls[name](strided.contiguous(), dim))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_of_nothing(shape: tuple[int, ...]) -> None:
    x = dd2424.zeros(shape)
    assert x.sort().values.shape == x.argsort(0).shape == shape
    assert x.topk(0).values.shape == (*shape[:-1], 0)
    assert x.cummax(0).indices.shape == shape
    assert x.unique().shape == (0,)
    assert x.median().isnan().item()
    with pytest.raises((IndexError, RuntimeError), match="kthvalue: k must be in"):
        dd2424.zeros(3, 0).kthvalue(1)
    with pytest.raises(IndexError, match="median: dim must not be empty"):
        dd2424.zeros(3, 0).median(1)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000])
def test_look_ups(isa: str, rng: np.random.Generator, dtype: str, n: int) -> None:
    edges = np.sort(rng.integers(0, 50, n)).astype(dtype)
    values = rng.integers(-5, 55, (7, 301)).astype(dtype)
    if dtype == "float32" and n:
        values[0, :3], edges[-1:] = np.nan, np.nan
    for right in (False, True):
        expected = np.searchsorted(edges, values, "right" if right else "left")
        found = same_for_any_threads(
            lambda: dd2424.searchsorted(dd2424.from_numpy(edges), dd2424.from_numpy(values), right=right)  # noqa: B023
        )
        np.testing.assert_array_equal(found.numpy(), expected)
    mixed = dd2424.searchsorted(dd2424.tensor([1, 2**53 + 1]), dd2424.tensor([1.5, 2.0**54], dtype=dd2424.float64))
    assert mixed.tolist() == [1, 2]


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_unique_of_many(rng: np.random.Generator, dtype: str) -> None:
    x = rng.integers(0, 40, (50, 60)).astype(dtype)
    expected = np.unique(x, return_inverse=True, return_counts=True)
    found = dd2424.unique(dd2424.from_numpy(x), return_inverse=True, return_counts=True)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.reshape(ours.shape))
    assert dd2424.tensor([1.0, float("nan"), float("nan"), 1.0]).unique().shape == (3,)
