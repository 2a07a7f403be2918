"""Sorting on a GPU, real or emulated, against the processor's kernels: orders are unique, so nothing may differ."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
from dd2424.autograd import gradcheck, gradgradcheck
from on_gpu import FLOATS, INTEGERS, assert_alike, both, needs_gpu

pytestmark = needs_gpu


def assert_pairs_alike(gpu, here):
    for one, other in zip(gpu, here, strict=True):
        assert_alike(one, other)


def elements(rng, shape, dtype):
    """With equals, and of floats NaN, infinities and both zeros."""
    x = rng.integers(-20, 20, shape).astype(np.float64)
    if dtype in FLOATS and x.size > 20:
        x.flat[::7], x.flat[1::17], x.flat[2::19], x.flat[3::11] = -0.0, np.nan, np.inf, -np.inf
    return both(np.abs(x) if dtype == "uint8" else x, dtype)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool"])
@pytest.mark.parametrize("shape", [(0,), (1,), (5, 1), (7, 33), (3, 4, 40), (300,)], ids=str)
def test_sort(rng, dtype, shape):
    here, gpu = elements(rng, shape, dtype)
    for dim in range(len(shape)):
        for descending in (False, True):
            assert_pairs_alike(dd2424.sort(gpu, dim, descending), dd2424.sort(here, dim, descending))
    assert_alike(gpu.argsort(-1), here.argsort(-1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("n", [512, 513, 1500, 4096])
def test_rows_that_one_block_sorts(rng, dtype, n):
    """By a network, and digit by digit; of float64 in two halves. Whole orders, and the middle of one."""
    here, gpu = elements(rng, (2, n), dtype)
    for descending in (False, True):
        assert_pairs_alike(dd2424.sort(gpu, -1, descending), dd2424.sort(here, -1, descending))
    assert_pairs_alike(dd2424.kthvalue(gpu, n // 2, 1), dd2424.kthvalue(here, n // 2, 1))
    assert_pairs_alike(dd2424.median(gpu, 1), dd2424.median(here, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("shape", [(2, 4097), (4500,)], ids=str)
def test_rows_that_one_block_cannot_sort(rng, dtype, shape):
    """Of float64 the two halves of the keys are sorted one after the other."""
    x = rng.normal(size=shape) * 1e12 if dtype != "float32" else rng.normal(size=shape)
    x.flat[5::13] = x.flat[4]
    here, gpu = both(x, dtype)
    for descending in (False, True):
        assert_pairs_alike(dd2424.sort(gpu, -1, descending), dd2424.sort(here, -1, descending))
    for k, largest in ((7, True), (300, False), (1, False)):  # among them equals, of which the first are taken
        assert_pairs_alike(dd2424.topk(gpu, k, -1, largest), dd2424.topk(here, k, -1, largest))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_some_of_an_order(rng, dtype):
    here, gpu = elements(rng, (6, 41), dtype)
    for largest in (True, False):
        for k in (0, 1, 5, 41):
            assert_pairs_alike(dd2424.topk(gpu, k, 1, largest), dd2424.topk(here, k, 1, largest))
    assert_pairs_alike(dd2424.kthvalue(gpu, 3, 0), dd2424.kthvalue(here, 3, 0))
    for name in ("median", "nanmedian", "mode"):
        for dim in (0, 1):
            assert_pairs_alike(getattr(dd2424, name)(gpu, dim), getattr(dd2424, name)(here, dim))
    for name in ("cummax", "cummin"):
        for dim in (0, 1):
            assert_pairs_alike(getattr(dd2424, name)(gpu, dim), getattr(dd2424, name)(here, dim))


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_searchsorted(rng, dtype, right):
    edges, x = (np.sort(rng.integers(0, 30, (3, 17)), 1) for _ in range(2))
    edges, x = both(edges, dtype), both(x + 0.5 if dtype == "float32" else x, dtype)
    found = [dd2424.searchsorted(e, v, right=right) for e, v in zip(edges, x, strict=True)]
    assert_alike(found[1], found[0])
    found = [dd2424.searchsorted(e[0], v, right=right) for e, v in zip(edges, x, strict=True)]
    assert_alike(found[1], found[0])
    assert dd2424.searchsorted(edges[1][0], 3).item() == dd2424.searchsorted(edges[0][0], 3).item()


def test_sets(rng):
    here, gpu = both(rng.integers(0, 12, (40, 3)), "int64")
    options = {"return_inverse": True, "return_counts": True}
    for function in (lambda x: dd2424.unique(x, **options), lambda x: dd2424.unique(x, dim=0, **options),
                     lambda x: dd2424.unique_consecutive(x[:, 0] // 6, **options),
                     lambda x: (dd2424.bincount(x[:, 0]), dd2424.bincount(x[:, 1], x[:, 0].double(), 20)),
                     lambda x: (dd2424.isin(x, x[:12, 0]), dd2424.isin(x, x[0]), dd2424.isin(x, 3)),
                     lambda x: (dd2424.histc(x.float(), 5), dd2424.quantile(x.float(), 0.3, 0))):  # fmt: skip
        assert_pairs_alike(function(gpu), function(here))


def test_gradients():
    x = dd2424.randn(4, 5, dtype=dd2424.float64, device="cuda", requires_grad=True)
    for function in (lambda x: dd2424.sort(x, 0)[0], lambda x: x.topk(2, 1)[0] ** 2, lambda x: dd2424.cummax(x, 1)[0],
                     lambda x: dd2424.median(x, 1)[0]):  # fmt: skip
        assert gradcheck(function, (x,))
        assert gradgradcheck(function, (x,))
