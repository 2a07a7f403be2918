"""Maximum and average pooling against float64, window by window; threads, gradients, memory formats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, same_for_any_threads
from dd2424 import autograd
from dd2424.nn import functional as F
from reference import pool as reference

# Image, kernel, stride, padding, dilation, ceil mode. Long rows reach the blocks of a row, strides of 1 to 4 its
# phases, and what is wider goes window by window; 257 taps do not fit a byte.
GEOMETRIES = [
    ((8, 8), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((9, 17), (3, 3), (2, 2), (1, 1), (1, 1), False),
    ((7, 40), (3, 2), (1, 1), (1, 0), (1, 1), False),
    ((6, 23), (2, 5), (3, 3), (1, 2), (1, 1), True),
    ((12, 37), (3, 4), (2, 4), (1, 2), (1, 1), True),
    ((9, 30), (3, 3), (1, 2), (0, 1), (2, 3), False),
    ((5, 41), (2, 3), (2, 7), (0, 1), (1, 1), True),
    ((4, 21), (4, 20), (1, 1), (2, 10), (1, 1), False),
    ((3, 5), (1, 1), (2, 2), (0, 0), (1, 1), False),
    ((20, 17), (20, 13), (1, 2), (0, 0), (1, 1), False),
    ((605,), (3,), (2,), (1,), (1,), False),
    ((605,), (5,), (1,), (2,), (1,), True),
    ((4, 6, 9), (2, 3, 2), (2, 1, 2), (1, 1, 0), (1, 1, 1), True),
]
# Channels: few, one vector and a tail, several vectors.
BATCHES = [((2, 3), False), ((1, 5), True), ((2, 67), True)]


def images(rng: np.random.Generator, shape: Any, dtype: Any = np.float32) -> Any:
    return rng.integers(-4, 5, shape).astype(dtype) if rng.random() < 0.5 else rng.standard_normal(shape).astype(dtype)


def tensor(array: Any, channels_last: bool = False) -> Any:
    """The array's values, one way or the other in memory."""
    t = dd2424.from_numpy(array.copy())
    if not channels_last or array.ndim < 4:
        return t
    n = array.ndim
    return t.permute(0, *range(2, n), 1).contiguous().permute(0, n - 1, *range(1, n - 1))


def call(kind: str, image: Any) -> Any:
    return getattr(F, f"{kind}{len(image)}d")


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize(("batch", "channels_last"), BATCHES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_max_pool(
    isa: str, rng: np.random.Generator, geometry: Any, batch: Any, channels_last: bool, dtype: Any
) -> None:
    image, *options = geometry
    x = images(rng, (*batch, *image), dtype)
    y, index = reference.max_pool(x, *reference.windows(*geometry))
    leaf = tensor(x, channels_last).requires_grad_()
    got, at = call("max_pool", image)(leaf, *options, return_indices=True)
    assert_accurate(got, y, roundings=0)
    assert_accurate(at, index)
    dy = images(rng, y.shape, dtype)
    got.backward(tensor(dy))
    dx = reference.max_pool_gradient(dy, index, image)
    assert_accurate(leaf.grad, dx, roundings=8, scale=reference.max_pool_gradient(abs(dy), index, image))


@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if set(g[4]) == {1}], ids=str)
@pytest.mark.parametrize(("batch", "channels_last"), BATCHES, ids=str)
@pytest.mark.parametrize("count", [{}, {"count_include_pad": False}, {"divisor_override": 3}], ids=str)
def test_avg_pool(
    isa: str, rng: np.random.Generator, geometry: Any, batch: Any, channels_last: bool, count: Any
) -> None:
    image, kernel, stride, padding, _, ceil_mode = geometry
    if len(image) == 1:
        count = {name: value for name, value in count.items() if name != "divisor_override"}
    how = (count.get("count_include_pad", True), count.get("divisor_override"))
    out, window = reference.windows(*geometry)
    x = images(rng, (*batch, *image))
    leaf = tensor(x, channels_last).requires_grad_()
    y = call("avg_pool", image)(leaf, kernel, stride, padding, ceil_mode, **count)
    assert_accurate(y, reference.avg_pool(x, out, window, *how), 8, reference.avg_pool(abs(x), out, window, *how))
    dy = images(rng, tuple(y.shape))
    y.backward(tensor(dy))
    scale = reference.avg_pool_gradient(abs(dy), image, window, *how)
    assert_accurate(leaf.grad, reference.avg_pool_gradient(dy, image, window, *how), 8, scale)


ADAPTIVE = [((7, 7), (1, 1)), ((12, 8), (3, 4)), ((7, 19), (3, 5)), ((5, 3), (7, 8)), ((700,), (3,)), ((3, 6, 7), (2, 2, 3))]  # fmt: skip


@pytest.mark.parametrize(("image", "out"), ADAPTIVE, ids=str)
@pytest.mark.parametrize(("batch", "channels_last"), BATCHES, ids=str)
def test_adaptive(isa: str, rng: np.random.Generator, image: Any, out: Any, batch: Any, channels_last: bool) -> None:
    x, space = images(rng, (*batch, *image)), len(image)
    out, window = reference.adaptive_windows(image, out)
    dy = images(rng, (*batch, *out))
    leaf = tensor(x, channels_last).requires_grad_()
    y = getattr(F, f"adaptive_avg_pool{space}d")(leaf, out)
    y.backward(tensor(dy))
    assert_accurate(y, reference.avg_pool(x, out, window), 16, reference.avg_pool(abs(x), out, window))
    scale = reference.avg_pool_gradient(abs(dy), image, window)
    assert_accurate(leaf.grad, reference.avg_pool_gradient(dy, image, window), 8, scale)

    leaf = tensor(x, channels_last).requires_grad_()
    greatest, at = getattr(F, f"adaptive_max_pool{space}d")(leaf, out, return_indices=True)
    greatest.backward(tensor(dy))
    expected, index = reference.max_pool(x, out, window)
    assert_accurate(greatest, expected, roundings=0)
    assert_accurate(at, index)
    scale = reference.max_pool_gradient(abs(dy), index, image)
    assert_accurate(leaf.grad, reference.max_pool_gradient(dy, index, image), 8, scale)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("batch", [(2, 3), (2, 20)])
def test_nan_wins_and_ties_go_to_the_first(isa: str, rng: np.random.Generator, batch: Any, channels_last: bool) -> None:
    geometry = ((9, 21), (3, 3), (2, 2), (1, 1), (1, 1), False)
    x = rng.choice([-np.inf, 0.0, 1.0, np.nan], (*batch, 9, 21), p=[0.6, 0.2, 0.1, 0.1]).astype(np.float32)
    y, index = reference.max_pool(x, *reference.windows(*geometry))
    got, at = F.max_pool2d(tensor(x, channels_last), *geometry[1:], return_indices=True)
    np.testing.assert_array_equal(got.numpy(), y)
    np.testing.assert_array_equal(at.numpy(), index)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", ["bfloat16", "int64", "int32", "int16", "int8", "uint8"])
def test_other_dtypes(isa: str, rng: np.random.Generator, dtype: str, channels_last: bool) -> None:
    geometry = ((6, 19), (3, 3), (2, 2), (1, 1), (1, 1), False)
    x = rng.integers(0 if dtype == "uint8" else -100, 100, (2, 21, 6, 19))
    t = tensor(x, channels_last).to(getattr(dd2424, dtype))
    y, at = F.max_pool2d(t, *geometry[1:], return_indices=True)
    expected, index = reference.max_pool(x, *reference.windows(*geometry))
    assert y.dtype == t.dtype
    np.testing.assert_array_equal(y.long().numpy(), expected)
    np.testing.assert_array_equal(at.numpy(), index)


@pytest.mark.parametrize("channels_last", [False, True])
def test_bfloat16_sums_in_float32(isa: str, rng: np.random.Generator, channels_last: bool) -> None:
    x = tensor(images(rng, (2, 19, 8, 18)), channels_last).bfloat16()
    exact = x.double().numpy()
    window = reference.windows((8, 18), (3, 3), (1, 1), (1, 1), (1, 1))
    leaf = x.detach().requires_grad_()
    y = F.avg_pool2d(leaf, 3, 1, 1)
    assert_accurate(y, reference.avg_pool(exact, *window), 1, reference.avg_pool(abs(exact), *window) * 0.01)
    y.sum().backward()
    dx = reference.avg_pool_gradient(np.ones((2, 19, 8, 18)), (8, 18), window[1])
    assert_accurate(leaf.grad, dx, roundings=1)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("pool", [
    lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: F.avg_pool2d(x, 2), lambda x: F.adaptive_avg_pool2d(x, 1),
    lambda x: F.adaptive_max_pool2d(x, 5), lambda x: F.avg_pool2d(x, 3, 1, 1),
])  # fmt: skip
def test_same_bits_for_any_threads(isa: str, rng: np.random.Generator, pool: Any, channels_last: bool) -> None:
    x = rng.standard_normal((2, 20, 40, 41)).astype(np.float32)

    def run() -> Any:
        leaf = tensor(x, channels_last).requires_grad_()
        y = pool(leaf)
        (y * y).sum().backward()
        return y, leaf.grad

    y, _ = same_for_any_threads(run)
    assert y.numel() > 0


POOLS = {
    "max_pool1d": (lambda x: F.max_pool1d(x, 3, 2, 1), (2, 2, 7)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), (2, 2, 5, 6)),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2, 1), (1, 2, 3, 3, 3)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), (2, 2, 5, 6)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), (2, 2, 5, 4)),
    "adaptive_avg_pool2d to one": (lambda x: F.adaptive_avg_pool2d(x, 1), (2, 3, 4, 4)),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, (2, 3)), (2, 2, 5, 4)),
    "lp_pool2d": (lambda x: F.lp_pool2d(x, 3, 2), (2, 2, 4, 4)),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients(rng: np.random.Generator, name: str, channels_last: bool) -> None:
    pool, shape = POOLS[name]
    x = rng.permutation(int(np.prod(shape))).reshape(shape) / 10.0 + 0.5  # no ties within the differences' reach
    leaf = tensor(x, channels_last).requires_grad_()
    assert autograd.gradcheck(pool, (leaf,))
    assert autograd.gradgradcheck(pool, (leaf,))
