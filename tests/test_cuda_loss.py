"""Losses on a GPU, real or emulated, against the processor's kernels and float64."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from dd2424.nn import functional as F
from on_gpu import FLOATS, as_float, assert_alike, both, needs_gpu

pytestmark = needs_gpu
# Rows that one thread has, some, a warp, a block; columns; a row that lies unevenly in memory.
SHAPES = [(3, 1), (7, 10), (5, 64), (2, 333), (2, 600), (2, 1100), (3, 5, 7), (2, 21, 4, 5), (0, 4), (2, 3, 0)]


def on_both(x, dtype="float32"):
    here, gpu = both(x, dtype)
    return here.requires_grad_(), gpu.requires_grad_()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_and_its_slope(rng, name, shape, dtype):
    here, gpu = on_both(3 * rng.normal(size=shape), dtype)
    dy = both(rng.normal(size=shape), dtype)
    y, z = getattr(F, name)(here, 1), getattr(F, name)(gpu, 1)
    assert_alike(z, y, 16, scale=1e-2 if name == "softmax" else 1)
    y.backward(dy[0]), z.backward(dy[1])
    assert_alike(gpu.grad, here.grad, 16, scale=4)  # the sum of all of dy is part of each


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "shape", [(2, 9001), (1, 34000), (2, 60001)], ids=str
)  # the last, in float32, not in shared memory
def test_rows_too_long_to_be_kept(rng, shape, dtype):
    here, gpu = on_both(5 * rng.normal(size=shape) + 100, dtype)
    target = both([17, shape[1] - 1][: shape[0]], "int64")
    for name in ("softmax", "log_softmax", "logsumexp"):
        assert_alike(getattr(dd2424, name)(gpu, 1), getattr(dd2424, name)(here, 1), 32, scale=1e-3)
    losses = [F.cross_entropy(x, t, label_smoothing=0.1) for x, t in zip((here, gpu), target, strict=True)]
    assert_alike(losses[1], losses[0], 16)
    for loss in losses:
        loss.backward()
    assert_alike(gpu.grad, here.grad, 16, scale=1e-3)


@pytest.mark.parametrize("width", [5, 600, 9001])
def test_rows_of_infinities_and_nan(width):
    x = np.zeros((6, width), np.float32)
    x[0], x[1, :-1], x[2, 3], x[3, 1], x[4, 1:3] = -np.inf, -np.inf, np.inf, np.nan, (np.inf, np.nan)
    x[5] = 1e4 + np.arange(width) % 3
    here, gpu = both(x)
    for name in ("softmax", "log_softmax", "logsumexp"):
        assert_alike(getattr(dd2424, name)(gpu, 1), getattr(dd2424, name)(here, 1), 8, scale=1e-3)
        columns = getattr(dd2424, name)(gpu.t().contiguous(), 0)
        expected = getattr(dd2424, name)(here, 1)
        expected = expected if name == "logsumexp" else expected.t().contiguous()
        assert_alike(columns, expected, 8 + width / 100, scale=1e-3)  # one thread adds up a column


@pytest.mark.parametrize("dtype", FLOATS)
def test_logsumexp(rng, dtype):
    for shape, dim in [((7, 10), 1), ((4, 600), 1), ((6, 5, 3), 1), ((3, 4, 5), (0, 2))]:
        here, gpu = on_both(rng.normal(size=shape), dtype)
        y, z = dd2424.logsumexp(here, dim), dd2424.logsumexp(gpu, dim)
        assert_alike(z, y, 8, scale=1)
        y.sum().backward(), z.sum().backward()
        assert_alike(gpu.grad, here.grad, 16, scale=0.5)


ENTROPIES = [(5, 10), (3, 333), (2, 600), (2, 4, 3, 5), (70, 3)]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("smoothing", "weighted"), [(0.0, False), (0.1, False), (0.2, True), (0.0, True)])
def test_cross_entropy_and_its_slope(rng, reduction, smoothing, weighted):
    for shape in ENTROPIES:
        for dtype in FLOATS:
            here, gpu = on_both(3 * rng.normal(size=shape), dtype)
            labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
            labels.flat[1::4] = -100
            target = both(labels, "int64")
            weight = both(rng.uniform(0.5, 2, shape[1]), "float64" if dtype == "float64" else "float32")
            options = {"reduction": reduction, "label_smoothing": smoothing}
            y, z = (F.cross_entropy(x, t, w if weighted else None, **options)
                    for x, t, w in zip((here, gpu), target, weight, strict=True))  # fmt: skip
            assert_alike(z, y, 16, scale=1)
            dy = both(rng.normal(size=y.shape), dtype)
            y.backward(dy[0]), z.backward(dy[1])
            assert_alike(gpu.grad, here.grad, 32, scale=0.5)


def test_a_loss_of_many_rows_has_the_same_bits_again(rng):
    x = rng.normal(size=(9000, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 9000)
    gpu, target = both(x)[1], both(labels, "int64")[1]
    loss = F.cross_entropy(gpu, target)
    exact = x.astype(np.float64)
    exact = np.log(np.exp(exact).sum(1)) - exact[np.arange(9000), labels]
    assert_accurate(loss.cpu(), exact.mean(), 2)
    assert F.cross_entropy(gpu, target).item() == loss.item()


def test_labels_outside_are_refused_as_on_the_processor(rng):
    here, gpu = both(rng.normal(size=(4, 3)))
    for bad in ([0, 1, 3, 2], [0, -1, 2, 2]):
        messages = []
        for x, t in zip((here, gpu), both(bad, "int64"), strict=True):
            with pytest.raises(IndexError) as refused:
                F.cross_entropy(x, t)
            messages.append(str(refused.value))
        assert messages[0] == messages[1]
    with pytest.raises(RuntimeError, match="operands must be on one device"):
        F.cross_entropy(gpu, both([0, 1, 2, 0], "int64")[0])
    assert F.cross_entropy(gpu, both([1, 1, 7, 2], "int64")[1], ignore_index=7).isfinite().item()


def test_second_derivatives():
    x = dd2424.randn(3, 4, dtype=dd2424.float64, device="cuda", requires_grad=True)
    target = dd2424.tensor([1, 3, 0], device="cuda")
    for function in (lambda x: F.softmax(x, 1), lambda x: F.log_softmax(x, 0), lambda x: dd2424.logsumexp(x, 1),
                     lambda x: F.cross_entropy(x, target, label_smoothing=0.1)):  # fmt: skip
        assert gradcheck(function, (x,))
        assert gradgradcheck(function, (x,))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_linear_cross_entropy(rng, reduction):
    arrays = rng.normal(size=(9, 5)), rng.normal(size=(70, 5)), rng.normal(size=70)
    target = rng.integers(0, 70, 9)
    target[2] = -100
    results = []
    for device in ("cpu", "cuda"):
        x, w, b = (dd2424.tensor(each, device=device, requires_grad=True) for each in arrays)
        loss = F.linear_cross_entropy(x, w, dd2424.tensor(target, device=device), linear_bias=b, reduction=reduction)
        loss.sum().backward()
        results.append((loss, x.grad, w.grad, b.grad))
    for gpu, here in zip(results[1], results[0], strict=True):
        assert_alike(gpu, here, 32, scale=1)


PAIRS = [
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "kl_div", "poisson_nll_loss", "hinge_loss", "soft_margin_loss",
]  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_losses_of_pairs(rng, name):
    x, y = on_both(rng.uniform(0.1, 0.9, (5, 7)), "float64"), both(rng.uniform(0.1, 0.9, (5, 7)), "float64")
    losses = [getattr(F, name)(*pair) for pair in zip(x, y, strict=True)]
    assert_alike(losses[1], losses[0], 16)
    for loss in losses:
        loss.backward()
    assert_alike(x[1].grad, x[0].grad, 16, scale=0.1)


def as_log(x: Tensor) -> Tensor:
    return F.log_softmax(x, -1)


@pytest.mark.parametrize("name", ["nll_loss", "multi_margin_loss", "gaussian_nll_loss", "ctc_loss"])
def test_losses_of_labels(rng, name):
    x = on_both(rng.normal(size=(6, 5)), "float64")
    labels = both(rng.integers(1, 5, 6), "int64")
    lengths = [dd2424.tensor([3])] * 2

    def loss(x: Tensor, target: Tensor, size: Tensor) -> Tensor:
        if name == "ctc_loss":
            return F.ctc_loss(as_log(x), target[:3], dd2424.tensor([6]), size)
        if name == "gaussian_nll_loss":
            return F.gaussian_nll_loss(x, x.detach() + 1, 0.5)
        return getattr(F, name)(as_log(x), target)

    losses = [loss(*each) for each in zip(x, labels, lengths, strict=True)]
    assert_alike(losses[1], losses[0], 16)
    for each in losses:
        each.backward()
    assert_alike(x[1].grad, x[0].grad, 32, scale=0.1)
    assert as_float(x[1].grad).isfinite().all()
