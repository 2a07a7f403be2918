"""Losses of margins: hinges and support vector machines."""

from __future__ import annotations

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._types import Reduction
from dd2424.functional.loss_reduction import legacy_reduction, reduce_loss

# fmt: off
__all__ = [
    "hinge_loss", "multi_margin_loss", "weston_watkins_loss", "crammer_singer_loss", "margin_ranking_loss",
    "hinge_embedding_loss", "soft_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
]
# fmt: on


def hinge_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """max(0, margin - y x) for targets y of -1 and 1: the binary support vector machine.

    Shapes: input and target the same. Raises: ValueError where they differ.
    """
    if input.shape != target.shape:
        raise ValueError(f"hinge_loss: target must have input's shape {tuple(input.shape)}, got {tuple(target.shape)}")
    return reduce_loss(_core.relu(margin - target * input), reduction)


def _rows(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Scores as (N, C) and class numbers as (N, 1), checked."""
    if input.ndim not in (1, 2) or input.shape[-1] == 0:
        raise RuntimeError(f"{name}: input must be (N, C) or (C,) with C > 0, got {tuple(input.shape)}")
    if tuple(target.shape) != tuple(input.shape[:-1]):
        raise RuntimeError(f"{name}: target must be {tuple(input.shape[:-1])}, got {tuple(target.shape)}")
    scores, classes = input.reshape((-1, input.shape[-1])), target.reshape((-1, 1))
    may_look = classes.numel() and not _core.cuda_is_capturing()
    if may_look and not (int(classes.min().item()) >= 0 and int(classes.max().item()) < scores.shape[1]):
        raise IndexError(f"{name}: target must be in [0, {scores.shape[1]}), got {int(classes.min().item())} to "
                         f"{int(classes.max().item())}")  # fmt: skip
    return scores, classes


def _violations(scores: Tensor, classes: Tensor, margin: float) -> Tensor:
    """max(0, margin + x_j - x_y) for every wrong class j, and 0 for the right one. Shapes: (N, C)."""
    right = _core.gather(scores, 1, classes)
    return _core.relu(scores - right + margin).scatter(1, classes, 0.0)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """w_y * sum over wrong classes j of max(0, margin + x_j - x_y)^p, divided by the number of classes.

    Shapes: input (N, C) or (C,); target (N,) or (). Raises: ValueError for p other than 1 and 2.
    """
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p must be 1 or 2, got {p}")
    reduction = legacy_reduction(size_average, reduce, reduction)
    scores, classes = _rows("multi_margin_loss", input, target)
    terms = _violations(scores, classes, margin)
    losses = _core.mean(terms if p == 1 else _core.square(terms), 1)
    if weight is not None:
        losses = losses * _core.index_select(weight, 0, classes.reshape((-1,)))
    return reduce_loss(losses if input.ndim == 2 else losses.reshape(()), reduction)


def weston_watkins_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """The sum over wrong classes j of max(0, margin + x_j - x_y): the multi-class SVM of lecture 2.

    `multi_margin_loss` is the same divided by the number of classes.
    Shapes: input (N, C) or (C,); target (N,) or ().
    Source: Weston and Watkins, "Support vector machines for multi-class pattern recognition", ESANN 1999.
    """
    scores, classes = _rows("weston_watkins_loss", input, target)
    losses = _core.sum(_violations(scores, classes, margin), 1)
    return reduce_loss(losses if input.ndim == 2 else losses.reshape(()), reduction)


def crammer_singer_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """max(0, margin + max over wrong classes j of x_j - x_y): only the worst rival counts.

    Shapes: input (N, C) or (C,); target (N,) or ().
    Source: Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector
        machines", JMLR 2001.
    """
    scores, classes = _rows("crammer_singer_loss", input, target)
    violations = _violations(scores, classes, margin)
    worst = _core.argmax(violations.detach(), 1, True)
    losses = _core.gather(violations, 1, worst)
    return reduce_loss(losses.reshape(input.shape[:-1]), reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """max(0, margin - y * (x1 - x2)): x1 should rank above x2 where y is 1, below where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    return reduce_loss(_core.clamp(margin - target * (input1 - input2), 0.0), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    zero = _core.zeros_like(input.detach())
    apart = _core.where(target != 1, _core.clamp(margin - input, 0.0), zero)
    return reduce_loss(apart + _core.where(target != -1, input, zero), reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """log(1 + e^(-y x)) for targets y of -1 and 1, without overflow."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    return reduce_loss(-_core.logsigmoid(target * input), reduction)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The sum over right classes y and wrong classes j of max(0, 1 - (x_y - x_j)), divided by the number of classes.

    Shapes: input (N, C) or (C,); target the same: class numbers, ended by -1.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if input.shape != target.shape or input.ndim not in (1, 2):
        raise RuntimeError(f"multilabel_margin_loss: target must have input's shape, got {tuple(target.shape)} for "
                           f"{tuple(input.shape)}")  # fmt: skip
    scores, listed = input.reshape((-1, input.shape[-1])), target.reshape((-1, input.shape[-1]))
    counts = (_core.cumsum((listed < 0).to(_core.int64), 1) == 0).to(scores.dtype)  # 1 before the first -1
    classes = _core.clamp(listed, 0)
    is_right = _core.zeros_like(scores.detach()).scatter_add(1, classes, counts) > 0
    right = _core.gather(scores, 1, classes)
    pairs = _core.relu(1 - right.unsqueeze(2) + scores.unsqueeze(1))  # (N, listed, C)
    wanted = counts.unsqueeze(2) * _core.logical_not(is_right).to(scores.dtype).unsqueeze(1)
    losses = _core.sum(pairs * wanted, (1, 2)) / scores.shape[1]
    return reduce_loss(losses if input.ndim == 2 else losses.reshape(()), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """-(y log sigmoid(x) + (1 - y) log sigmoid(-x)), averaged over the last dimension."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    losses = (target - 1) * _core.logsigmoid(-input) - target * _core.logsigmoid(input)
    return reduce_loss(_core.mean(losses if weight is None else losses * weight, -1), reduction)
