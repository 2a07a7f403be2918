"""Indexing by tensors: gathering, scattering, masking, and everything that sorts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._types import Number
from dd2424.functional.shape import _wrap

# fmt: off
__all__ = [
    "index_select", "index_add", "index_copy", "index_fill", "gather", "scatter", "scatter_add", "take",
    "take_along_dim", "masked_fill", "masked_select", "masked_scatter", "nonzero", "argwhere", "sort", "argsort",
    "topk", "kthvalue", "median", "nanmedian", "mode", "quantile", "cummax", "cummin", "searchsorted", "bucketize",
    "unique", "unique_consecutive", "bincount", "histc", "isin",
]
# fmt: on


class ValuesAndIndices(NamedTuple):
    """Elements, and where along the dimension they stood (int64)."""

    values: Tensor
    indices: Tensor


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of a dimension at these indices."""
    return _core.index_select(input, dim, index)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number = 1) -> Tensor:
    """input with alpha * source's slices added at these indices, equal ones in their order."""
    return _core.index_add(input, dim, index, source, alpha=alpha)


def _at(ndim: int, dim: int, index: Tensor) -> tuple[Any, ...]:
    return (slice(None),) * _wrap(dim, ndim, "index") + (index,)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """input with source's slices at these indices."""
    result = input.clone()
    result[_at(input.ndim, dim, index)] = source
    return result


def index_fill(input: Tensor, dim: int, index: Tensor, value: Tensor | Number) -> Tensor:
    """input with `value` in the slices at these indices."""
    result = input.clone()
    result[_at(input.ndim, dim, index)] = value
    return result


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on. Shapes: index and output the same."""
    return _core.gather(input, dim, index)


def scatter(input: Tensor, dim: int, index: Tensor, src: Tensor | Number, *, reduce: str | None = None) -> Tensor:
    """input with out[index[i][j]][j] = src[i][j] for dim 0, and so on; the last of equal indices stays."""
    if reduce is None:
        return _core.scatter(input, dim, index, src)
    source = src if isinstance(src, Tensor) else _core.full(index.shape, src, dtype=input.dtype)
    if reduce == "add":
        return _core.scatter_add(input, dim, index, source)
    raise ValueError(f'scatter: reduce must be None or "add", got "{reduce}"')


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with out[index[i][j]][j] += src[i][j] for dim 0, and so on, equal indices in row-major order."""
    return _core.scatter_add(input, dim, index, src)


def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements of the flat input at these indices. Shapes: index and output the same."""
    return _core.reshape(input, (-1,))[index]


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, with broadcasting; without `dim`, from the flat input."""
    if dim is None:
        return take_along_dim(_core.reshape(input, (-1,)), _core.reshape(indices, (-1,)), 0)
    return _core.take_along_dim(input, indices, dim)


def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """`value` where the mask is True."""
    return _core.masked_fill(input, mask, value)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask is True, flat."""
    from dd2424.functional.shape import broadcast_tensors

    x, chosen = broadcast_tensors(input, mask)
    return x[chosen]


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The first elements of source, in order, where the mask is True."""
    from dd2424.functional.shape import broadcast_tensors

    x, chosen = broadcast_tensors(input, mask)
    result = x.clone()
    result[chosen] = _core.reshape(source, (-1,))[: int(chosen.sum().item())]
    return result


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of non-zero elements, row by row: (count, ndim), or with `as_tuple` one vector a dimension."""
    places = _core.nonzero(input)
    return tuple(places.unbind(1)) if as_tuple else places


def argwhere(input: Tensor) -> Tensor:
    """The indices of non-zero elements. Shapes: (count, ndim)."""
    return _core.nonzero(input)


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
    index = _core.from_numpy(np.ascontiguousarray(indices, np.int64))
    if input.ndim == 0:
        return ValuesAndIndices(input.clone(), index)
    return ValuesAndIndices(_core.gather(input, dim, index), index)


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesAndIndices:
    """Sorted along `dim`, always stably; NaN counts as the largest."""
    return _taken(input, _order(input, dim, descending), dim)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort along `dim`, always stably."""
    return _core.from_numpy(np.ascontiguousarray(_order(input, dim, descending), np.int64))


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
    order = _order(input, dim, False)  # NaN come last
    count = (~np.isnan(input.detach().numpy())).sum(axis=dim, keepdims=True)
    return _at_rank(input, np.take_along_axis(order, np.maximum(count - 1, 0) // 2, dim), dim, keepdim)


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The most frequent element along `dim`, the smallest of equally frequent ones, at its last index."""

    def last_of_most_frequent(row: Any) -> int:
        values, counts = np.unique(row, return_counts=True)
        return int(np.nonzero(row == values[counts.argmax()])[0][-1])

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
    """The elements at fractions q of the sorted order along `dim`. Shapes: those of q, then of the reduced input."""
    x, along = (_core.reshape(input, (-1,)), 0) if dim is None else (input, _wrap(dim, input.ndim, "quantile"))
    fractions = q if isinstance(q, Tensor) else _core.tensor(q, dtype=input.dtype)
    ordered = sort(x, along).values
    ranks = _core.reshape(fractions, (-1,)).double() * (x.shape[along] - 1)
    low, high = _core.floor(ranks), _core.ceil(ranks)
    if interpolation in ("lower", "higher", "nearest"):
        low = high = {"lower": low, "higher": high, "nearest": _core.round(ranks)}[interpolation]
    elif interpolation not in ("linear", "midpoint"):
        raise ValueError(f'quantile: interpolation must be "linear", "lower" ..., got "{interpolation}"')
    weight = (ranks - low) if interpolation == "linear" else (high - low) * 0.5
    below, above = (_core.index_select(ordered, along, rank.to(_core.int64)) for rank in (low, high))
    shape = [1] * x.ndim
    shape[along] = -1
    between = below + (above - below) * _core.reshape(weight.to(x.dtype), shape)
    missing = _core.any(_core.isnan(x), along, True)
    between = _core.masked_fill(between, missing, float("nan"))
    moved = between.movedim(along, 0)
    if keepdim:
        moved = moved.reshape((-1, *[1] * input.ndim)) if dim is None else moved.unsqueeze(along + 1)
    return _core.reshape(moved, (*fractions.shape, *moved.shape[1:]))


def _running_extreme(input: Tensor, dim: int, better: Any) -> ValuesAndIndices:
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
    sorted_sequence: Tensor, input: Tensor | Number, *, right: bool = False, side: str | None = None
) -> Tensor:
    """Where each element would be inserted to keep the order along the last dimension, before (or after) equals."""
    after = right or side == "right"
    edges, values = sorted_sequence.detach().numpy(), input.detach().numpy() if isinstance(input, Tensor) else input
    if edges.ndim == 1:
        return _core.from_numpy(np.asarray(np.searchsorted(edges, values, "right" if after else "left"), np.int64))
    rows = zip(edges.reshape(-1, edges.shape[-1]), np.reshape(values, (-1, np.shape(values)[-1])), strict=True)
    found = [np.searchsorted(row, wanted, "right" if after else "left") for row, wanted in rows]
    return _core.from_numpy(np.asarray(found, np.int64).reshape(np.shape(values)))


def bucketize(input: Tensor | Number, boundaries: Tensor, *, right: bool = False) -> Tensor:
    """The bucket of each element between sorted boundaries; `right` closes buckets on the left."""
    return searchsorted(boundaries, input, right=right)


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


def isin(elements: Tensor, test_elements: Tensor, *, invert: bool = False) -> Tensor:
    """Whether each element is among `test_elements`."""
    return _core.from_numpy(np.isin(elements.detach().numpy(), test_elements.detach().numpy(), invert=invert))
