"""Losses have PyTorch's names, arguments, defaults, values, gradients and error classes."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

N, C = 6, 5
RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((N, C)), RNG.standard_normal((N, C))
CLASSES = np.array([0, 4, 2, 1, 3, 2])
SIGNS = np.sign(RNG.standard_normal((N, C)))
PROBABILITIES = np.exp(X) / np.exp(X).sum(1, keepdims=True)
WEIGHT = RNG.uniform(0.5, 2, C)
LISTED = np.array(
    [[0, 2, -1, 1, 1], [4, -1, 0, 0, 0], [-1, 0, 0, 0, 0], [0, 1, 2, 3, 4], [1, 3, -1, 2, 2], [2] + [-1] * 4]
)
IMAGES, MASKS = RNG.standard_normal((2, 3, 4, 5)), RNG.integers(0, 3, (2, 4, 5))
LOG_PROBS = np.log(np.exp(IMAGES) / np.exp(IMAGES).sum(1, keepdims=True))

# fmt: off
# name, the module's options, tensors (the first is differentiated)
CASES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("CrossEntropyLoss", {}, [X, CLASSES]),
    ("CrossEntropyLoss", {"label_smoothing": 0.2, "ignore_index": 2, "weight": WEIGHT}, [X, CLASSES]),
    ("CrossEntropyLoss", {"label_smoothing": 0.2, "weight": WEIGHT}, [X, PROBABILITIES]),
    ("CrossEntropyLoss", {"ignore_index": 0, "weight": WEIGHT[:3]}, [IMAGES, MASKS]),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, [X[0], np.array(3)]),
    ("NLLLoss", {"weight": WEIGHT, "ignore_index": 4}, [X, CLASSES]),
    ("NLLLoss", {"ignore_index": 0}, [LOG_PROBS, MASKS]),
    ("NLLLoss", {}, [X[0], np.array(3)]),
    ("BCELoss", {"weight": WEIGHT}, [PROBABILITIES, (SIGNS > 0).astype(float)]),
    ("BCEWithLogitsLoss", {"weight": WEIGHT, "pos_weight": WEIGHT}, [X, PROBABILITIES]),
    ("KLDivLoss", {}, [np.log(PROBABILITIES), PROBABILITIES[::-1].copy()]),
    ("KLDivLoss", {"log_target": True}, [np.log(PROBABILITIES), Y]),
    ("PoissonNLLLoss", {"full": True}, [X, np.abs(Y) * 3]),
    ("PoissonNLLLoss", {"log_input": False}, [np.abs(X), np.abs(Y)]),
    ("GaussianNLLLoss", {"full": True}, [X, Y, np.abs(Y[::-1]).copy()]),
    ("GaussianNLLLoss", {}, [X, Y, np.full((N, 1), 0.7)]),
    ("GaussianNLLLoss", {}, [X, Y, np.full(N, 0.7)]),
    ("MSELoss", {}, [X, Y]), ("L1Loss", {}, [X, Y]),
    ("SmoothL1Loss", {"beta": 0.5}, [X, Y]), ("SmoothL1Loss", {"beta": 0.0}, [X, Y]),
    ("HuberLoss", {"delta": 0.5}, [X, Y]),
    ("CosineEmbeddingLoss", {"margin": 0.2}, [X, Y, SIGNS[:, 0]]),
    ("TripletMarginLoss", {}, [X, Y, X[::-1].copy()]),
    ("TripletMarginLoss", {"margin": 2.0, "p": 1, "swap": True}, [X, Y, X[::-1].copy()]),
    ("TripletMarginWithDistanceLoss", {"swap": True}, [X, Y, X[::-1].copy()]),
    ("MultiMarginLoss", {"weight": WEIGHT, "p": 2, "margin": 0.7}, [X, CLASSES]),
    ("MultiMarginLoss", {}, [X[0], np.array(2)]),
    ("MarginRankingLoss", {"margin": 0.3}, [X, Y, SIGNS]),
    ("HingeEmbeddingLoss", {"margin": 0.7}, [X, SIGNS]),
    ("SoftMarginLoss", {}, [X, SIGNS]),
    ("MultiLabelMarginLoss", {}, [X, LISTED]),
    ("MultiLabelSoftMarginLoss", {"weight": WEIGHT}, [X, (SIGNS > 0).astype(float)]),
]
FUNCTIONS = [
    "cross_entropy", "linear_cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "kl_div", "poisson_nll_loss", "gaussian_nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
    "cosine_embedding_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss", "margin_ranking_loss",
    "multi_margin_loss", "hinge_embedding_loss",
    "soft_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
    "ctc_loss",
]
# fmt: on
MODULES = sorted({name for name, _, _ in CASES} | {"CTCLoss"})


def tensors(library: Any, arrays: list[Any]) -> list[Any]:
    return [library.from_numpy(np.array(array)) for array in arrays]


def compute(library: Any, name: str, options: dict[str, Any], arrays: list[Any]) -> tuple[Any, Any]:
    given = {k: library.from_numpy(v.copy()) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    first, *others = tensors(library, arrays)
    first.requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = getattr(library.nn, name)(**given)(first, *others)
    loss.sum().backward()
    return loss.detach().numpy(), first.grad.numpy()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "options", "arrays"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_same_values_and_gradients(name: str, options: dict[str, Any], arrays: list[Any], reduction: str) -> None:
    options = {**options, "reduction": reduction}
    for ours, theirs in zip(compute(dd2424, name, options, arrays), compute(torch, name, options, arrays), strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_linear_cross_entropy(reduction: str, smoothing: float) -> None:
    layer, bias = RNG.standard_normal((70, C)), RNG.standard_normal(70)
    results = []
    for library in (dd2424, torch):
        x, weight, b = (library.tensor(a, requires_grad=True) for a in (X, layer, bias))
        loss = library.nn.functional.linear_cross_entropy(
            x, weight, library.tensor(CLASSES * 13), linear_bias=b, reduction=reduction, label_smoothing=smoothing,
            ignore_index=13,
        )  # fmt: skip
        (2 * loss).sum().backward()
        results.append([t.detach().numpy() for t in (loss, x.grad, weight.grad, b.grad)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


def test_kl_divs_batchmean() -> None:
    options = {"reduction": "batchmean"}
    arrays = [np.log(PROBABILITIES), PROBABILITIES[::-1].copy()]
    ours, theirs = compute(dd2424, "KLDivLoss", options, arrays), compute(torch, "KLDivLoss", options, arrays)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)


@pytest.mark.parametrize("name", MODULES)
def test_same_arguments_and_repr(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    assert [(p.name, p.default) for p in inspect.signature(ours).parameters.values()] == [
        (p.name, p.default) for p in inspect.signature(theirs).parameters.values()
    ]
    assert repr(ours()) == repr(theirs())
    assert list(ours().state_dict()) == list(theirs().state_dict())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_the_same_arguments(name: str) -> None:
    ours = inspect.signature(getattr(nn.functional, name)).parameters.values()
    theirs = inspect.signature(getattr(torch.nn.functional, name)).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


# fmt: off
REFUSED: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("cross_entropy", {}, [X, CLASSES[:3]]),
    ("cross_entropy", {}, [X, CLASSES + 3]),
    ("cross_entropy", {}, [X, CLASSES - 3]),
    ("cross_entropy", {"weight": WEIGHT[:2]}, [X, CLASSES]),
    ("cross_entropy", {"reduction": "median"}, [X, CLASSES]),
    ("cross_entropy", {"label_smoothing": 1.5}, [X, CLASSES]),
    ("nll_loss", {}, [X, CLASSES[:3]]),
    ("nll_loss", {}, [X, CLASSES + 3]),
    ("binary_cross_entropy", {}, [X, PROBABILITIES]),
    ("binary_cross_entropy", {}, [PROBABILITIES, PROBABILITIES[:2]]),
    ("binary_cross_entropy_with_logits", {}, [X, PROBABILITIES[:2]]),
    ("gaussian_nll_loss", {}, [X, Y, np.ones(3)]),
    ("gaussian_nll_loss", {}, [X, Y, -np.ones((N, C))]),
    ("mse_loss", {"reduction": "median"}, [X, Y]),
    ("smooth_l1_loss", {"beta": -1.0}, [X, Y]),
    ("huber_loss", {"delta": 0.0}, [X, Y]),
    ("multi_margin_loss", {"p": 3}, [X, CLASSES]),
    ("multi_margin_loss", {}, [X, CLASSES[:2]]),
    ("multilabel_margin_loss", {}, [X, LISTED[:2]]),
    ("triplet_margin_loss", {"margin": -1.0}, [X, Y, X]),
]
# fmt: on


@pytest.mark.parametrize(("name", "options", "arrays"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_same_error_class(name: str, options: dict[str, Any], arrays: list[Any]) -> None:
    classes = []
    for library in (dd2424, torch):
        given = {k: library.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        with pytest.raises(Exception) as error:  # which one is the question
            getattr(library.nn.functional, name)(*tensors(library, arrays), **given)
        classes.append(error.type)
    assert classes[0] is classes[1]
