"""Cross-entropy: the fused kernel against the formula, for class numbers and for probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import _core, autograd
from dd2424.nn import functional as F
from reference import loss as reference

SHAPES = [(1, 1), (3, 7), (100, 10), (21, 64), (9, 65), (4, 1000), (2, 3, 5), (2, 5, 3, 7), (2, 19, 450),
          (2, 300, 3, 7)]  # fmt: skip
REDUCTIONS = ["mean", "sum", "none"]


def data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32, offset: float = 0.0) -> Any:
    x = (2 * rng.standard_normal(shape) + offset).astype(dtype)
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    return x, target, rng.uniform(0.5, 2.0, shape[1]).astype(dtype)


def gradient(x: Any, target: Any, weight: Any, smoothing: float, ignore_index: int = -100) -> Any:
    """Of the sum of losses: p * sum_c q_c - q, with q the weighted and smoothed target."""
    x, classes = np.moveaxis(x.astype(np.float64), 1, -1), x.shape[1]
    q = weight * ((1 - smoothing) * np.eye(classes)[np.where(target == ignore_index, 0, target)] + smoothing / classes)
    q[target == ignore_index] = 0
    return np.moveaxis(reference.softmax(x, -1) * q.sum(-1, keepdims=True) - q, -1, 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_matches_numpy(rng: np.random.Generator, isa: str, shape: tuple[int, ...], dtype: Any, offset: float) -> None:
    x, target, _ = data(rng, shape, dtype, offset)
    for reduction in REDUCTIONS:
        loss = F.cross_entropy(dd2424.from_numpy(x), dd2424.from_numpy(target), reduction=reduction)
        expected = reference.cross_entropy(x, target, reduction=reduction)
        assert loss.dtype == dd2424.from_numpy(x).dtype
        assert_accurate(loss, expected, roundings=8, scale=1.0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_option(
    rng: np.random.Generator, isa: str, shape: tuple[int, ...], reduction: str, smoothing: float, weighted: bool
) -> None:
    x, target, weight = data(rng, shape)
    target.flat[0] = target.flat[-1] = -7  # some are ignored
    target.flat[0] = 0
    options = {"ignore_index": -7, "reduction": reduction, "label_smoothing": smoothing}
    given = dd2424.from_numpy(weight) if weighted else None
    leaf = dd2424.from_numpy(x).requires_grad_()
    loss = F.cross_entropy(leaf, dd2424.from_numpy(target), given, **options)
    expected = reference.cross_entropy(x, target, weight if weighted else None, **options)
    assert_accurate(loss, expected, roundings=16, scale=1.0)
    loss.sum().backward()
    w = weight.astype(np.float64) if weighted else np.ones(shape[1])
    scale = 1 / w[target[target != -7]].sum() if reduction == "mean" else 1.0
    assert_accurate(leaf.grad, scale * gradient(x, target, w, smoothing, -7), roundings=16, scale=scale)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_probabilities(
    rng: np.random.Generator, isa: str, shape: tuple[int, ...], reduction: str, smoothing: float
) -> None:
    x, _, weight = data(rng, shape)
    q = rng.dirichlet(np.ones(shape[1]), (shape[0], *shape[2:])).astype(np.float32)
    q = np.ascontiguousarray(np.moveaxis(q, -1, 1))
    for w in (None, weight):
        given = None if w is None else dd2424.from_numpy(w)
        options = {"reduction": reduction, "label_smoothing": smoothing}
        loss = F.cross_entropy(dd2424.from_numpy(x), dd2424.from_numpy(q), given, **options)
        assert_accurate(loss, reference.soft_cross_entropy(x, q, w, **options), roundings=16, scale=1.0)


def test_a_single_sample_has_no_batch_dimension(rng: np.random.Generator) -> None:
    x, target, _ = data(rng, (1, 5))
    alone = F.cross_entropy(dd2424.from_numpy(x[0]), dd2424.tensor(int(target[0])), reduction="none")
    assert alone.shape == ()
    assert_accurate(alone, reference.cross_entropy(x, target), roundings=4)
    q = np.full(5, 0.2, np.float32)
    soft = F.cross_entropy(dd2424.from_numpy(x[0]), dd2424.from_numpy(q))
    assert_accurate(soft, reference.soft_cross_entropy(x, q[None]), roundings=4)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_equal_scores_cost_the_logarithm_of_the_classes(classes: int) -> None:
    loss = F.cross_entropy(dd2424.zeros(8, classes), dd2424.zeros(8, dtype=dd2424.int64))
    assert_accurate(loss, math.log(classes), roundings=1)


@pytest.mark.parametrize("classes", [3, 100])
def test_extreme_logits(isa: str, classes: int) -> None:
    x = np.zeros((3, classes), np.float32)
    x[0, 1], x[1, 1], x[2, 1] = 1e30, -1e30, -np.inf
    target = np.array([1, 1, 0])
    leaf = dd2424.from_numpy(x).requires_grad_()
    losses = F.cross_entropy(leaf, dd2424.from_numpy(target), reduction="none")
    assert_accurate(losses, [0.0, 1e30, math.log(classes - 1)], roundings=2)
    losses.sum().backward()
    assert np.isfinite(leaf.grad.numpy()).all()
    wrong = F.cross_entropy(dd2424.from_numpy(x[2:]), dd2424.tensor([1]))
    assert wrong.item() == math.inf


def test_all_ignored_is_nan_for_the_mean_and_zero_for_the_sum() -> None:
    x, target = dd2424.ones(3, 4, requires_grad=True), dd2424.full((3,), -100)
    assert math.isnan(F.cross_entropy(x, target).item())
    loss = F.cross_entropy(x, target, reduction="sum")
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.numpy().any()


@pytest.mark.parametrize("dtype", [dd2424.int32, dd2424.int64, dd2424.uint8, dd2424.int8])
def test_class_numbers_of_any_integer_dtype(rng: np.random.Generator, dtype: dd2424.dtype) -> None:
    x, target, _ = data(rng, (9, 5))
    loss = F.cross_entropy(dd2424.from_numpy(x), dd2424.from_numpy(target).to(dtype))
    assert_accurate(loss, reference.cross_entropy(x, target), roundings=8)


def test_bfloat16_sums_in_float32(rng: np.random.Generator, isa: str) -> None:
    x, target, _ = data(rng, (500, 10))
    short = dd2424.from_numpy(x).bfloat16().requires_grad_()
    loss = F.cross_entropy(short, dd2424.from_numpy(target))
    exact = short.detach().double().numpy()
    assert_accurate(loss, reference.cross_entropy(exact, target), roundings=1)
    loss.backward()
    assert_accurate(short.grad, gradient(exact, target, np.ones(10), 0.0) / 500, roundings=1, scale=1e-4)


@pytest.mark.parametrize("shape", [(70_000, 10), (600, 1000), (3, 10, 40_000)])
def test_same_bits_for_any_threads(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x, target, weight = data(rng, shape)

    def run() -> Any:
        leaf = dd2424.from_numpy(x).requires_grad_()
        loss = F.cross_entropy(leaf, dd2424.from_numpy(target), dd2424.from_numpy(weight), label_smoothing=0.1)
        loss.backward()
        return loss.detach(), leaf.grad

    same_for_any_threads(run)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2), (1, 66)])
def test_gradients(rng: np.random.Generator, shape: tuple[int, ...], reduction: str, smoothing: float) -> None:
    x, target, weight = data(rng, shape, np.float64)
    target.flat[-1] = target.flat[-1] if target.size == 1 else -100
    leaf, labels, w = dd2424.from_numpy(x).requires_grad_(), dd2424.from_numpy(target), dd2424.from_numpy(weight)

    def function(x: Any) -> Any:
        return F.cross_entropy(x, labels, w, reduction=reduction, label_smoothing=smoothing)

    assert autograd.gradcheck(function, (leaf,))
    if leaf.numel() < 20:
        assert autograd.gradgradcheck(function, (leaf,))


def test_gradients_of_probabilities(rng: np.random.Generator) -> None:
    x = dd2424.from_numpy(rng.standard_normal((3, 4))).requires_grad_()
    q = dd2424.from_numpy(rng.dirichlet(np.ones(4), 3)).requires_grad_()
    assert autograd.gradcheck(lambda x, q: F.cross_entropy(x, q, label_smoothing=0.1), (x, q))
    assert autograd.gradgradcheck(lambda x, q: F.cross_entropy(x, q, label_smoothing=0.1), (x, q))


def test_odd_layouts_and_empty_ones(rng: np.random.Generator) -> None:
    x, target, _ = data(rng, (6, 10))
    plain = F.cross_entropy(dd2424.from_numpy(x), dd2424.from_numpy(target))
    strided = dd2424.from_numpy(np.repeat(x, 2, 1))[:, ::2]
    every_second = dd2424.from_numpy(np.repeat(target, 2))[::2]
    assert bits(F.cross_entropy(strided, every_second)) == bits(plain)
    nothing = dd2424.zeros(0, 3), dd2424.zeros(0, dtype=dd2424.int64)
    assert math.isnan(F.cross_entropy(*nothing).item())
    assert F.cross_entropy(*nothing, reduction="sum").item() == 0
    assert F.cross_entropy(*nothing, reduction="none").shape == (0,)


def test_a_step_is_two_kernels(rng: np.random.Generator) -> None:
    x, target, _ = data(rng, (100, 10))
    leaf, labels = dd2424.from_numpy(x).requires_grad_(), dd2424.from_numpy(target)
    before = dd2424.kernel_count()
    F.cross_entropy(leaf, labels).backward()
    assert dd2424.kernel_count() - before <= 3  # forward, backward, and the 1 that the gradient starts from


# fmt: off
REFUSALS: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (IndexError, r"cross_entropy: target must be from 0 to 2, or ignore_index -100, got 3 at position 1",
     {"target": [0, 3]}),
    (IndexError, "got -1 at position 0", {"target": [-1, 0]}),
    (ValueError, r"cross_entropy: target must have shape \(2,\) for input \(2, 3\), got \(3,\)", {"target": [0, 1, 2]}),
    (RuntimeError, "cross_entropy: target must hold class numbers", {"target": [True, False]}),
    (RuntimeError, r"cross_entropy: target must have input's shape \(2, 3\), got \(2,\)", {"target": [0.5, 0.5]}),
    (RuntimeError, "cross_entropy: weight must have one element per class, 3", {"weight": dd2424.ones(2)}),
    (RuntimeError, "cross_entropy: label_smoothing must be from 0 to 1, got 1.5", {"label_smoothing": 1.5}),
    (ValueError, "cross_entropy: reduction must be 'none', 'mean' or 'sum', got 'max'", {"reduction": "max"}),
    (RuntimeError, r"cross_entropy: input must be \(N, C, \*\) or \(C,\), got \(\)", {"input": dd2424.tensor(1.0)}),
    (RuntimeError, "cross_entropy: input must have a floating dtype", {"input": dd2424.ones(2, 3, dtype=dd2424.int64)}),
]
# fmt: on


@pytest.mark.parametrize(("error", "message", "changes"), REFUSALS)
def test_each_refusal(error: type[Exception], message: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"input": dd2424.ones(2, 3), "target": [0, 1], **changes}
    arguments["target"] = dd2424.tensor(arguments["target"])
    with pytest.raises(error, match=message):
        F.cross_entropy(**arguments)


def test_old_arguments_choose_the_reduction() -> None:
    x, target = dd2424.ones(2, 3), dd2424.tensor([0, 1])
    assert F.cross_entropy(x, target, reduce=False).shape == (2,)
    total = F.cross_entropy(x, target, size_average=False)
    assert_accurate(total, 2 * math.log(3), roundings=2)


def test_the_way_without_options_is_the_same_function(rng: np.random.Generator) -> None:
    x, target = dd2424.tensor(rng.standard_normal((5, 4))), dd2424.tensor([0, 1, 2, 3, 0])
    direct = _core.cross_entropy(x, target)
    assert direct.item() == _core.cross_entropy(x, target=target).item() == F.cross_entropy(x, target).item()
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.cross_entropy(x, [0, 1, 2, 3, 0])
