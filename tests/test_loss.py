"""Losses of probabilities, differences and distances: values, reductions, gradients, extremes, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd, nn
from dd2424.nn import functional as F
from reference import loss as reference

RNG = np.random.default_rng(11)
X, Y = RNG.standard_normal((5, 7)), RNG.standard_normal((5, 7))
P = RNG.uniform(0.05, 0.95, (5, 7))
LOG_P, Q = np.log(P / P.sum(1, keepdims=True)), RNG.dirichlet(np.ones(7), 5)
V, COUNTS, SIGNS = RNG.uniform(0.2, 2, (5, 7)), RNG.integers(0, 5, (5, 7)).astype(float), np.array([1.0, -1, 1, -1, -1])
WEIGHT = RNG.uniform(0.5, 2, 7)

# functional name, its module, the reference, options, arguments; the first `learned` of them are differentiated
# fmt: off
CASES: list[tuple[str, str, Any, dict[str, Any], list[Any], int]] = [
    ("mse_loss", "MSELoss", reference.mse, {}, [X, Y], 2),
    ("l1_loss", "L1Loss", reference.l1, {}, [X, Y], 2),
    ("smooth_l1_loss", "SmoothL1Loss", reference.smooth_l1, {}, [X, Y], 2),
    ("smooth_l1_loss", "SmoothL1Loss", reference.smooth_l1, {"beta": 0.3}, [X, Y], 2),
    ("smooth_l1_loss", "SmoothL1Loss", reference.smooth_l1, {"beta": 0.0}, [X, Y], 2),
    ("huber_loss", "HuberLoss", reference.huber, {}, [X, Y], 2),
    ("huber_loss", "HuberLoss", reference.huber, {"delta": 0.3}, [X, Y], 2),
    ("binary_cross_entropy", "BCELoss", reference.bce, {}, [P, Q], 2),
    ("binary_cross_entropy_with_logits", "BCEWithLogitsLoss", reference.bce_with_logits, {}, [X, P], 2),
    ("binary_cross_entropy_with_logits", "BCEWithLogitsLoss", reference.bce_with_logits, {"pos_weight": WEIGHT},
     [X, P], 2),
    ("kl_div", "KLDivLoss", reference.kl_div, {}, [LOG_P, Q], 2),
    ("kl_div", "KLDivLoss", reference.kl_div, {"log_target": True}, [LOG_P, X], 2),
    ("poisson_nll_loss", "PoissonNLLLoss", reference.poisson_nll, {}, [X, COUNTS], 1),
    ("poisson_nll_loss", "PoissonNLLLoss", reference.poisson_nll, {"full": True, "log_input": False}, [V, COUNTS], 1),
    ("gaussian_nll_loss", "GaussianNLLLoss", reference.gaussian_nll, {}, [X, Y, V], 3),
    ("gaussian_nll_loss", "GaussianNLLLoss", reference.gaussian_nll, {"full": True}, [X, Y, V], 3),
    ("cosine_embedding_loss", "CosineEmbeddingLoss", reference.cosine_embedding, {"margin": 0.1}, [X, Y, SIGNS], 2),
    ("triplet_margin_loss", "TripletMarginLoss", reference.triplet, {}, [X, Y, P], 3),
    ("triplet_margin_loss", "TripletMarginLoss", reference.triplet, {"margin": 2.0, "swap": True}, [X, Y, P], 3),
]
# fmt: on
IDS = [f"{case[0]}{i}" for i, case in enumerate(CASES)]
each_loss = pytest.mark.parametrize(("name", "module", "exact", "options", "arrays", "learned"), CASES, ids=IDS)


def as_tensors(values: Any, dtype: Any) -> Any:
    if isinstance(values, dict):
        return {name: as_tensors(value, dtype) for name, value in values.items()}
    if isinstance(values, list):
        return [as_tensors(value, dtype) for value in values]
    return dd2424.from_numpy(values.astype(dtype)) if isinstance(values, np.ndarray) else values


@each_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matches_numpy(name: str, module: str, exact: Any, options: Any, arrays: Any, learned: int, dtype: Any) -> None:
    arguments, given = as_tensors(arrays, dtype), as_tensors(options, dtype)
    rounded = [a.double().numpy() for a in arguments]
    chosen = {k: v.double().numpy() if isinstance(v, dd2424.Tensor) else v for k, v in given.items()}
    expected = exact(*rounded, **chosen)
    for reduction in ("none", "sum", "mean"):
        loss = getattr(F, name)(*arguments, **given, reduction=reduction)
        assert loss.dtype == arguments[0].dtype
        scale = np.abs(expected).sum() if reduction == "sum" else 2.0
        assert_accurate(loss, reference.reduce(expected, reduction), roundings=16, scale=scale)
        assert bits(getattr(nn, module)(**given, reduction=reduction)(*arguments)) == bits(loss)


@each_loss
def test_gradients(name: str, module: str, exact: Any, options: Any, arrays: Any, learned: int) -> None:
    arguments = as_tensors([array[:3, :4] if array.ndim == 2 else array[:3] for array in arrays], np.float64)
    given = {k: v[:4] if isinstance(v, dd2424.Tensor) else v for k, v in as_tensors(options, np.float64).items()}
    for argument in arguments[:learned]:
        argument.requires_grad_()

    def function(*tensors: Any) -> Any:
        return getattr(F, name)(*tensors, *arguments[learned:], **given)

    assert autograd.gradcheck(function, tuple(arguments[:learned]))
    assert autograd.gradgradcheck(function, tuple(arguments[:learned]))


@each_loss
def test_strided_arguments(name: str, module: str, exact: Any, options: Any, arrays: Any, learned: int) -> None:
    given = as_tensors(options, np.float32)
    plain = getattr(F, name)(*as_tensors(arrays, np.float32), **given, reduction="none")
    strided = [dd2424.from_numpy(np.repeat(a.astype(np.float32), 2, -1))[..., ::2] for a in arrays]
    assert bits(getattr(F, name)(*strided, **given, reduction="none").contiguous()) == bits(plain)


@pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits", "huber_loss"])
def test_same_bits_for_any_threads(rng: np.random.Generator, name: str) -> None:
    x, y = (dd2424.from_numpy(rng.uniform(0, 1, 200_001).astype(np.float32)) for _ in range(2))

    def run() -> Any:
        leaf = x.clone().requires_grad_()
        loss = getattr(F, name)(leaf, y)
        loss.backward()
        return loss.detach(), leaf.grad

    same_for_any_threads(run)


def test_weights_of_elements() -> None:
    x, y, w = as_tensors([X, Y, np.broadcast_to(WEIGHT, X.shape).copy()], np.float64)
    for name, losses in (("mse_loss", reference.mse(X, Y)), ("l1_loss", reference.l1(X, Y))):
        weighted = losses * WEIGHT
        assert_accurate(getattr(F, name)(x, y, weight=w, reduction="sum"), weighted.sum(), roundings=8)
        mean = weighted.sum() / (WEIGHT.sum() * len(X))
        assert_accurate(getattr(F, name)(x, y, weight=w), mean, roundings=8)
    q, p, w = as_tensors([Q, P, WEIGHT], np.float64)
    loss = F.binary_cross_entropy(p, q, w, reduction="none")
    assert_accurate(loss, reference.bce(P, Q) * WEIGHT, roundings=16, scale=1.0)


def test_batchmean_divides_by_the_batch() -> None:
    loss = F.kl_div(*as_tensors([LOG_P, Q], np.float64), reduction="batchmean")
    assert_accurate(loss, reference.kl_div(LOG_P, Q).sum() / 5, roundings=8)


def test_extreme_logits_of_binary_cross_entropy() -> None:
    x = dd2424.tensor([1e4, -1e4, 1e30, -1e30, 0.0], requires_grad=True)
    y = dd2424.tensor([1.0, 0.0, 0.0, 1.0, 1.0])
    losses = F.binary_cross_entropy_with_logits(x, y, reduction="none")
    assert_accurate(losses, [0, 0, 1e30, 1e30, math.log(2)], roundings=2)
    losses.sum().backward()
    assert_accurate(x.grad, [0, 0, 1, -1, -0.5], roundings=2)


def test_logarithms_of_binary_cross_entropy_are_cut_off() -> None:
    x, y = dd2424.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True), dd2424.tensor([1.0, 0.0, 0.0, 1.0])
    losses = F.binary_cross_entropy(x, y, reduction="none")
    assert losses.tolist() == [100, 100, 0, 0]
    losses.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_nll_of_classes(rng: np.random.Generator) -> None:
    for shape in [(6, 5), (2, 3, 4), (2, 3, 4, 5)]:
        x, target = rng.standard_normal(shape), rng.integers(0, shape[1], (shape[0], *shape[2:]))
        weight = rng.uniform(0.5, 2, shape[1])
        target.flat[0] = -100
        for reduction in ("none", "sum", "mean"):
            arguments = [dd2424.from_numpy(a) for a in (x, target, weight)]
            loss = F.nll_loss(*arguments, reduction=reduction)
            assert_accurate(loss, reference.nll(x, target, weight, reduction=reduction), roundings=8, scale=1.0)
        leaf = arguments[0].requires_grad_()
        assert autograd.gradcheck(lambda x: F.nll_loss(x, *arguments[1:]), (leaf,))  # noqa: B023
    far = dd2424.full((2, 3), -math.inf)
    assert F.nll_loss(far, dd2424.tensor([-100, -100]), reduction="sum").item() == 0


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("ignored", [-100, 3])
def test_nll_without_weights(rng: np.random.Generator, reduction: Any, ignored: int) -> None:
    x, target = rng.standard_normal((2, 5, 32, 33)), rng.integers(0, 5, (2, 32, 33))
    leaf = dd2424.from_numpy(x.copy()).requires_grad_()
    loss = F.nll_loss(leaf, dd2424.from_numpy(target), ignore_index=ignored, reduction=reduction)
    counts = target != ignored
    losses = np.where(counts, -np.take_along_axis(x, target[:, None], 1)[:, 0], 0)
    share = 1 / counts.sum() if reduction == "mean" else 1.0
    if reduction == "none":
        assert_accurate(loss, losses, roundings=2)
    else:
        assert_accurate(loss, losses.sum() * share, roundings=32, scale=float(np.abs(losses).sum() * share))
    loss.sum().backward()
    expected = np.zeros(x.shape)
    np.put_along_axis(expected, target[:, None], -share * counts[:, None], 1)
    assert_accurate(leaf.grad, expected, roundings=2, scale=1.0)


def test_variance_below_eps_still_learns() -> None:
    var = dd2424.tensor([1e-9], requires_grad=True)
    loss = F.gaussian_nll_loss(dd2424.tensor([1.0]), dd2424.tensor([1.0]), var)
    loss.backward()
    assert_accurate(loss, 0.5 * math.log(1e-6), roundings=2)
    assert var.grad.item() != 0
    assert F.gaussian_nll_loss(dd2424.ones(2), dd2424.ones(2), 1.0).item() == 0


def test_empty_losses() -> None:
    nothing = dd2424.zeros(0, 3)
    assert F.mse_loss(nothing, nothing, reduction="sum").item() == 0
    assert math.isnan(F.mse_loss(nothing, nothing).item())
    assert F.l1_loss(nothing, nothing, reduction="none").shape == (0, 3)


def test_penalties_on_parameters() -> None:
    a, b = (dd2424.from_numpy(v).requires_grad_() for v in (X.copy(), Y.copy()))
    assert_accurate(F.l2_penalty([a, b]), (X**2).sum() + (Y**2).sum(), roundings=4)
    assert_accurate(F.l1_penalty([a]), np.abs(X).sum(), roundings=4)
    F.l2_penalty([a]).backward()
    assert_accurate(a.grad, 2 * X, roundings=1)
    assert F.l2_penalty([]).item() == 0


# fmt: off
REFUSALS: list[tuple[type[Exception], str, str, list[Any], dict[str, Any]]] = [
    (ValueError, 'reduction must be "none", "mean" or "sum", got "max"', "mse_loss", [X, Y], {"reduction": "max"}),
    (RuntimeError, "smooth_l1_loss: beta must be non-negative, got -1", "smooth_l1_loss", [X, Y], {"beta": -1}),
    (RuntimeError, "huber_loss: delta must be positive, got 0", "huber_loss", [X, Y], {"delta": 0}),
    (RuntimeError, "binary_cross_entropy: input must be between 0 and 1", "binary_cross_entropy", [X, Q], {}),
    (ValueError, r"binary_cross_entropy: target must have input's shape \(5, 7\), got \(2, 7\)",
     "binary_cross_entropy", [P, Q[:2]], {}),
    (ValueError, "binary_cross_entropy_with_logits: target must have input's shape",
     "binary_cross_entropy_with_logits", [X, Q[:2]], {}),
    (ValueError, r"gaussian_nll_loss: var must fit input \(5, 7\), got \(3,\)", "gaussian_nll_loss",
     [X, Y, V[0, :3]], {}),
    (ValueError, "gaussian_nll_loss: var must be non-negative", "gaussian_nll_loss", [X, Y, -V], {}),
    (ValueError, "triplet_margin_loss: margin must be positive, got 0", "triplet_margin_loss", [X, Y, P],
     {"margin": 0}),
    (RuntimeError, "broadcast|shape|size", "mse_loss", [X, Y[:, :3]], {}),
]
# fmt: on


@pytest.mark.parametrize(("error", "message", "name", "arrays", "options"), REFUSALS)
def test_each_refusal(error: type[Exception], message: str, name: str, arrays: Any, options: Any) -> None:
    with pytest.raises(error, match=message):
        getattr(F, name)(*as_tensors(arrays, np.float64), **options)


def test_nll_refuses_bad_targets() -> None:
    x = dd2424.zeros(2, 3)
    with pytest.raises(IndexError, match="nll_loss: target must be from 0 to 2, or ignore_index -100, got 0 to 3"):
        F.nll_loss(x, dd2424.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"nll_loss: target must be \(2,\) for input \(2, 3\), got \(1,\)"):
        F.nll_loss(x, dd2424.tensor([0]))
