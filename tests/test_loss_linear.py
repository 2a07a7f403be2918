"""Cross-entropy fused with the layer that makes the scores: against the formula, memory, chunks, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import Tensor, autograd, nn
from dd2424.nn import functional as F
from reference import loss as reference

REDUCTIONS = ["mean", "sum", "none"]
CHUNKED = (130, 3, (1 << 18) + 5)  # rows, width, classes of which 64 rows' scores are all that is made at a time


def data(rng: np.random.Generator, rows: int, width: int, classes: int, dtype: Any = np.float32) -> Any:
    x, layer, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, width), (classes, width), classes))
    return x, layer, bias, rng.integers(0, classes, rows), rng.uniform(0.5, 2.0, classes).astype(dtype)


def leaves(*arrays: Any) -> list[Tensor]:
    return [dd2424.from_numpy(a).requires_grad_() for a in arrays]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("sizes", [(1, 1, 65), (7, 5, 100), (70, 33, 257), (6, 4, 3)])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"ignore_index": 1}], ids=str)
def test_matches_numpy(isa: str, rng: np.random.Generator, sizes: Any, reduction: Any, options: dict[str, Any]) -> None:
    x, layer, bias, target, weight = data(rng, *sizes)
    target[0] = 0
    if len(target) > 3:
        target[2] = 1
    given = leaves(x, layer, bias)
    loss = F.linear_cross_entropy(given[0], given[1], dd2424.from_numpy(target), linear_bias=given[2],
                                  weight=dd2424.from_numpy(weight), reduction=reduction, **options)  # fmt: skip
    loss.sum().backward()
    expected, gradients = reference.linear_cross_entropy(
        x,
        layer,
        bias,
        target,
        weight,
        options.get("label_smoothing", 0.0),
        options.get("ignore_index", -100),
        reduction,
    )
    assert_accurate(loss, expected, roundings=64, scale=np.abs(expected).max() + 1)
    for leaf, exact in zip(given, gradients, strict=True):
        assert_accurate(leaf.grad, exact, roundings=64, scale=np.abs(exact).max())


@pytest.mark.slow
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_chunks_make_one_whole(rng: np.random.Generator, reduction: Any) -> None:
    x, layer, bias, target, _ = data(rng, *CHUNKED)
    given, whole = leaves(x, layer, bias), leaves(x, layer, bias)
    labels = dd2424.from_numpy(target)
    loss = F.linear_cross_entropy(given[0], given[1], labels, linear_bias=given[2], reduction=reduction)
    exact = F.cross_entropy(F.linear(*whole), labels, reduction=reduction)
    slope = dd2424.from_numpy(rng.uniform(1, 2, loss.shape).astype(np.float32))
    loss.backward(slope)
    exact.backward(slope)
    assert_accurate(loss, exact.detach().numpy(), roundings=8)
    for ours, theirs in zip(given, whole, strict=True):
        scale = np.abs(theirs.grad.numpy()).max()
        assert_accurate(ours.grad, theirs.grad.numpy(), roundings=32, scale=scale)


@pytest.mark.slow
def test_peak_memory(rng: np.random.Generator) -> None:
    x, layer, _, target, _ = data(rng, 1024, 3, CHUNKED[2])
    given, labels = leaves(x, layer), dd2424.from_numpy(target)
    del x, layer
    dd2424.reset_peak_memory()
    before = dd2424.memory_stats()["in_use_bytes"]
    F.linear_cross_entropy(given[0], given[1], labels).backward()
    peak = dd2424.memory_stats()["peak_bytes"] - before
    scores = 64 * CHUNKED[2] * 4  # of the 1024 rows' 1.07 GB
    assert peak < 1.4 * (scores + given[1].grad.nbytes) + (8 << 20)


def test_a_seen_gradient_is_scaled_and_not_made_again(rng: np.random.Generator) -> None:
    x, layer, _, target, _ = data(rng, 9, 5, 80)
    once, thrice = leaves(x, layer), leaves(x, layer)
    loss = F.linear_cross_entropy(*once, dd2424.from_numpy(target))
    kernels = dd2424.kernel_count()
    loss.backward(retain_graph=True)
    assert dd2424.kernel_count() - kernels < 8
    first = [leaf.grad.clone() for leaf in once]
    loss.backward()  # what was kept for the second time is as it was
    (3 * F.linear_cross_entropy(*thrice, dd2424.from_numpy(target))).backward()
    for one, leaf, other in zip(first, once, thrice, strict=True):
        assert bits(leaf.grad) == bits(2 * one)
        assert bits(other.grad) == bits(3 * one)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients(rng: np.random.Generator, reduction: Any) -> None:
    x, layer, bias, target, weight = data(rng, 3, 2, 66, np.float64)
    target[1] = 5

    def loss(x: Tensor, layer: Tensor, bias: Tensor) -> Tensor:
        return F.linear_cross_entropy(x, layer, dd2424.from_numpy(target), linear_bias=bias, ignore_index=5,
                                      weight=dd2424.from_numpy(weight), reduction=reduction,
                                      label_smoothing=0.1)  # fmt: skip

    assert autograd.gradcheck(loss, leaves(x, layer, bias))
    assert autograd.gradgradcheck(loss, leaves(x[:, :1], layer[:, :1], bias), atol=1e-4)


def test_only_what_is_wanted(rng: np.random.Generator) -> None:
    x, layer, bias, target, _ = data(rng, 4, 3, 70)
    labels = dd2424.from_numpy(target)
    (weight,) = leaves(layer)
    F.linear_cross_entropy(dd2424.from_numpy(x), weight, labels, linear_bias=dd2424.from_numpy(bias)).backward()
    plain = F.linear_cross_entropy(dd2424.from_numpy(x), dd2424.from_numpy(layer), labels)
    assert weight.grad.shape == layer.shape
    assert not plain.requires_grad


def test_same_bits_for_any_threads_and_layouts(isa: str, rng: np.random.Generator) -> None:
    x, layer, bias, target, _ = data(rng, 200, 40, 300)
    labels = dd2424.from_numpy(target)

    def run(turned: bool = False) -> Any:
        given = leaves(x, layer, bias)
        rows = given[0] if not turned else dd2424.from_numpy(np.repeat(x, 2, 1))[:, ::2].requires_grad_()
        loss = F.linear_cross_entropy(rows, given[1], labels, linear_bias=given[2])
        loss.backward()
        return loss.detach(), rows.grad.contiguous(), given[1].grad, given[2].grad

    assert bits(same_for_any_threads(run)) == bits(run(turned=True))


def test_other_forms(rng: np.random.Generator) -> None:
    x, layer, _, target, _ = data(rng, 4, 3, 70)
    t, w = dd2424.from_numpy(x), dd2424.from_numpy(layer)
    scores = F.linear(t, w)
    soft = F.softmax(scores, 1)
    assert bits(F.linear_cross_entropy(t, w, soft)) == bits(F.cross_entropy(scores, soft))
    one = F.linear_cross_entropy(t[0], w, dd2424.tensor(int(target[0])))
    assert_accurate(one, F.cross_entropy(scores[0], dd2424.tensor(int(target[0]))).numpy(), roundings=8)
    images, labels = w.reshape((7, 2, 5, 3)), dd2424.from_numpy(rng.integers(0, 7, (4, 2, 5)))
    exact = F.cross_entropy(scores.reshape((4, 7, 2, 5)), labels)
    assert bits(F.linear_cross_entropy(t, images, labels)) == bits(exact)
    half = F.linear_cross_entropy(t.bfloat16(), w.bfloat16(), dd2424.from_numpy(target))
    assert half.dtype is dd2424.bfloat16
    assert F.linear_cross_entropy(t[:0], w, dd2424.from_numpy(target[:0]), reduction="sum").item() == 0


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_chunks_of_bfloat16(rng: np.random.Generator, reduction: Any) -> None:
    """A chunk's gradient of the parameters is rounded once, and the sum of them at the end."""
    x, layer, bias, target, _ = data(rng, *CHUNKED)
    given = [dd2424.from_numpy(a).bfloat16().requires_grad_() for a in (x, layer, bias)]
    exact = [t.detach().double().requires_grad_() for t in given]
    for t in (given, exact):
        losses = F.linear_cross_entropy(
            t[0], t[1], dd2424.from_numpy(target), linear_bias=t[2], reduction=reduction
        )  # fmt: skip
        (losses if reduction == "mean" else losses.mean()).backward()
        assert losses.dtype is t[0].dtype
    for ours, wide in zip(given, exact, strict=True):
        assert ours.grad.dtype is dd2424.bfloat16
        assert_accurate(ours.grad, wide.grad.numpy(), roundings=8, scale=wide.grad.abs().max().item())


def test_the_module(rng: np.random.Generator) -> None:
    layer = nn.LinearCrossEntropyLoss(3, 70, bias=True, label_smoothing=0.1)
    assert list(layer.state_dict()) == ["linear.weight", "linear.bias"]
    x, target = dd2424.from_numpy(rng.standard_normal((5, 3), np.float32)), dd2424.tensor([0, 69, 2, -100, 1])
    expected = F.cross_entropy(layer.linear(x), target, label_smoothing=0.1)
    assert_accurate(layer(x, target), expected.detach().numpy(), roundings=8)
    assert nn.LinearCrossEntropyLoss(3, 4, out_features=(2,))(x, dd2424.zeros(5, 2).long()).shape == ()
    with pytest.raises(RuntimeError, match=r"LinearCrossEntropyLoss: weight must be \(4,\), got \(3,\)"):
        nn.LinearCrossEntropyLoss(3, 4, weight=dd2424.ones(3))
    with pytest.raises(RuntimeError, match="LinearCrossEntropyLoss: label_smoothing must be from 0 to 1, got 2"):
        nn.LinearCrossEntropyLoss(3, 4, label_smoothing=2)


X, LAYER = dd2424.ones(2, 3), dd2424.ones(70, 3)
REFUSALS: dict[str, tuple[Any, type[Exception], str]] = {
    "class": (lambda f: f(X, LAYER, dd2424.tensor([0, 70])), IndexError, "target must be from 0 to 69, or ignore_inde"),
    "negative": (lambda f: f(X, LAYER, dd2424.tensor([0, -1])), IndexError, "target must be from 0 to 69"),
    "count": (lambda f: f(X, LAYER, dd2424.tensor([0])), ValueError, r"target must have shape \(2,\)"),
    "width": (lambda f: f(X, LAYER[:, :2], dd2424.tensor([0, 1])), RuntimeError, r"input must be \(N, D\) and linear"),
    "dims": (lambda f: f(X[None], LAYER, dd2424.tensor([0, 1])), RuntimeError, r"input must be \(N, D\) or \(D,\)"),
    "dtype": (lambda f: f(X.double(), LAYER, dd2424.tensor([0, 1])), RuntimeError, "must have the same dtype"),
    "bool": (lambda f: f(X, LAYER, dd2424.tensor([True, False])), RuntimeError, "target must hold class numbers"),
    "smoothing": (
        lambda f: f(X, LAYER, dd2424.tensor([0, 1]), label_smoothing=-1),
        RuntimeError,
        "from 0 to 1, got -1",
    ),
    "reduction": (lambda f: f(X, LAYER, dd2424.tensor([0, 1]), reduction="median"), ValueError, "reduction must be"),
    "weight": (
        lambda f: f(X, LAYER, dd2424.tensor([0, 1]), weight=dd2424.ones(3)),
        RuntimeError,
        "weight must have one element per class, 70",
    ),
    "bias": (
        lambda f: f(X, LAYER, dd2424.tensor([0, 1]), linear_bias=dd2424.ones(3)),
        RuntimeError,
        r"bias must be \(70,\)",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    call, error, message = REFUSALS[name]
    with pytest.raises(error, match=message):
        call(F.linear_cross_entropy)
