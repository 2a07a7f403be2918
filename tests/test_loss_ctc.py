"""Connectionist temporal classification: every alignment added up, against two independent ways."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import autograd, nn
from dd2424.nn import functional as F
from reference import loss as reference


def log_probabilities(rng: np.random.Generator, *shape: int) -> Any:
    return reference.log_softmax(rng.standard_normal(shape), -1)


def by_enumeration(log_probs: Any, labels: list[int], blank: int) -> float:
    """All C^T sequences, each read by merging repeats and leaving out blanks."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if [k for k, _ in itertools.groupby(path) if k != blank] == labels:
            total += math.exp(sum(row[k] for row, k in zip(log_probs, path, strict=True)))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("labels", [[], [1], [1, 2], [1, 1], [2, 1, 2]])
@pytest.mark.parametrize("blank", [0, 3])
def test_adds_up_every_alignment(rng: np.random.Generator, labels: list[int], blank: int) -> None:
    x = log_probabilities(rng, 5, 4)
    exact = by_enumeration(x, labels, blank)
    targets = dd2424.tensor(labels, dtype=dd2424.int64)
    loss = F.ctc_loss(dd2424.from_numpy(x), targets, [5], [len(labels)], blank, "none")
    assert loss.shape == ()
    assert_accurate(loss, exact, roundings=16)
    assert_accurate(reference.ctc(x, labels, blank), exact, roundings=16)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_of_unequal_lengths(rng: np.random.Generator, flat: bool, dtype: Any) -> None:
    x = log_probabilities(rng, 12, 4, 6).astype(dtype)
    targets, labels, times = rng.integers(1, 6, (4, 5)), [5, 3, 1, 0], [12, 9, 4, 5]
    rows = [list(row[:n]) for row, n in zip(targets, labels, strict=True)]
    exact = np.array([reference.ctc(x[:t, n].astype(float), rows[n]) for n, t in enumerate(times)])
    given = dd2424.from_numpy(np.concatenate(rows).astype(np.int64) if flat else targets)
    for reduction, expected in (
        ("none", exact),
        ("sum", exact.sum()),
        ("mean", (exact / np.maximum(labels, 1)).mean()),
    ):
        loss = nn.CTCLoss(reduction=reduction)(dd2424.from_numpy(x), given, times, labels)
        assert_accurate(loss, expected, roundings=32)


def test_gradients(rng: np.random.Generator) -> None:
    x = dd2424.from_numpy(rng.standard_normal((4, 2, 3))).requires_grad_()
    targets = dd2424.tensor([[1, 1], [2, 0]])

    def function(x: Any) -> Any:
        return F.ctc_loss(x.log_softmax(2), targets, [4, 3], [2, 1])

    assert autograd.gradcheck(function, (x,))
    assert autograd.gradgradcheck(function, (x,))


def test_targets_that_do_not_fit() -> None:
    x = dd2424.full((2, 1, 3), -math.log(3)).requires_grad_()
    target = dd2424.tensor([[1, 1]])  # needs a blank between: three steps
    assert F.ctc_loss(x, target, [2], [2]).item() == math.inf
    loss = F.ctc_loss(x, target, [2], [2], zero_infinity=True)
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.numpy().any()


# fmt: off
REFUSALS: list[tuple[str, dict[str, Any]]] = [
    (r"log_probs must be \(T, N, C\) or \(T, C\), got \(3,\)", {"log_probs": dd2424.zeros(3)}),
    ("input_lengths must have one length for each of 2 sequences, got 1", {"input_lengths": [4]}),
    ("input_lengths must be from 1 to 4, got", {"input_lengths": [5, 4]}),
    ("target_lengths must be non-negative", {"target_lengths": [-1, 1]}),
    ("blank must be from 0 to 2, got 3", {"blank": 3}),
    (r"targets must be \(2, 2 or more\), got \(1, 2\)", {"targets": dd2424.tensor([[1, 2]])}),
    ("targets must have the 3 labels of all sequences, got 2", {"targets": dd2424.tensor([1, 2])}),
    (r"targets must be from 0 to 2 and not blank 0, got \[1, 3\]", {"targets": dd2424.tensor([[1, 3], [1, 1]])}),
]
# fmt: on


@pytest.mark.parametrize(("message", "changes"), REFUSALS)
def test_each_refusal(message: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {
        "log_probs": dd2424.zeros(4, 2, 3),
        "targets": dd2424.tensor([[1, 2], [1, 1]]),
        "input_lengths": [4, 4],
        "target_lengths": [2, 1],
    }
    with pytest.raises(RuntimeError, match=f"ctc_loss: {message}"):
        F.ctc_loss(**{**arguments, **changes})
