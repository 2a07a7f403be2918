"""From class numbers to vectors."""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import no_grad
from dd2424.autograd.function import Function
from dd2424.functional.index import index_add
from dd2424.functional.index_sort import bincount, unique
from dd2424.functional.reduce import renorm

__all__ = ["embedding", "embedding_bag", "one_hot"]


class _ScaledGradient(Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return dy * factor, None


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
    first scaled down to that norm, in place; `scale_grad_by_freq` divides each row's gradient by how often it was
    used. Gradients are always dense.

    Shapes: input (*); weight (V, D); output (*, D).
    Raises: IndexError for a number outside [0, V); RuntimeError for numbers that are no integers.
    """
    flat, rows = input.reshape((-1,)), weight.shape[0]
    if input.dtype not in (_core.int64, _core.int32):
        raise RuntimeError(f"embedding: input must be int64 or int32, got {input.dtype}")
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise RuntimeError(f"embedding: padding_idx must be in [-{rows}, {rows}), got {padding_idx}")
    if flat.numel() and int(flat.min().item()) < 0:
        raise IndexError(f"embedding: input must be from 0 to {rows - 1}, got {int(flat.min().item())}")
    if max_norm is not None:
        _limit(weight, flat, max_norm, norm_type)
    chosen = _core.index_select(weight, 0, flat)
    if weight.requires_grad and padding_idx is not None:
        is_padding = (flat == padding_idx % rows).unsqueeze(1)
        chosen = _core.where(is_padding, chosen.detach(), chosen)
    if weight.requires_grad and scale_grad_by_freq and flat.numel():
        counts = _core.index_select(bincount(flat, minlength=rows), 0, flat)
        chosen = _ScaledGradient.apply(chosen, (1 / counts.to(weight.dtype)).unsqueeze(1))
    return chosen.reshape((*input.shape, weight.shape[1]))


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or largest elements ("sum", "mean", "max") of the rows of `weight` that are in one bag.

    Bags are the rows of a matrix, or stretches of a vector that begin at `offsets` (whose last is the end, with
    `include_last_offset`). Numbers equal to `padding_idx` are not in any; an empty bag gives zeros.
    `per_sample_weights` multiplies each row, for "sum" only.
    Shapes: input (B, N), or (N,) with offsets (B,); weight (V, D); per_sample_weights as input; output (B, D).
    Raises: ValueError for other shapes or modes, NotImplementedError for weights in another mode.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode must be 'sum', 'mean' or 'max', got '{mode}'")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(f"embedding_bag: mode must be 'sum' with per_sample_weights, got '{mode}'")
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(f"embedding_bag: per_sample_weights must be {tuple(input.shape)}, "
                         f"got {tuple(per_sample_weights.shape)}")  # fmt: skip
    starts = _starts(input, offsets, include_last_offset)
    flat = input.reshape((-1,))
    rows = embedding(flat, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape((-1, 1))
    kept = _core.ones(flat.shape, dtype=_core.bool) if padding_idx is None else flat != padding_idx % weight.shape[0]
    ends = [*starts[1:], flat.numel()]
    if mode == "max":
        return _core.stack([_largest(rows[a:b], kept[a:b]) for a, b in zip(starts, ends, strict=True)])
    bags = _core.tensor([bag for bag, (a, b) in enumerate(zip(starts, ends, strict=True)) for _ in range(a, b)],
                        dtype=_core.int64)  # fmt: skip
    rows = _core.where(kept.unsqueeze(1), rows, 0)
    total = index_add(_core.zeros((len(starts), weight.shape[1]), dtype=rows.dtype), 0, bags, rows)
    if mode == "sum":
        return total
    counts = index_add(_core.zeros((len(starts),), dtype=rows.dtype), 0, bags, kept.to(rows.dtype))
    return total / _core.clamp(counts, 1.0).unsqueeze(1)


def _starts(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> list[int]:
    """Where each bag begins in the flattened input."""
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError("embedding_bag: offsets must be None where input has 2 dimensions, got a tensor")
        return [row * input.shape[1] for row in range(input.shape[0])]
    if input.ndim != 1:
        raise ValueError(f"embedding_bag: input must have 1 or 2 dimensions, got {input.ndim}")
    if offsets is None or offsets.ndim != 1:
        raise ValueError("embedding_bag: offsets must be a vector where input has 1 dimension, got "
                         f"{None if offsets is None else tuple(offsets.shape)}")  # fmt: skip
    starts: list[int] = [int(start) for start in offsets.tolist()]
    if (starts and starts[0] != 0) or starts != sorted(starts) or (starts and starts[-1] > input.numel()):
        raise ValueError(f"embedding_bag: offsets must rise from 0 to at most {input.numel()}, got {starts}")
    return starts[:-1] if include_last_offset else starts


def _largest(rows: Tensor, kept: Tensor) -> Tensor:
    if not bool(kept.any()):
        return rows.new_zeros((rows.shape[1],))
    largest: Tensor = _core.where(kept.unsqueeze(1), rows, float("-inf")).max(0)[0]
    return largest


def _limit(weight: Tensor, flat: Tensor, max_norm: float, norm_type: float) -> None:
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
