"""Hinges and support vector machines: the binary one, Weston-Watkins, Crammer-Singer, rankings, many labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from dd2424 import autograd, nn
from dd2424.nn import functional as F
from reference import loss as reference

RNG = np.random.default_rng(12)
X, Z = RNG.standard_normal((6, 5)), RNG.standard_normal((6, 5))
CLASSES = np.array([0, 4, 2, 1, 3, 2])
SIGNS = np.sign(RNG.standard_normal((6, 5)))
MANY = np.array(
    [[0, 2, -1, 1, 1], [4, -1, 0, 0, 0], [-1, 0, 0, 0, 0], [0, 1, 2, 3, 4], [1, 3, -1, 2, 2], [2, 2, -1, 0, 0]]
)
HOT, WEIGHT = (SIGNS > 0).astype(float), RNG.uniform(0.5, 2, 5)

# fmt: off
CASES: list[tuple[str, str, Any, dict[str, Any], list[Any]]] = [
    ("hinge_loss", "HingeLoss", reference.hinge, {}, [X, SIGNS]),
    ("hinge_loss", "HingeLoss", reference.hinge, {"margin": 0.5}, [X, SIGNS]),
    ("weston_watkins_loss", "WestonWatkinsLoss", reference.weston_watkins, {}, [X, CLASSES]),
    ("weston_watkins_loss", "WestonWatkinsLoss", reference.weston_watkins, {"margin": 0.3}, [X, CLASSES]),
    ("crammer_singer_loss", "CrammerSingerLoss", reference.crammer_singer, {}, [X, CLASSES]),
    ("crammer_singer_loss", "CrammerSingerLoss", reference.crammer_singer, {"margin": 0.3}, [X, CLASSES]),
    ("multi_margin_loss", "MultiMarginLoss", reference.multi_margin, {}, [X, CLASSES]),
    ("multi_margin_loss", "MultiMarginLoss", reference.multi_margin, {"p": 2, "margin": 0.7, "weight": WEIGHT},
     [X, CLASSES]),
    ("margin_ranking_loss", "MarginRankingLoss", reference.margin_ranking, {"margin": 0.3}, [X, Z, SIGNS]),
    ("hinge_embedding_loss", "HingeEmbeddingLoss", reference.hinge_embedding, {"margin": 0.7}, [X, SIGNS]),
    ("soft_margin_loss", "SoftMarginLoss", reference.soft_margin, {}, [X, SIGNS]),
    ("multilabel_margin_loss", "MultiLabelMarginLoss", reference.multilabel_margin, {}, [X, MANY]),
    ("multilabel_soft_margin_loss", "MultiLabelSoftMarginLoss", reference.multilabel_soft_margin, {"weight": WEIGHT},
     [X, HOT]),
]
# fmt: on
IDS = [f"{case[0]}{i}" for i, case in enumerate(CASES)]
each_loss = pytest.mark.parametrize(("name", "module", "exact", "options", "arrays"), CASES, ids=IDS)


def tensors(values: Any, dtype: Any) -> Any:
    if isinstance(values, dict):
        return {name: tensors(value, dtype) for name, value in values.items()}
    if isinstance(values, list):
        return [tensors(value, dtype) for value in values]
    if not isinstance(values, np.ndarray):
        return values
    return dd2424.from_numpy(values.astype(dtype) if values.dtype.kind == "f" else values.copy())


def exactly(values: Any) -> Any:
    return {k: v.double().numpy() if isinstance(v, dd2424.Tensor) else v for k, v in values.items()}


@each_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matches_numpy(name: str, module: str, exact: Any, options: Any, arrays: Any, dtype: Any) -> None:
    arguments, given = tensors(arrays, dtype), tensors(options, dtype)
    rounded = [a.double().numpy() if a.is_floating_point() else a.numpy() for a in arguments]
    expected = exact(*rounded, **exactly(given))
    for reduction in ("none", "sum", "mean"):
        loss = getattr(F, name)(*arguments, **given, reduction=reduction)
        assert loss.dtype == arguments[0].dtype
        scale = np.abs(expected).sum() if reduction == "sum" else 2.0
        assert_accurate(loss, reference.reduce(expected, reduction), roundings=16, scale=scale)
        assert bits(getattr(nn, module)(**given, reduction=reduction)(*arguments)) == bits(loss)


@each_loss
def test_gradients(name: str, module: str, exact: Any, options: Any, arrays: Any) -> None:
    first, *others = tensors(arrays, np.float64)
    given = tensors(options, np.float64)
    first.requires_grad_()
    assert autograd.gradcheck(lambda x: getattr(F, name)(x, *others, **given), (first,))
    assert autograd.gradgradcheck(lambda x: getattr(F, name)(x, *others, **given), (first,))


@pytest.mark.parametrize("name", ["weston_watkins_loss", "crammer_singer_loss", "multi_margin_loss"])
def test_one_sample_has_no_batch_dimension(name: str) -> None:
    batch = getattr(F, name)(dd2424.from_numpy(X[:1]), dd2424.from_numpy(CLASSES[:1]), reduction="none")
    alone = getattr(F, name)(dd2424.from_numpy(X[0]), dd2424.tensor(int(CLASSES[0])), reduction="none")
    assert alone.shape == ()
    assert bits(alone.reshape((1,))) == bits(batch)


def test_equal_scores_violate_every_margin() -> None:
    x, target = dd2424.zeros(4, 10), dd2424.tensor([0, 3, 5, 9])
    assert F.weston_watkins_loss(x, target).item() == 9
    assert F.crammer_singer_loss(x, target).item() == 1
    assert F.multi_margin_loss(x, target).item() == pytest.approx(0.9)


def test_crammer_singer_punishes_one_rival_only() -> None:
    x = dd2424.tensor([[1.0, 3.0, 2.0]], requires_grad=True)
    F.crammer_singer_loss(x, dd2424.tensor([0])).backward()
    assert x.grad.tolist() == [[-1, 1, 0]]
    x.grad = None
    F.weston_watkins_loss(x, dd2424.tensor([0])).backward()
    assert x.grad.tolist() == [[-2, 1, 1]]


def test_scores_that_win_by_the_margin_cost_nothing() -> None:
    x = dd2424.tensor([[5.0, 4.0, -1.0]], requires_grad=True)
    for name in ("weston_watkins_loss", "crammer_singer_loss"):
        loss = getattr(F, name)(x, dd2424.tensor([0]))
        loss.backward()
        assert loss.item() == 0
        assert not x.grad.numpy().any()


def test_soft_margin_does_not_overflow() -> None:
    x = dd2424.tensor([1e4, -1e4])
    assert F.soft_margin_loss(x, dd2424.tensor([1.0, 1.0]), reduction="none").tolist() == [0, 1e4]


@pytest.mark.parametrize("name", ["weston_watkins_loss", "crammer_singer_loss", "multi_margin_loss"])
def test_refusals_of_classes(name: str) -> None:
    x = dd2424.zeros(2, 3)
    with pytest.raises(IndexError, match=rf"{name}: target must be in \[0, 3\), got 0 to 3"):
        getattr(F, name)(x, dd2424.tensor([0, 3]))
    with pytest.raises(IndexError, match="got -1 to 0"):
        getattr(F, name)(x, dd2424.tensor([0, -1]))
    with pytest.raises(RuntimeError, match=rf"{name}: target must be \(2,\), got \(3,\)"):
        getattr(F, name)(x, dd2424.tensor([0, 1, 2]))
    with pytest.raises(RuntimeError, match=rf"{name}: input must be \(N, C\) or \(C,\)"):
        getattr(F, name)(dd2424.zeros(2, 0), dd2424.tensor([0, 0]))


def test_other_refusals() -> None:
    x = dd2424.zeros(2, 3)
    with pytest.raises(ValueError, match="multi_margin_loss: p must be 1 or 2, got 3"):
        F.multi_margin_loss(x, dd2424.tensor([0, 1]), p=3)
    with pytest.raises(ValueError, match=r"hinge_loss: target must have input's shape \(2, 3\), got \(2,\)"):
        F.hinge_loss(x, dd2424.ones(2))
    with pytest.raises(RuntimeError, match="multilabel_margin_loss: target must have input's shape"):
        F.multilabel_margin_loss(x, dd2424.zeros(2, 2, dtype=dd2424.int64))
