"""The losses of lecture 2 and their means over a batch, one image at a time in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def softmax(scores: Array, labels: Array) -> float:
    """Mean of -log of the softmax probability of the true class."""
    return float(np.mean([np.log(np.exp(s - s[y]).sum()) for s, y in zip(scores, labels)]))


def svm(scores: Array, labels: Array) -> float:
    """Weston and Watkins: mean of the sum over the wrong classes of max(0, s_j - s_y + 1)."""
    return float(
        np.mean([sum(max(0.0, s[j] - s[y] + 1) for j in range(len(s)) if j != y) for s, y in zip(scores, labels)])
    )


def crammer_singer(scores: Array, labels: Array) -> float:
    """Crammer and Singer: only the worst of the wrong classes counts."""
    return float(
        np.mean([max(max(0.0, s[j] - s[y] + 1) for j in range(len(s)) if j != y) for s, y in zip(scores, labels)])
    )


def sigmoid(scores: Array, labels: Array) -> float:
    """Binary cross-entropy of every class on its own, mean over classes and images."""
    p = 1 / (1 + np.exp(-scores))
    right = np.eye(scores.shape[1])[labels]
    return float(-np.mean(right * np.log(p) + (1 - right) * np.log(1 - p)))


def hinge(scores: Array, labels: Array) -> float:
    """Binary SVM with y = +1 for label 1 and -1 for label 0."""
    return float(np.mean([max(0.0, 1 - (2 * y - 1) * s[0]) for s, y in zip(scores, labels)]))
