"""Losses of probabilities: cross-entropy in its forms, Kullback-Leibler, Poisson and Gaussian likelihoods."""

from __future__ import annotations

import math

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._types import Reduction
from dd2424.functional.loss_reduction import legacy_reduction, reduce_loss

# fmt: off
__all__ = [
    "cross_entropy", "linear_cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "kl_div", "poisson_nll_loss", "gaussian_nll_loss",
]
# fmt: on


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The negative logarithm of the probability that softmax(input) gives to the target, one fused kernel.

        loss_n = -w[y_n] log softmax(x_n)[y_n]         (class numbers; "mean" divides by the sum of w[y_n])
        loss_n = -sum_c w_c y_nc log softmax(x_n)[c]   (probabilities; "mean" divides by N)

    Label smoothing s replaces the target by (1 - s) * target + s / C. Targets equal to `ignore_index` do not count.

    Shapes: input (N, C, *) or (C,); target (N, *) or () of class numbers, or the input's of probabilities; weight (C,).
    Raises: IndexError for a class outside [0, C); RuntimeError or ValueError for shapes that do not fit.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if weight is None and ignore_index == -100 and reduction == "mean" and label_smoothing == 0:
        return _core.cross_entropy(input, target)  # without sorting arguments, which takes longer than a small loss
    return _core.cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: object = None,
) -> Tensor:
    """cross_entropy(linear(input, linear_weight, linear_bias), target, ...), whose scores are never there as a whole.

    Rows are taken so many at a time that their scores fill 64 MB in float32; of "mean" and "sum" the gradients are made
    on the way forward, of "none" on the way back from scores that are made again. Targets that are probabilities, other
    dtypes than float32 and float64, and scores of several dimensions go through the whole scores. `options` is taken
    for the sake of PyTorch's signature: there is nothing to choose.

    Shapes: input (N, D) or (D,); linear_weight (C, D) or (C, *, D); linear_bias (C,) or (C, *); target (N, *) or () of
    class numbers, or (N, C, *) of probabilities; weight (C,).
    Raises: what `cross_entropy` raises; RuntimeError where input and linear_weight do not fit.
    """
    ignored = -100 if ignore_index is None else ignore_index
    if input.ndim == 2 and linear_weight.ndim == 2:
        return _core.linear_cross_entropy(
            input, linear_weight, target, linear_bias, weight, ignored, reduction, label_smoothing
        )
    if input.ndim not in (1, 2) or linear_weight.ndim < 2 or (input.ndim == 1 and linear_weight.ndim > 2):
        raise RuntimeError(
            f"linear_cross_entropy: input must be (N, D) or (D,) and linear_weight (C, D) or (C, *, D), got "
            f"{tuple(input.shape)} and {tuple(linear_weight.shape)}"
        )
    bias = None if linear_bias is None else linear_bias.reshape((-1,))
    scores = _core.linear(input, linear_weight.reshape((-1, linear_weight.shape[-1])), bias)
    scores = scores.reshape((*input.shape[:-1], *linear_weight.shape[:-1]))
    return _core.cross_entropy(scores, target, weight, ignored, reduction, label_smoothing)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """-w[y_n] * x_n[y_n] for log-probabilities x; "mean" divides by the sum of w[y_n].

    Shapes: input (N, C, *) or (C,); target (N, *) or (); weight (C,).
    Raises: ValueError for a target of another shape; IndexError for a class outside [0, C) that is not `ignore_index`.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    dim = 1 if input.ndim > 1 else 0
    shape, classes = (*input.shape[:dim], *input.shape[dim + 1 :]), input.shape[dim]
    if tuple(target.shape) != shape:
        raise ValueError(f"nll_loss: target must be {shape} for input {tuple(input.shape)}, got {tuple(target.shape)}")
    if weight is None and _all_within(target, classes, ignore_index):  # most often: no need to look at each again
        losses = -_core.gather(input, dim, target.unsqueeze(dim)).squeeze(dim)
        return losses.sum() / losses.numel() if reduction == "mean" else reduce_loss(losses, reduction)
    kept = target != ignore_index
    chosen = _core.where(kept, target, 0)
    may_look = target.numel() and not _core.cuda_is_capturing()
    if may_look and not 0 <= int(chosen.min().item()) <= int(chosen.max().item()) < classes:
        raise IndexError(f"nll_loss: target must be from 0 to {classes - 1}, or ignore_index {ignore_index}, got "
                         f"{int(chosen.min().item())} to {int(chosen.max().item())}")  # fmt: skip
    rates = kept.to(input.dtype) if weight is None else _core.where(kept, weight[chosen], 0)
    losses = -_core.gather(input, dim, chosen.unsqueeze(dim)).squeeze(dim)
    losses = _core.where(kept, losses * rates, 0)  # an ignored one counts for nothing, be it infinite
    return losses.sum() / rates.sum() if reduction == "mean" else reduce_loss(losses, reduction)


def _all_within(target: Tensor, classes: int, ignore_index: int) -> bool:
    if target.numel() == 0 or 0 <= ignore_index < classes or _core.cuda_is_capturing():
        return False
    return int(target.min().item()) >= 0 and int(target.max().item()) < classes


def _same_size(name: str, input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        raise ValueError(f"{name}: target must have input's shape {tuple(input.shape)}, got {tuple(target.shape)}")


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """-(y log x + (1 - y) log(1 - x)) for probabilities x; logarithms are cut off at -100.

    Shapes: input and target the same. Raises: ValueError where they differ, RuntimeError for x outside [0, 1].
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _same_size("binary_cross_entropy", input, target)
    if input.numel() and not bool(((input >= 0) & (input <= 1)).all()):
        raise RuntimeError("binary_cross_entropy: input must be between 0 and 1, got elements outside")
    losses = (target - 1) * _log(1 - input) - target * _log(input)
    return reduce_loss(losses if weight is None else losses * weight, reduction)


def _log(x: Tensor) -> Tensor:
    # log, not below -100; its slope 1 / x is bounded too, so that an exact 0 times its target 0 leaves no NaN.
    return _core.where(x > 0, _core.clamp(_core.log(_core.clamp(x, 1e-38)), -100.0), -100.0)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(p y log sigmoid(x) + (1 - y) log sigmoid(-x)), p being `pos_weight`, which broadcasts. Without overflow.

    Shapes: input and target the same. Raises: ValueError where they differ.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _same_size("binary_cross_entropy_with_logits", input, target)
    positive = target if pos_weight is None else target * pos_weight
    losses = (target - 1) * _core.logsigmoid(-input) - positive * _core.logsigmoid(input)
    return reduce_loss(losses if weight is None else losses * weight, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    log_target: bool = False,
) -> Tensor:
    """y * (log y - x) for log-probabilities x and probabilities y (or their logarithms, with `log_target`).

    "batchmean", the divergence itself, divides the sum by the first dimension's size.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    losses = _core.exp(target) * (target - input) if log_target else _core.xlogy(target, target) - target * input
    if reduction == "batchmean":
        return _core.sum(losses) / input.shape[0]
    return reduce_loss(losses, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """e^x - y x, or with log_input=False x - y log(x + eps); `full` adds Stirling's term where y > 1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    losses = _core.exp(input) - target * input if log_input else input - target * _core.log(input + eps)
    if full:
        y = _core.clamp(target, 1.0)
        stirling = y * _core.log(y) - y + 0.5 * _core.log(2 * math.pi * y)
        losses = losses + _core.where(target > 1, stirling, 0.0)
    return reduce_loss(losses, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> Tensor:
    """(log v + (x - y)^2 / v) / 2 for a predicted mean x and variance v, at least eps; `full` adds log(2 pi) / 2.

    Shapes: var the input's, or with a last dimension of 1, or without it. Raises: ValueError for another shape, or
    for a negative variance.
    """
    spread = var if isinstance(var, Tensor) else _core.full(input.shape, var, dtype=input.dtype, device=input.device)
    if spread.shape != input.shape:
        if spread.shape == input.shape[:-1]:
            spread = spread.unsqueeze(-1)
        elif tuple(spread.shape) != (*input.shape[:-1], 1):
            raise ValueError(f"gaussian_nll_loss: var must fit input {tuple(input.shape)}, got {tuple(spread.shape)}")
    if bool((spread < 0).any()):
        raise ValueError("gaussian_nll_loss: var must be non-negative, got negative elements")
    # The cut-off takes no part in the gradient: below eps the variance still learns.
    bounded = spread + (_core.clamp(spread, eps) - spread).detach()
    losses = 0.5 * (_core.log(bounded) + _core.square(input - target) / bounded)
    return reduce_loss(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)
