"""Order: everything that sorts, counts or looks up in sorted order. NaN counts as the largest."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._types import Number
from dd2424.functional.shape import _wrap

# fmt: off
__all__ = [
    "sort", "msort", "argsort", "topk", "kthvalue", "median", "nanmedian", "mode", "quantile", "nanquantile", "cummax",
    "cummin", "searchsorted", "bucketize",
]
# fmt: on


class ValuesAndIndices(NamedTuple):
    """Elements, and where along the dimension they stood (int64)."""

    values: Tensor
    indices: Tensor


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesAndIndices:
    """Sorted along `dim`, always stably; NaN counts as the largest. Source: Musser, "Introspective sorting and
    selection algorithms", 1997; Batcher, "Sorting networks and their applications", 1968, for the last 64."""
    return ValuesAndIndices(*_core.sort(input, dim, descending))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort along `dim`, always stably."""
    return _core.sort(input.detach(), dim, descending)[1]


def msort(input: Tensor) -> Tensor:
    """Sorted along the first dimension."""
    return _core.sort(input, 0, False)[0]


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesAndIndices:
    """The k largest (or smallest) elements along `dim`, best first, equals in their order.

    Raises: RuntimeError where there are fewer.
    """
    return ValuesAndIndices(*_core.topk(input, k, dim, largest))


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The k-th smallest element along `dim`, counted from 1; of equals the first comes first.

    Raises: RuntimeError for k outside of [1, size].
    """
    return ValuesAndIndices(*_core.kthvalue(input, k, dim, keepdim))


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower of two; a NaN wins. Along `dim`, (values, indices). Raises: IndexError for an
    empty dimension."""
    if dim is None:
        return _core.median(_over_all(input), 0, False)[0]
    return ValuesAndIndices(*_core.median(input, dim, keepdim))


def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element of those that are not NaN, the lower of two."""
    if dim is None:
        return _core.nanmedian(_over_all(input), 0, False)[0]
    return ValuesAndIndices(*_core.nanmedian(input, dim, keepdim))


def _over_all(input: Tensor) -> Tensor:
    """A vector; of nothing the median is NaN."""
    if input.numel() == 0 and input.is_floating_point():
        return _core.full((1,), math.nan, dtype=input.dtype, device=input.device)
    return _core.reshape(input, (-1,))


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The most frequent element along `dim`, the smallest of equally frequent ones, at its last index."""
    along = _wrap(dim, input.ndim, "mode")
    ordered, places = _core.sort(input.detach(), along, False)
    if input.ndim == 0:
        return ValuesAndIndices(input.clone(), places)
    size = input.shape[along]
    if size == 0:
        raise IndexError(f"mode: dim must not be empty, got shape {tuple(input.shape)}")
    column = [1] * input.ndim
    column[along] = size
    numbers = _core.reshape(_core.arange(0, size, device=input.device), column)
    first = _core.ones_like(_core.narrow(ordered, along, 0, 1), dtype=_core.bool)
    differs = _core.narrow(ordered, along, 1, size - 1) != _core.narrow(ordered, along, 0, size - 1)
    begins = _core.cat([first, differs], along)
    lengths = numbers - _core.cummax(_core.where(begins, numbers, 0), along)[0]  # so far, of the run of equals
    indices = _core.gather(places, along, _core.argmax(lengths, along, True))
    values = _core.gather(input, along, indices)
    return ValuesAndIndices(*(t if keepdim else t.squeeze(along) for t in (values, indices)))


def quantile(
    input: Tensor,
    q: Tensor | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The elements at fractions q of the sorted order along `dim`; NaN where there is one.

    Shapes: those of q, then of the reduced input.
    Raises: RuntimeError for an integer input, another dtype of q or a fraction outside [0, 1].
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


def nanquantile(
    input: Tensor,
    q: Tensor | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """`quantile` of the elements that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


def _fractions(name: str, input: Tensor, q: Tensor | float) -> Tensor:
    if not input.is_floating_point():
        raise RuntimeError(f"{name}: input must be floating-point, got {input.dtype}")
    fractions = q if isinstance(q, Tensor) else _core.tensor(q, dtype=input.dtype, device=input.device)
    if fractions.dtype != input.dtype or fractions.ndim > 1:
        raise RuntimeError(f"{name}: q must be a number or a vector of {input.dtype}, got {fractions.dtype}")
    if not bool(((fractions >= 0) & (fractions <= 1)).all()):
        raise RuntimeError(f"{name}: q must be in [0, 1], got {fractions.tolist()}")
    return fractions


def _quantile(
    name: str, input: Tensor, q: Tensor | float, dim: int | None, keepdim: bool, interpolation: str
) -> Tensor:
    fractions = _fractions(name, input, q)
    x, along = (_core.reshape(input, (-1,)), 0) if dim is None else (input, _wrap(dim, input.ndim, name))
    missing = _core.isnan(x)
    counts = _core.sum(_core.logical_not(missing) if name == "nanquantile" else missing | True, along, True)
    shape = [1] * x.ndim
    shape[along] = -1  # the fractions take the place of what is reduced
    ranks = _core.reshape(fractions, shape).double() * _core.clamp(counts - 1, 0)
    low, high = _core.floor(ranks), _core.ceil(ranks)
    if interpolation in ("lower", "higher", "nearest"):
        low = high = {"lower": low, "higher": high, "nearest": _core.round(ranks)}[interpolation]
    elif interpolation not in ("linear", "midpoint"):
        raise RuntimeError(
            f"{name}: interpolation must be linear, lower, higher, midpoint or nearest, got {interpolation}"
        )
    weight = (ranks - low) if interpolation == "linear" else (high - low) * 0.5
    ordered = sort(x, along).values
    below, above = (_core.gather(ordered, along, rank.to(_core.int64)) for rank in (low, high))
    between = below + (above - below) * weight.to(x.dtype)
    if name == "quantile":
        between = _core.masked_fill(between, _core.any(missing, along, True), float("nan"))
    moved = between.movedim(along, 0)
    if keepdim:
        moved = moved.reshape((-1, *[1] * input.ndim)) if dim is None else moved.unsqueeze(along + 1)
    return _core.reshape(moved, (*fractions.shape, *moved.shape[1:]))


def cummax(input: Tensor, dim: int) -> ValuesAndIndices:
    """The largest element so far along `dim`, the last of equals; from the first NaN on, NaN."""
    return ValuesAndIndices(*_core.cummax(input, dim))


def cummin(input: Tensor, dim: int) -> ValuesAndIndices:
    """The smallest element so far along `dim`, the last of equals; from the first NaN on, NaN."""
    return ValuesAndIndices(*_core.cummin(input, dim))


def searchsorted(
    sorted_sequence: Tensor,
    input: Tensor | Number,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each element would be inserted to keep the order along the last dimension, before (or after) equals.

    Raises: RuntimeError where the other dimensions of a sequence of several rows are not the input's, or where side
    is neither "left" nor "right" or contradicts `right`.
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise RuntimeError(f'searchsorted: side must be "left" or "right", and agree with right, got "{side}", {right}')
    edges = sorted_sequence if sorter is None else _core.gather(sorted_sequence, -1, sorter)
    values = input if isinstance(input, Tensor) else _core.tensor(input, device=edges.device)
    found = _core.searchsorted(edges, values, right or side == "right")
    return found.to(_core.int32) if out_int32 else found


def bucketize(input: Tensor | Number, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The bucket of each element between sorted boundaries; `right` closes buckets on the left."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
