"""Losses of distances: between numbers, and between embeddings."""

from __future__ import annotations

from collections.abc import Callable

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._types import Reduction
from dd2424.functional.gemm import cosine_similarity, pairwise_distance
from dd2424.functional.loss_reduction import legacy_reduction, reduce_loss

# fmt: off
__all__ = [
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "cosine_embedding_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
# fmt: on


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)^2, times `weight`; the weighted mean divides by the sum of weights."""
    return _weighted(_core.square(input - target), weight, legacy_reduction(size_average, reduce, reduction))


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x - y|, times `weight`; the weighted mean divides by the sum of weights."""
    return _weighted(_core.abs(input - target), weight, legacy_reduction(size_average, reduce, reduction))


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    beta: float = 1.0,
) -> Tensor:
    """(x - y)^2 / (2 beta) where |x - y| < beta, |x - y| - beta / 2 beyond. Raises: RuntimeError for a negative beta.

    Source: Girshick, "Fast R-CNN", arXiv:1504.08083, section 2.3.
    """
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: beta must be non-negative, got {beta}")
    reduction = legacy_reduction(size_average, reduce, reduction)
    distance = _core.abs(input - target)
    if beta == 0:
        return reduce_loss(distance, reduction)
    inner = _core.clamp(distance, None, beta)  # its slope past beta is 0, and the second term's is 1
    return reduce_loss(inner * inner * (0.5 / beta) + (distance - inner), reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: Reduction = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """(x - y)^2 / 2 where |x - y| < delta, delta * (|x - y| - delta / 2) beyond.

    Raises: RuntimeError for a delta that is not positive.
    """
    if delta <= 0:
        raise RuntimeError(f"huber_loss: delta must be positive, got {delta}")
    distance = _core.abs(input - target)
    inner = _core.clamp(distance, None, delta)
    return _weighted(inner * inner * 0.5 + delta * (distance - inner), weight, reduction)


def _weighted(losses: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return reduce_loss(losses, reduction)
    losses = losses * weight
    if reduction == "mean":
        return _core.sum(losses) / _core.sum(weight.expand(losses.shape))
    return reduce_loss(losses, reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.

    Shapes: inputs (N, D) or (D,); target (N,) or ().
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    cosine = cosine_similarity(input1, input2, dim=-1, eps=1e-8)
    apart = _core.clamp(cosine - margin, 0.0)
    zero = _core.zeros_like(cosine.detach())
    losses = _core.where(target == 1, 1 - cosine, zero) + _core.where(target == -1, apart, zero)
    return reduce_loss(losses, reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d being the p-norm of the difference.

    `swap` takes the smaller of the negative's distances to anchor and positive. Shapes: (N, D) or (D,).
    """

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    reduction = legacy_reduction(size_average, reduce, reduction)
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own."""
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: margin must be positive, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _core.minimum(far, distance(positive, negative))
    return reduce_loss(_core.clamp(near - far + margin, 0.0), reduction)
