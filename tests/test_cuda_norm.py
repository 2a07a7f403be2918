"""Norms on a GPU, real or emulated: values and gradients as the processor's, and as float64 has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from dd2424.nn import functional as F
from on_gpu import FLOATS, as_float, assert_alike, both, needs_gpu

pytestmark = needs_gpu
Loss = Callable[..., Tensor]
# Rows, few and many; planes of 1, odd and even numbers of pixels; more than a chunk of either; volumes.
IMAGES = [(5, 3), (300, 8), (4, 130), (3, 5, 7), (3, 4, 4, 4), (2, 2, 70, 66), (2, 3, 2, 3, 4)]
ROWS = [(1, 1), (3, 7), (40, 33), (3, 516), (2, 1030), (2, 5000), (2, 4, 12)]
both_formats = pytest.mark.parametrize("channels_last", [False, True])


def in_format(x: Tensor, channels_last: bool) -> Tensor:
    if not channels_last or x.ndim < 4:
        return x
    return x.contiguous(memory_format=dd2424.channels_last if x.ndim == 4 else dd2424.channels_last_3d)


def compare(function: Loss, arrays: list[Any], dtype: str, limit: float, scale: float, last: bool = False) -> None:
    """function(*arrays) and its gradients on the GPU, as on the processor; the first array's format is `last`."""
    results, leaves = [], []
    pairs = [both(a, dtype) for a in arrays]
    for device in (0, 1):
        own = [in_format(pair[device], last) if pair[device].ndim > 1 else pair[device] for pair in pairs]
        own = [x.detach().requires_grad_() for x in own]
        y = function(*own)
        weights = dd2424.linspace(-1, 2, y.numel(), dtype=dd2424.float64).reshape(y.shape).to(y.dtype).to(y.device)
        (y * weights).sum().backward()
        results.append(y)
        leaves.append(own)
    assert_alike(results[1], results[0], limit, scale)
    for gpu, here in zip(leaves[1], leaves[0], strict=True):
        size = float(np.abs(as_float(here.grad).numpy()).max(initial=0)) + 1
        assert_alike(gpu.grad, here.grad, 8 * limit, size)


@pytest.mark.parametrize("dtype", FLOATS)
@both_formats
@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_batch_norm(rng, shape, channels_last, dtype):
    arrays = [rng.normal(size=s) for s in (shape, shape[1], shape[1], shape)]
    every = [(False, False), (True, False), (False, True), (True, True)]
    for relu, adds in every if dtype == "float32" else every[-1:]:
        compare(
            lambda x, w, b, *r, relu=relu: F.batch_norm(
                x, None, None, w, b, True, relu=relu, residual=r[0] if r else None
            ),
            arrays[: 4 if adds else 3], dtype, 24, 2.0, channels_last,
        )  # fmt: skip


@both_formats
@pytest.mark.parametrize("shape", [(1100, 12), (1100, 6), (2, 2, 130, 66), (37, 2, 15, 15), (2, 8, 40, 40)], ids=str)
def test_batch_norm_of_several_chunks(rng, shape, channels_last):
    arrays = [rng.normal(size=s) for s in (shape, shape[1], shape[1], shape)]
    compare(
        lambda x, w, b, r: F.batch_norm(x, None, None, w, b, True, relu=True, residual=r),
        arrays, "float32", 24, 2.0, channels_last,
    )  # fmt: skip


@pytest.mark.parametrize("offset", [0.0, 1e4])
@both_formats
@pytest.mark.parametrize("items", [5, 30])  # kept by a channel's threads, or not
def test_batch_norm_is_exact_far_from_zero(rng, items, offset, channels_last):
    x = (rng.normal(size=(items, 4, 20, 18)) + offset).astype(np.float32)
    x[0, 0, 0, 0] = 3 * offset  # the first element is no good guess of the mean
    exact = x.astype(np.float64)
    exact = (exact - exact.mean((0, 2, 3), keepdims=True)) / np.sqrt(exact.var((0, 2, 3), keepdims=True) + 1e-5)
    y = F.batch_norm(in_format(both(x)[1], channels_last), None, None, training=True)
    assert_accurate(y.cpu(), exact, 24, scale=2.0)


@pytest.mark.parametrize("dtype", FLOATS)
@both_formats
def test_running_statistics_and_evaluation(rng, dtype, channels_last):
    results = []
    start, images = rng.normal(size=(2, 6)) ** 2 + 0.5, rng.normal(size=(4, 6, 5, 3))
    for device in (0, 1):
        mean, var = (both(a)[device].to(dd2424.float64 if dtype == "float64" else dd2424.float32) for a in start)
        x = in_format(both(images, dtype)[device], channels_last)
        for _ in range(2):
            F.batch_norm(x, mean, var, training=True)
        results.append((mean, var, F.batch_norm(x, mean, var, relu=True)))
    for gpu, here in zip(results[1], results[0], strict=True):
        assert_alike(gpu, here, 8, scale=1.0)
    arrays = [rng.normal(size=s) for s in ((4, 6, 5, 3), 6, 6)]

    def evaluate(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        on = results[int(x.is_cuda)]
        return F.batch_norm(x, on[0], on[1], w, b)

    compare(evaluate, arrays, dtype, 16, 2.0, channels_last)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_row_norms(rng, shape, dtype):
    x, residual, weight, bias = (rng.normal(size=s) for s in (shape, shape, shape[-1], shape[-1]))
    width = shape[-1:]
    compare(lambda x, w, b: F.layer_norm(x, width, w, b), [x, weight, bias], dtype, 16, 2.0)
    compare(lambda x: F.layer_norm(x, width), [x], dtype, 16, 2.0)
    compare(lambda x, w: F.rms_norm(x, width, w), [x, weight], dtype, 16, 2.0)
    if shape[-1] > 1:
        compare(
            lambda x, r, w, b: sum(F.add_layer_norm(x, r, width, w, b)), [x, residual, weight, bias], dtype, 16, 2.0
        )
    compare(lambda x, r, w: sum(F.add_rms_norm(x, r, width, w)), [x, residual, weight], dtype, 16, 2.0)


def test_many_rows_and_rows_far_from_zero(rng):
    x, weight = rng.normal(size=(2000, 6)), rng.normal(size=6)
    compare(lambda x, w: F.layer_norm(x, (6,), w), [x, weight], "float32", 16, 2.0)
    far = (x[:40] + 1e4).astype(np.float32)
    exact = far.astype(np.float64)
    exact = (exact - exact.mean(1, keepdims=True)) / np.sqrt(exact.var(1, keepdims=True) + 1e-5)
    assert_accurate(F.layer_norm(both(far)[1], (6,)).cpu(), exact, 16, scale=2.0)


@pytest.mark.parametrize("dtype", FLOATS)
@both_formats
@pytest.mark.parametrize(("shape", "groups"), [((3, 6), 2), ((2, 6, 5, 3), 3), ((2, 8, 4, 4), 1), ((1, 4, 40, 33), 4),
                                               ((2, 600, 1, 1), 1), ((2, 6, 2, 3, 4), 2)], ids=str)  # fmt: skip
def test_group_norm(rng, shape, groups, channels_last, dtype):
    arrays = [rng.normal(size=s) for s in (shape, shape[1], shape[1])]
    compare(lambda x, w, b: F.group_norm(x, groups, w, b), arrays, dtype, 16, 2.0, channels_last)
    compare(lambda x: F.group_norm(x, groups), arrays[:1], dtype, 16, 2.0, channels_last)


@pytest.mark.parametrize("dtype", FLOATS)
def test_instance_norm(rng, dtype):
    arrays = [rng.normal(size=s) for s in ((2, 3, 6, 5), 3, 3)]
    compare(lambda x, w, b: F.instance_norm(x, None, None, w, b), arrays, dtype, 16, 2.0)


@pytest.mark.parametrize("dtype", FLOATS)
@both_formats
def test_local_response_norm(rng, dtype, channels_last):
    for shape, size in [((2, 7, 3, 5), 5), ((2, 2, 4), 4), ((1, 5, 2, 2, 2), 1)]:
        compare(lambda x, size=size: F.local_response_norm(x, size, 0.1, 0.6, 1.5), [rng.normal(size=shape)], dtype, 16,
                1.0, channels_last)  # fmt: skip


def test_gradients_of_both_orders():
    def leaf(*shape: int) -> Tensor:
        return dd2424.randn(*shape, dtype=dd2424.float64, device="cuda", requires_grad=True)

    x, w, b, r = leaf(3, 2, 2), leaf(2), leaf(2), leaf(3, 2, 2)
    rows, of_row = leaf(3, 4), leaf(4)
    for function, inputs in [
        (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (x, w, b)),
        (lambda x, w, b, r: F.batch_norm(x, None, None, w, b, True, relu=True, residual=r), (x, w, b, r)),
        (lambda x, w, b: F.group_norm(x, 1, w, b), (x, w, b)),
        (lambda x, w: F.layer_norm(x, (4,), w), (rows, of_row)),
        (lambda x, w: F.rms_norm(x, (4,), w), (rows, of_row)),
        (lambda x: F.local_response_norm(x, 3, 0.1), (x,)),
    ]:
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)


def test_nothing_is_nothing():
    for shape in [(0, 3), (0, 3, 4, 4)]:
        pairs = [both(np.zeros(shape)), both(np.ones(3)), both(np.ones(3))]
        for function in (
            lambda x, w, b: F.group_norm(x, 1, w, b),
            lambda x, w, b: F.layer_norm(x, x.shape[1:]),
            lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        ):
            grads = []
            for device in (0, 1):
                leaves = [pair[device].detach().requires_grad_() for pair in pairs]
                function(*leaves).sum().backward()
                grads.append([leaf.grad for leaf in leaves])
            for gpu, here in zip(grads[1], grads[0], strict=True):
                assert (gpu is None) == (here is None)
                assert here is None or gpu.cpu().tolist() == here.tolist()


def test_bits_depend_on_neither_time_nor_place(rng):
    for shape in [(150, 5), (2, 2, 70, 66), (6, 3, 7, 7)]:
        x = both(rng.normal(size=shape))[1]
        moved = dd2424.zeros(x.numel() + 1, device="cuda")[1:].view(*shape).copy_(x)
        for function in (
            lambda x: F.batch_norm(x, None, None, training=True, relu=True),
            lambda x: F.layer_norm(x, x.shape[1:]),
            lambda x: F.group_norm(x, 1),
        ):
            found = []
            for leaf in (x, x, moved):
                leaf = leaf.detach().requires_grad_()
                y = function(leaf)
                (y * y).sum().backward()
                found.append(bits([y.cpu(), leaf.grad.cpu()]))
            assert found[0] == found[1] == found[2]


def test_refusals_are_the_processors():
    x, wrong = both(np.ones((2, 4, 3)))[1], dd2424.ones(3, device="cuda")
    for call, message in [
        (lambda: F.batch_norm(x, None, None, wrong, training=True), "weight must have one element per channel"),
        (lambda: F.layer_norm(x, (4,)), "input must end in normalized_shape"),
        (lambda: F.group_norm(x, 3), "num_groups must divide the 4 channels"),
        (lambda: F.group_norm(x, 2, dd2424.ones(4)), "must be on one device"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            call()
