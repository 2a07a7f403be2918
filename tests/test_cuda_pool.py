"""Pooling on a GPU, real or emulated: values, indices and gradients as the processor's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from dd2424.nn import functional as F
from on_gpu import FLOATS, INTEGERS, assert_alike, both, needs_gpu

pytestmark = needs_gpu
# Windows that overlap, leave gaps, reach into the padding, are dilated; ones worth a warp; all of the image.
WINDOWS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((3, 11), {"kernel_size": 2, "stride": 3}),
    ((2, 3, 7, 6), {"kernel_size": 2}),
    ((2, 5, 7, 6), {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)}),
    ((1, 2, 12, 11), {"kernel_size": 7, "stride": 2, "padding": 3, "ceil_mode": True}),
    ((2, 8, 9, 12), {"kernel_size": 3, "stride": 2, "padding": 1}),  # lines of 4, packs of channels
    ((1, 16, 8, 7), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ((2, 8, 6, 8), {"kernel_size": 2, "stride": 2, "padding": 1}),
    ((2, 3, 17, 16), {"kernel_size": (17, 16)}),
    ((2, 2, 4, 5, 6), {"kernel_size": 2, "stride": 1, "padding": 1}),
]
DILATED: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 13), {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}),
    ((2, 3, 9, 10), {"kernel_size": (2, 3), "stride": 1, "dilation": (3, 2)}),
]
both_formats = pytest.mark.parametrize("channels_last", [False, True])


def space_of(shape: tuple[int, ...]) -> int:
    return max(len(shape) - 2, 1)


def in_format(x: Tensor, channels_last: bool) -> Tensor:
    if not channels_last or x.ndim < 4:
        return x
    return x.contiguous(memory_format=dd2424.channels_last if x.ndim == 4 else dd2424.channels_last_3d)


def compare(function: Any, pair: tuple[Tensor, Tensor], roundings: float, channels_last: bool = False) -> None:
    results = []
    for x in pair:
        leaf = in_format(x, channels_last).detach().requires_grad_()
        y = function(leaf)
        weights = dd2424.linspace(-1, 2, y.numel(), dtype=dd2424.float64).reshape(y.shape).to(y.dtype).to(y.device)
        (y * weights).sum().backward()
        results.append((y, leaf.grad))
    for gpu, here in zip(results[1], results[0], strict=True):
        assert_alike(gpu, here, roundings, scale=4.0)


@pytest.mark.parametrize("dtype", FLOATS)
@both_formats
@pytest.mark.parametrize(("shape", "options"), WINDOWS + DILATED, ids=str)
def test_maximum(rng, shape, options, channels_last, dtype):
    pool = getattr(F, f"max_pool{space_of(shape)}d")
    pair = both(rng.integers(-4, 4, shape), dtype)  # with ties
    compare(lambda x: pool(x, **options), pair, 4, channels_last)
    indices = [pool(in_format(x, channels_last), **options, return_indices=True)[1] for x in pair]
    assert_alike(indices[1], indices[0])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_maximum_of_integers(rng, dtype):
    for shape, size in [((2, 3, 9), 3), ((2, 3, 8, 9), (8, 9)), ((2, 2, 4, 5, 6), 2)]:
        here, gpu = both(rng.integers(0, 100, shape) - (0 if dtype == "uint8" else 50), dtype)
        pool = getattr(F, f"max_pool{space_of(shape)}d")
        for ours, theirs in zip(
            pool(gpu, size, return_indices=True), pool(here, size, return_indices=True), strict=True
        ):
            assert_alike(ours, theirs)


@both_formats
@pytest.mark.parametrize("size", [2, 8])
def test_maximum_knows_nan_and_infinities(rng, size, channels_last):
    x = rng.integers(0, 3, (2, 3, 8, 8)).astype(np.float64)
    x[0, 0, :2, :3] = np.nan
    x[0, 1] = -np.inf
    x[1, 2, 3, 3] = np.inf
    pair = [in_format(each, channels_last) for each in both(x)]
    here, gpu = (F.max_pool2d(each, size, return_indices=True) for each in pair)
    np.testing.assert_array_equal(gpu[0].cpu().numpy(), here[0].numpy())
    assert_alike(gpu[1], here[1])


@pytest.mark.parametrize("dtype", FLOATS)
@both_formats
@pytest.mark.parametrize(("shape", "options"), WINDOWS, ids=str)
def test_average(rng, shape, options, channels_last, dtype):
    pool = getattr(F, f"avg_pool{space_of(shape)}d")
    pair = both(rng.normal(size=shape), dtype)
    more: list[dict[str, Any]] = [{"count_include_pad": False}]
    if space_of(shape) > 1:
        more.append({"divisor_override": 5})
    for extra in [{}, *more]:
        compare(lambda x, extra=extra: pool(x, **options, **extra), pair, 16, channels_last)


@pytest.mark.parametrize("dtype", FLOATS)
@both_formats
@pytest.mark.parametrize(("shape", "size"), [((2, 3, 10), 4), ((2, 3, 7, 9), (3, 4)), ((2, 4, 8, 8), 1),
                                             ((2, 3, 4, 5), (6, 7)), ((2, 2, 3, 4, 5), (2, 3, 2))])  # fmt: skip
def test_adaptive(rng, shape, size, channels_last, dtype):
    pair = both(rng.normal(size=shape), dtype)
    for kind in ("avg", "max"):
        pool = getattr(F, f"adaptive_{kind}_pool{space_of(shape)}d")
        compare(lambda x, pool=pool: pool(x, size), pair, 8, channels_last)
    indices = [pool(x, size, return_indices=True)[1] for x in pair]
    assert_alike(indices[1], indices[0])


def test_other_pools(rng):
    pair = both(rng.normal(size=(2, 3, 8, 8)) ** 2 + 0.1)
    compare(lambda x: F.lp_pool2d(x, 3, 2, 2), pair, 32)


def test_gradients_of_both_orders():
    x = dd2424.rand(2, 3, 5, 6, dtype=dd2424.float64, device="cuda", requires_grad=True)
    for function in (
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.adaptive_avg_pool2d(x, (2, 4)),
        lambda x: F.max_pool2d(x, 2, 1) ** 2,
    ):
        assert gradcheck(function, (x,))
    for function in (lambda x: F.avg_pool2d(x * x, 3, 2, 1), lambda x: F.adaptive_avg_pool2d(x * x, (2, 4))):
        assert gradgradcheck(function, (x,))


def test_nothing_and_bits(rng):
    empty = dd2424.zeros(0, 3, 4, 4, device="cuda", requires_grad=True)
    for function in (F.max_pool2d, F.avg_pool2d):
        function(empty, 2).sum().backward()
        assert empty.grad.shape == (0, 3, 4, 4)
    x = both(rng.normal(size=(2, 3, 9, 9)))[1]
    moved = dd2424.zeros(x.numel() + 1, device="cuda")[1:].view(*x.shape).copy_(x)
    for function in (lambda x: F.max_pool2d(x, 3, 2), lambda x: F.avg_pool2d(x, 9), lambda x: F.avg_pool2d(x, 3, 1, 1)):
        found = []
        for leaf in (x, x, moved):
            leaf = leaf.detach().requires_grad_()
            y = function(leaf)
            (y * y).sum().backward()
            found.append(bits([y.cpu(), leaf.grad.cpu()]))
        assert found[0] == found[1] == found[2]


def test_refusals_are_the_processors():
    x = dd2424.ones(1, 2, 4, 4, device="cuda")
    for call, message in [
        (lambda: F.max_pool2d(x, 5), "kernel must not be larger than the padded input"),
        (lambda: F.avg_pool2d(x, 2, padding=2), "padding must be at most half of the kernel"),
        (lambda: F.max_pool2d(x.to(dd2424.bool), 2), "max_pool2d"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            call()
