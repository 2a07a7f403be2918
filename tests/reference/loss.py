"""Losses in float64. All give one loss for each sample or element: `reduce` makes one number of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def reduce(losses: Array, reduction: str) -> Array:
    return {"none": losses, "sum": losses.sum(), "mean": losses.mean() if losses.size else np.array(np.nan)}[reduction]


def _shifted(x: Array, axis: int) -> tuple[Array, Array, Array]:
    """x less its maximum, the log of the sum of its exponentials, and the maximum."""
    top = x.max(axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return x - top, np.log(np.exp(x - top).sum(axis, keepdims=True)), top


def logsumexp(x: Array, axis: int) -> Array:
    _, log_sum, top = _shifted(x, axis)
    return log_sum + top


def log_softmax(x: Array, axis: int) -> Array:
    shifted, log_sum, _ = _shifted(x, axis)
    return shifted - log_sum


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _rows(x: Array) -> Array:
    """(N, C, *) as (N, *, C)."""
    return np.moveaxis(x, 1, -1)


def cross_entropy(
    x: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """x (N, C, *), class numbers (N, *): "mean" divides by the sum of the targets' weights."""
    classes = x.shape[1]
    w = np.ones(classes) if weight is None else weight.astype(np.float64)
    logp, losses, total = _rows(log_softmax(x.astype(np.float64), 1)), np.zeros(target.shape), 0.0
    for place in np.ndindex(target.shape):
        t = target[place]
        if t == ignore_index:
            continue
        losses[place] = -(1 - label_smoothing) * w[t] * logp[place][t]
        if label_smoothing:
            losses[place] -= label_smoothing / classes * (w * logp[place]).sum()
        total += w[t]
    if reduction == "mean":
        return losses.sum() / np.float64(total) if total else np.array(np.nan)
    return reduce(losses, reduction)


def soft_cross_entropy(
    x: Array, target: Array, weight: Array | None = None, reduction: str = "mean", label_smoothing: float = 0.0
) -> Array:
    """x and probabilities (N, C, *): "mean" divides by the number of samples."""
    classes = x.shape[1]
    w = np.ones(classes) if weight is None else weight.astype(np.float64)
    q = (1 - label_smoothing) * target.astype(np.float64) + label_smoothing / classes
    return reduce(-(w * _rows(q * log_softmax(x.astype(np.float64), 1))).sum(-1), reduction)


def nll(
    x: Array, target: Array, weight: Array | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Array:
    w = np.ones(x.shape[1]) if weight is None else weight
    rows, losses, total = _rows(x), np.zeros(target.shape), 0.0
    for place in np.ndindex(target.shape):
        t = target[place]
        if t != ignore_index:
            losses[place], total = -w[t] * rows[place][t], total + w[t]
    return losses.sum() / total if reduction == "mean" else reduce(losses, reduction)


def bce(x: Array, y: Array) -> Array:
    with np.errstate(divide="ignore"):
        return -(y * np.maximum(np.log(x), -100) + (1 - y) * np.maximum(np.log(1 - x), -100))


def bce_with_logits(x: Array, y: Array, pos_weight: Array | float = 1.0) -> Array:
    return pos_weight * y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x)


def kl_div(x: Array, y: Array, log_target: bool = False) -> Array:
    if log_target:
        return np.exp(y) * (y - x)
    return np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0)), 0.0) - y * x


def poisson_nll(x: Array, y: Array, log_input: bool = True, full: bool = False, eps: float = 1e-8) -> Array:
    loss = np.exp(x) - y * x if log_input else x - y * np.log(x + eps)
    if full:
        z = np.maximum(y, 1.0)
        loss = loss + np.where(y > 1, z * np.log(z) - z + 0.5 * np.log(2 * np.pi * z), 0.0)
    return loss


def gaussian_nll(x: Array, y: Array, var: Array, full: bool = False, eps: float = 1e-6) -> Array:
    v = np.maximum(var, eps)
    return 0.5 * (np.log(v) + (x - y) ** 2 / v) + (0.5 * np.log(2 * np.pi) if full else 0.0)


def mse(x: Array, y: Array) -> Array:
    return (x - y) ** 2


def l1(x: Array, y: Array) -> Array:
    return np.abs(x - y)


def huber(x: Array, y: Array, delta: float = 1.0) -> Array:
    d = np.abs(x - y)
    return np.where(d < delta, d**2 / 2, delta * (d - delta / 2))


def smooth_l1(x: Array, y: Array, beta: float = 1.0) -> Array:
    return huber(x, y, beta) / beta if beta else l1(x, y)


def cosine_embedding(a: Array, b: Array, y: Array, margin: float = 0.0) -> Array:
    cosine = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(y == 1, 1 - cosine, np.maximum(0, cosine - margin))


def triplet(
    a: Array, p: Array, n: Array, margin: float = 1.0, power: float = 2.0, eps: float = 1e-6, swap: bool = False
) -> Array:
    def distance(x: Array, y: Array) -> Array:
        return (np.abs(x - y + eps) ** power).sum(-1) ** (1 / power)

    far = np.minimum(distance(a, n), distance(p, n)) if swap else distance(a, n)
    return np.maximum(0, distance(a, p) - far + margin)


def hinge(x: Array, y: Array, margin: float = 1.0) -> Array:
    return np.maximum(0, margin - y * x)


def _violations(x: Array, target: Array, margin: float) -> Array:
    violations = np.maximum(0, margin + x - x[np.arange(len(x)), target][:, None])
    violations[np.arange(len(x)), target] = 0
    return violations


def weston_watkins(x: Array, target: Array, margin: float = 1.0) -> Array:
    return _violations(x, target, margin).sum(1)


def crammer_singer(x: Array, target: Array, margin: float = 1.0) -> Array:
    return _violations(x, target, margin).max(1)


def multi_margin(x: Array, target: Array, p: int = 1, margin: float = 1.0, weight: Array | None = None) -> Array:
    losses = (_violations(x, target, margin) ** p).mean(1)
    return losses if weight is None else losses * weight[target]


def margin_ranking(a: Array, b: Array, y: Array, margin: float = 0.0) -> Array:
    return np.maximum(0, margin - y * (a - b))


def hinge_embedding(x: Array, y: Array, margin: float = 1.0) -> Array:
    return np.where(y == 1, x, np.maximum(0, margin - x))


def soft_margin(x: Array, y: Array) -> Array:
    return np.logaddexp(0, -y * x)


def multilabel_margin(x: Array, target: Array) -> Array:
    losses = np.zeros(len(x))
    for row in range(len(x)):
        end = list(target[row]).index(-1) if -1 in target[row] else x.shape[1]
        right = list(target[row, :end])
        for j in set(range(x.shape[1])) - set(right):
            losses[row] += sum(max(0.0, 1 - (x[row, y] - x[row, j])) for y in right)
    return losses / x.shape[1]


def multilabel_soft_margin(x: Array, y: Array, weight: Array | float = 1.0) -> Array:
    return (bce_with_logits(x, y) * weight).mean(-1)


def ctc(log_probs: Array, labels: list[int], blank: int = 0) -> float:
    """-log of the probability of all alignments of `labels` to (T, C): every path is added up."""
    extended = [blank]
    for label in labels:
        extended += [label, blank]
    alpha = np.full(len(extended), -np.inf)
    alpha[0] = log_probs[0, blank]
    if len(extended) > 1:
        alpha[1] = log_probs[0, extended[1]]
    for row in log_probs[1:]:
        before = alpha.copy()
        for s in range(len(extended)):
            paths = [before[s]] + ([before[s - 1]] if s else [])
            if s > 1 and extended[s] not in (blank, extended[s - 2]):
                paths.append(before[s - 2])
            alpha[s] = np.logaddexp.reduce(paths) + row[extended[s]]
    return float(-np.logaddexp.reduce(alpha[-2:]))


def linear_cross_entropy(
    x: Array,
    layer: Array,
    bias: Array,
    target: Array,
    weight: Array,
    smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> tuple[Array, tuple[Array, Array, Array]]:
    """The loss of the scores x layer^T + bias, and the gradients of its sum by x, layer and bias."""
    scores = x.astype(np.float64) @ layer.T.astype(np.float64) + bias
    kept = target != ignore_index
    safe = np.where(kept, target, 0)
    q = weight * ((1 - smoothing) * np.eye(len(layer))[safe] + smoothing / len(layer)) * kept[:, None]
    p = softmax(scores, 1)
    top = scores.max(1, keepdims=True)
    losses = -(q * (scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True)))).sum(1)
    total = (weight[safe] * kept).sum() if reduction == "mean" else 1.0
    slope = (p * q.sum(1, keepdims=True) - q) / total
    loss = losses if reduction == "none" else losses.sum() / total
    return loss, (slope @ layer, slope.T @ x, slope.sum(0))
