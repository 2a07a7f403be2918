"""From one loss an element to what the user asked for; and penalties on parameters."""

from __future__ import annotations

from collections.abc import Iterable

from dd2424 import _core
from dd2424._core import Tensor

__all__ = ["l1_penalty", "l2_penalty"]


def reduce_loss(losses: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or the losses themselves. Raises: ValueError for another reduction."""
    if reduction == "mean":
        return _core.mean(losses)
    if reduction == "sum":
        return _core.sum(losses)
    if reduction == "none":
        return losses
    raise ValueError(f'reduction must be "none", "mean" or "sum", got "{reduction}"')


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str = "mean") -> str:
    """What PyTorch's old arguments `size_average` and `reduce` mean, where either is given."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def l2_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """The sum of squares of all elements: lambda times it is added to the mean loss (biases are usually left out).

    Its gradient is 2 * lambda * W, so that `weight_decay = 2 * lambda` of an optimizer does the same for less.
    """
    return _sum_over([_core.sum(_core.square(parameter)) for parameter in parameters])


def l1_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """The sum of absolute values of all elements."""
    return _sum_over([_core.sum(_core.abs(parameter)) for parameter in parameters])


def _sum_over(terms: list[Tensor]) -> Tensor:
    if not terms:
        return _core.zeros(())
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
