"""The ladder on a GPU: every rung gives what the fast kernels give, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424.nn import functional as F
from on_gpu import needs_gpu
from reference import gemm as reference

pytestmark = needs_gpu
RUNGS = ["naive", "blocked", "vectorised", "threaded"]
SIZES = [(1, 1, 1), (3, 5, 2), (17, 33, 16), (130, 70, 25), (5, 7, 0)]  # tails of tiles and slices; nothing to sum


def on_gpu(x):
    return dd2424.from_numpy(x).cuda()


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_product_is_right_on_every_rung(rng, rung, size, dtype):
    m, n, k = size
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    exact, scale = reference.product(a, b), reference.scale(a, b)
    with dd2424.kernels(rung):
        assert_accurate((on_gpu(a) @ on_gpu(b)).cpu(), exact, 2 + k**0.5, scale)
        transposed = on_gpu(np.ascontiguousarray(a.T)).T @ on_gpu(np.ascontiguousarray(b.T)).T
    assert_accurate(transposed.cpu(), exact, 2 + k**0.5, scale)


@pytest.mark.parametrize("rung", RUNGS)
def test_linear_has_its_bias_activation_and_gradients_in_batches_that_broadcast(rng, rung):
    given = [rng.standard_normal(shape).astype(np.float32) for shape in ((2, 1, 13, 11), (6, 11), (6,), (3, 6, 20))]
    results = []
    for name in (rung, "fast"):
        x, weight, bias, other = leaves = [on_gpu(each).requires_grad_() for each in given]
        with dd2424.kernels(name):
            (F.linear(x, weight, bias, activation="gelu") @ other).square().sum().backward()
        results.append([leaf.grad.cpu() for leaf in leaves])
    for ours, fast in zip(*results, strict=True):
        assert_accurate(ours, fast.numpy().astype(np.float64), 32, np.abs(fast.numpy()).max())


def test_rungs_differ_from_each_other_and_are_chosen_for_a_block_only(rng):
    a, b = (on_gpu(rng.standard_normal((70, 900)).astype(np.float32)) for _ in range(2))
    fast = a @ b.T
    with dd2424.kernels("vectorised"):
        chain = a @ b.T
    assert (a @ b.T).equal(fast)
    assert not chain.equal(fast), "the fast kernels cut a sum of 900 into chunks, the ladder's make one chain of it"
    with dd2424.kernels("threaded"):
        assert (a @ b.T).equal(chain)


@pytest.mark.parametrize("dtype", [dd2424.bfloat16, dd2424.float32])
def test_what_has_no_rungs_runs_as_ever(rng, dtype):
    x = on_gpu(rng.standard_normal((2, 3, 6, 6)).astype(np.float32)).to(dtype)
    weight = on_gpu(rng.standard_normal((4, 3, 3, 3)).astype(np.float32)).to(dtype)
    with dd2424.kernels("naive"):
        y, z = F.conv2d(x, weight), x[0, 0] @ x[1, 1]
    assert y.equal(F.conv2d(x, weight))
    if dtype == dd2424.bfloat16:
        assert z.equal(x[0, 0] @ x[1, 1])
