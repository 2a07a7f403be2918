"""From class numbers to vectors."""

from __future__ import annotations

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import no_grad
from dd2424.functional.index import index_add
from dd2424.functional.reduce import renorm
from dd2424.functional.sort import searchsorted
from dd2424.functional.sort_sets import unique

__all__ = ["embedding", "embedding_bag", "one_hot"]


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
    if padding_idx is not None:
        rows = weight.shape[0]
        if not -rows <= padding_idx < rows:
            raise RuntimeError(f"embedding: padding_idx must be in [-{rows}, {rows}), got {padding_idx}")
        padding_idx %= rows
    if max_norm is not None:
        _limit(weight, input, max_norm, norm_type)
    return _core.embedding(input, weight, -1 if padding_idx is None else padding_idx, scale_grad_by_freq)


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
    if scale_grad_by_freq and mode == "max":
        raise RuntimeError("embedding_bag: scale_grad_by_freq must be False in mode 'max', got True")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(f"embedding_bag: mode must be 'sum' with per_sample_weights, got '{mode}'")
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(f"embedding_bag: per_sample_weights must be {tuple(input.shape)}, "
                         f"got {tuple(per_sample_weights.shape)}")  # fmt: skip
    if per_sample_weights is not None and per_sample_weights.dtype != weight.dtype:
        raise RuntimeError(f"embedding_bag: per_sample_weights must be {weight.dtype}, got {per_sample_weights.dtype}")
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise RuntimeError(f"embedding_bag: padding_idx must be in [-{rows}, {rows}), got {padding_idx}")
    count, bags = _bags(input, offsets, include_last_offset)
    flat = input.reshape((-1,))[: bags.shape[0]]
    if max_norm is not None:
        _limit(weight, flat, max_norm, norm_type)
    is_kept = None if padding_idx is None else flat != padding_idx % rows
    if mode == "max":
        if is_kept is not None:
            flat, bags = flat[is_kept], bags[is_kept]
        return _core.largest_rows(weight, flat, bags, count)
    kept = None if is_kept is None else is_kept.to(weight.dtype)
    factor = kept
    if per_sample_weights is not None:
        given = per_sample_weights.reshape((-1,))[: bags.shape[0]]
        factor = given if kept is None else given * kept
    if scale_grad_by_freq:  # the sum itself is not scaled
        picked = _core.embedding(flat, weight, -1, True)
        total = _core.row_sums(picked, None, bags, factor, count)
    else:
        total = _core.row_sums(weight, flat, bags, factor, count)
    return total if mode == "sum" else total / _sizes(count, bags, kept, weight).unsqueeze(1)


def _bags(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> tuple[int, Tensor]:
    """How many bags there are, and the one of each element of the flat input, as far as there are any."""
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError("embedding_bag: offsets must be None where input has 2 dimensions, got a tensor")
        count = input.shape[0]
        return count, _core.arange(0, count, device=input.device).unsqueeze(1).expand((count, input.shape[1])).reshape(
            (-1,)
        )
    if input.ndim != 1:
        raise ValueError(f"embedding_bag: input must have 1 or 2 dimensions, got {input.ndim}")
    if offsets is None or offsets.ndim != 1:
        raise ValueError("embedding_bag: offsets must be a vector where input has 1 dimension, got "
                         f"{None if offsets is None else tuple(offsets.shape)}")  # fmt: skip
    size, starts = input.shape[0], offsets.shape[0]
    last = int(offsets[-1]) if starts else 0
    if starts and not (int(offsets[0]) == 0 and last <= size and bool((offsets[1:] >= offsets[:-1]).all())):
        raise ValueError(f"embedding_bag: offsets must rise from 0 to at most {size}, got {offsets.tolist()}")
    used = last if include_last_offset or not starts else size
    return max(starts - include_last_offset, 0), searchsorted(
        offsets, _core.arange(0, used, device=offsets.device), right=True
    ) - 1


def _sizes(count: int, bags: Tensor, kept: Tensor | None, weight: Tensor) -> Tensor:
    """How many elements each bag has, at least 1."""
    ones = _core.ones(bags.shape, dtype=weight.dtype, device=weight.device) if kept is None else kept
    return _core.clamp(index_add(_core.zeros((count,), dtype=weight.dtype, device=weight.device), 0, bags, ones), 1.0)


def _limit(weight: Tensor, flat: Tensor, max_norm: float, norm_type: float) -> None:
    with no_grad():
        used = unique(flat)
        weight[used] = renorm(weight[used], norm_type, 0, max_norm)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Rows of zeros with a 1 at the class number, as int64; without `num_classes`, the largest number decides.

    Shapes: input (*); output (*, num_classes). Raises: RuntimeError for a number outside [0, num_classes),
    except in a captured graph, where such a number gives a row of zeros.
    """
    classes = num_classes
    if num_classes == -1 or not _core.cuda_is_capturing():  # what a graph will hold can't be looked at
        classes = _checked_classes(tensor, num_classes)
    return (tensor.unsqueeze(-1) == _core.arange(0, classes, device=tensor.device)).to(_core.int64)


def _checked_classes(tensor: Tensor, num_classes: int) -> int:
    if tensor.numel() and int(tensor.min().item()) < 0:
        raise RuntimeError(f"one_hot: tensor must be non-negative, got {int(tensor.min().item())}")
    largest = int(tensor.max().item()) if tensor.numel() else -1
    classes = largest + 1 if num_classes == -1 else num_classes
    if largest >= classes:
        raise RuntimeError(f"one_hot: tensor must be below num_classes {classes}, got {largest}")
    return classes
