"""Indexing by order: everything that sorts, counts or looks up in sorted order. NaN counts as the largest."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._types import Number
from dd2424.functional.shape import _wrap

# fmt: off
__all__ = [
    "sort", "msort", "argsort", "topk", "kthvalue", "median", "nanmedian", "mode", "quantile", "nanquantile", "cummax",
    "cummin", "searchsorted", "bucketize", "unique", "unique_consecutive", "bincount", "histc", "isin",
]
# fmt: on


class ValuesAndIndices(NamedTuple):
    """Elements, and where along the dimension they stood (int64)."""

    values: Tensor
    indices: Tensor


def _indices(array: Any) -> Tensor:
    return _core.from_numpy(np.ascontiguousarray(array, np.int64).reshape(np.shape(array)))


def _order(input: Tensor, dim: int, descending: bool) -> Any:
    """Indices that sort, equals in their order, NaN as the largest."""
    array = input.detach().numpy()
    if array.ndim == 0:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(array, axis=dim, kind="stable")
    turned = np.argsort(np.flip(array, dim), axis=dim, kind="stable")
    return np.ascontiguousarray(np.flip(array.shape[dim] - 1 - turned, dim))


def _taken(input: Tensor, indices: Any, dim: int) -> ValuesAndIndices:
    index = _indices(indices)
    if input.ndim == 0:
        return ValuesAndIndices(input.clone(), index)
    return ValuesAndIndices(_core.gather(input, dim, index), index)


def _alone(input: Tensor) -> ValuesAndIndices:
    """Of a tensor without dimensions: itself, at place 0."""
    return _taken(input, np.zeros((), np.int64), 0)


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesAndIndices:
    """Sorted along `dim`, always stably; NaN counts as the largest."""
    return _taken(input, _order(input, dim, descending), dim)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort along `dim`, always stably."""
    return _indices(_order(input, dim, descending))


def msort(input: Tensor) -> Tensor:
    """Sorted along the first dimension."""
    return sort(input, 0).values


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesAndIndices:
    """The k largest (or smallest) elements along `dim`, best first. Raises: RuntimeError where there are fewer."""
    size = input.shape[dim] if input.ndim else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"topk: k must be in [0, {size}], got {k}")
    order = _order(input, dim, largest)
    return _taken(input, np.take(order, np.arange(k), axis=dim) if input.ndim else order, dim)


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The k-th smallest element along `dim`, counted from 1."""
    size = input.shape[dim] if input.ndim else 1
    if not 1 <= k <= size:
        raise RuntimeError(f"kthvalue: k must be in [1, {size}], got {k}")
    return _at_rank(input, np.take(_order(input, dim, False), [k - 1], axis=dim), dim, keepdim)


def _at_rank(input: Tensor, indices: Any, dim: int, keepdim: bool) -> ValuesAndIndices:
    found = _taken(input, indices, dim)
    return found if keepdim else ValuesAndIndices(found.values.squeeze(dim), found.indices.squeeze(dim))


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower of two; a NaN wins. Along `dim`, (values, indices)."""
    if dim is None:
        return median(_core.reshape(input, (-1,)), 0).values
    if input.ndim == 0:
        return _alone(input)
    order, array = _order(input, dim, False), input.detach().numpy()
    middle = np.take(order, [(input.shape[dim] - 1) // 2], axis=dim)
    if input.is_floating_point():
        bad = np.isnan(array)
        middle = np.where(bad.any(axis=dim, keepdims=True), np.expand_dims(bad.argmax(axis=dim), dim), middle)
    return _at_rank(input, middle, dim, keepdim)


def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element of those that are not NaN, the lower of two."""
    if dim is None:
        return nanmedian(_core.reshape(input, (-1,)), 0).values
    if input.ndim == 0:
        return _alone(input)
    order = _order(input, dim, False)  # NaN come last
    count = (~np.isnan(input.detach().numpy())).sum(axis=dim, keepdims=True)
    return _at_rank(input, np.take_along_axis(order, np.maximum(count - 1, 0) // 2, dim), dim, keepdim)


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The most frequent element along `dim`, the smallest of equally frequent ones, at its last index."""

    def last_of_most_frequent(row: Any) -> int:
        values, counts = np.unique(row, return_counts=True)
        return int(np.nonzero(row == values[counts.argmax()])[0][-1])

    if input.ndim == 0:
        return _alone(input)
    places = np.apply_along_axis(last_of_most_frequent, dim, input.detach().numpy())
    return _at_rank(input, np.expand_dims(places, dim), dim, keepdim)


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
    fractions = q if isinstance(q, Tensor) else _core.tensor(q, dtype=input.dtype)
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


def _running_extreme(input: Tensor, dim: int, better: Any) -> ValuesAndIndices:
    if input.ndim == 0:
        return _alone(input)
    array = np.moveaxis(input.detach().numpy(), dim, 0)
    places = np.zeros(array.shape, np.int64)
    for i in range(1, array.shape[0]):
        best = np.take_along_axis(array, places[i - 1 : i], 0)[0]
        is_new = (
            (better(array[i], best) | (array[i] != array[i])) if array.dtype.kind == "f" else better(array[i], best)
        )
        places[i] = np.where(is_new, i, places[i - 1])
    return _taken(input, np.moveaxis(places, 0, dim), dim)


def cummax(input: Tensor, dim: int) -> ValuesAndIndices:
    """The largest element so far along `dim`, the last of equals."""
    return _running_extreme(input, dim, np.greater_equal)


def cummin(input: Tensor, dim: int) -> ValuesAndIndices:
    """The smallest element so far along `dim`, the last of equals."""
    return _running_extreme(input, dim, np.less_equal)


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

    Raises: RuntimeError where the other dimensions of a sequence of several rows are not the input's.
    """
    after: Literal["left", "right"] = "right" if right or side == "right" else "left"
    edges = sorted_sequence if sorter is None else _core.gather(sorted_sequence, -1, sorter)
    rows, values = edges.detach().numpy(), input.detach().numpy() if isinstance(input, Tensor) else np.asarray(input)
    if rows.ndim == 1:
        found = np.searchsorted(rows, values, after)
    elif rows.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            f"searchsorted: input must have the sequence's first dimensions {rows.shape[:-1]}, got {values.shape}"
        )
    else:
        pairs = zip(rows.reshape(-1, rows.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
        found = np.asarray([np.searchsorted(row, wanted, after) for row, wanted in pairs]).reshape(values.shape)
    return _indices(found).to(_core.int32 if out_int32 else _core.int64)


def bucketize(input: Tensor | Number, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The bucket of each element between sorted boundaries; `right` closes buckets on the left."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements (or slices of `dim`), sorted; if asked, where each one went and how many there were."""
    values, inverse, counts = np.unique(
        input.detach().numpy(), return_inverse=True, return_counts=True, axis=dim, equal_nan=False
    )
    shape = tuple(input.shape) if dim is None else (input.shape[dim],)
    return _with_extras(values, inverse.reshape(shape), counts, return_inverse, return_counts)


def _with_extras(values: Any, inverse: Any, counts: Any, return_inverse: bool, return_counts: bool) -> Any:
    result = [_core.from_numpy(np.ascontiguousarray(values))]
    if return_inverse:
        result.append(_core.from_numpy(np.ascontiguousarray(inverse, np.int64)))
    if return_counts:
        result.append(_core.from_numpy(np.ascontiguousarray(counts, np.int64)))
    return result[0] if len(result) == 1 else tuple(result)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Runs of equal elements (or slices of `dim`) reduced to one each; see `unique`."""
    array = input.detach().numpy()
    rows = array.reshape(-1, 1) if dim is None else np.moveaxis(array, dim, 0).reshape(array.shape[dim], -1)
    starts = np.ones(len(rows), bool)
    starts[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    first = np.nonzero(starts)[0]
    values = array.reshape(-1)[first] if dim is None else np.take(array, first, axis=dim)
    inverse = (np.cumsum(starts) - 1).reshape(array.shape if dim is None else (-1,))
    return _with_extras(values, inverse, np.diff(np.append(first, len(rows))), return_inverse, return_counts)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs, or the sum of the weights of its places."""
    if input.is_floating_point():
        raise NotImplementedError(f"bincount: input must have an integer dtype, got {input.dtype}")
    array = input.numpy()
    if array.ndim != 1 or (array.size and array.min() < 0):
        raise RuntimeError(f"bincount: input must be a vector of non-negative integers, got shape {tuple(array.shape)}")
    if weights is None:
        return _core.from_numpy(np.bincount(array, minlength=minlength).astype(np.int64))
    sums = np.bincount(array, weights.detach().numpy(), minlength)
    return _core.from_numpy(sums).to(weights.dtype if weights.is_floating_point() else _core.float64)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts in `bins` equal intervals of [min, max], or of the elements' own range where both are 0."""
    array = input.detach().numpy().reshape(-1)
    low, high = (array.min(), array.max()) if min == max == 0 and array.size else (min, max)
    if low == high:
        low, high = low - 1, high + 1
    counts, _ = np.histogram(array[(array >= low) & (array <= high)], bins, (low, high))
    return _core.from_numpy(counts.astype(np.float64)).to(input.dtype)


def isin(
    elements: Tensor | Number, test_elements: Tensor | Number, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is among `test_elements`."""
    x, among = (y.detach().numpy() if isinstance(y, Tensor) else np.asarray(y) for y in (elements, test_elements))
    return _core.from_numpy(np.asarray(np.isin(x, among, assume_unique=assume_unique, invert=invert)))
