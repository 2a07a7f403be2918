"""From class numbers to vectors."""

from __future__ import annotations

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import no_grad

__all__ = ["embedding", "one_hot"]


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` at these numbers. Row `padding_idx` gets no gradient; with `max_norm`, the rows used are
    first scaled down to that norm, in place. Gradients are always dense.

    Shapes: input (*); weight (V, D); output (*, D).
    Raises: IndexError for a number outside [0, V); NotImplementedError for scale_grad_by_freq.
    """
    if scale_grad_by_freq:
        raise NotImplementedError("embedding: scale_grad_by_freq must be False, got True")
    flat, rows = input.reshape((-1,)), weight.shape[0]
    if max_norm is not None:
        _limit(weight, flat, max_norm, norm_type)
    if padding_idx is not None and weight.requires_grad:
        is_padding = (flat == padding_idx % rows).unsqueeze(1)
        chosen = _core.index_select(weight, 0, flat)
        chosen = _core.where(is_padding, chosen.detach(), chosen)
    else:
        chosen = _core.index_select(weight, 0, flat)
    return chosen.reshape((*input.shape, weight.shape[1]))


def _limit(weight: Tensor, flat: Tensor, max_norm: float, norm_type: float) -> None:
    from dd2424.functional.index_sort import unique
    from dd2424.functional.reduce import renorm

    with no_grad():
        used = unique(flat)
        weight[used] = renorm(weight[used], norm_type, 0, max_norm)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Rows of zeros with a 1 at the class number, as int64; without `num_classes`, the largest number decides.

    Shapes: input (*); output (*, num_classes). Raises: RuntimeError for a number outside [0, num_classes).
    """
    if tensor.numel() and int(tensor.min().item()) < 0:
        raise RuntimeError(f"one_hot: tensor must be non-negative, got {int(tensor.min().item())}")
    largest = int(tensor.max().item()) if tensor.numel() else -1
    classes = largest + 1 if num_classes == -1 else num_classes
    if largest >= classes:
        raise RuntimeError(f"one_hot: tensor must be below num_classes {classes}, got {largest}")
    return (tensor.unsqueeze(-1) == _core.arange(0, classes)).to(_core.int64)
