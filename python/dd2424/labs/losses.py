"""The losses of lecture 2, written as the lecture writes them, means over the batch."""

from __future__ import annotations

from dd2424 import Tensor
from dd2424.nn import functional as F


def softmax(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the softmax: mean of -log p_y, p = exp(s) / sum exp(s). Shapes: (N, K), (N,)."""
    return F.cross_entropy(scores, labels)


def svm(scores: Tensor, labels: Tensor) -> Tensor:
    """Multi-class SVM of Weston and Watkins: mean of sum over j != y of max(0, s_j - s_y + 1). Shapes: (N, K), (N,)."""
    margins = F.relu(scores - scores.gather(1, labels.unsqueeze(1)) + 1.0)
    return margins.sum() / len(labels) - 1.0  # the term j = y is 1


def crammer_singer(scores: Tensor, labels: Tensor) -> Tensor:
    """Multi-class SVM of Crammer and Singer: mean of max(0, max over j != y of s_j - s_y + 1). Shapes: (N, K), (N,)."""
    right = F.one_hot(labels, scores.shape[1]).to(scores.dtype)
    margins = (scores + (1.0 - right)).amax(1) - scores.gather(1, labels.unsqueeze(1)).squeeze(1)
    return margins.mean()  # with j = y the margin is 0, which is the lecture's max(0, .)


def sigmoid(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of K sigmoids, mean over classes too. Shapes: (N, K), (N,)."""
    right = F.one_hot(labels, scores.shape[1]).to(scores.dtype)
    return F.binary_cross_entropy_with_logits(scores, right)


def hinge(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary SVM: mean of max(0, 1 - y s) with y = +1 for label 1 and -1 for label 0. Shapes: (N, 1), (N,)."""
    signs = labels.to(scores.dtype) * 2.0 - 1.0
    return F.relu(1.0 - signs * scores.squeeze(1)).mean()
