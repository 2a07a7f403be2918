"""Elements as sets: which there are, how often each occurs, and which are among others."""

from __future__ import annotations

import math
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._types import Number
from dd2424.functional.reduce import aminmax
from dd2424.functional.shape import _wrap, movedim

__all__ = ["bincount", "histc", "isin", "unique", "unique_consecutive"]


class _Runs:
    """What a vector's runs of equal elements are, from where they begin."""

    def __init__(self, differs: Tensor, size: int) -> None:
        """`differs` says of all elements but the first whether they differ from the one before."""
        self.size = size
        first = _core.ones((min(size, 1),), dtype=_core.bool, device=differs.device)
        self.begins = _core.cat([first, differs], 0)
        self.places = _core.reshape(_core.nonzero(self.begins), (-1,))

    def inverse(self) -> Tensor:
        """The number of each element's run."""
        return _core.cumsum(self.begins, 0) - 1

    def counts(self) -> Tensor:
        """How long each run is."""
        ends = _core.full((min(self.size, 1),), self.size, dtype=_core.int64, device=self.places.device)
        return _core.cat([self.places[1:], ends], 0) - self.places


def _chosen(values: Tensor, inverse: Tensor | None, counts: Tensor | None) -> Any:
    result = [values, *(t for t in (inverse, counts) if t is not None)]
    return result[0] if len(result) == 1 else tuple(result)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements (or slices of `dim`), sorted; if asked, where each one went and how many there were."""
    if dim is not None:
        return _unique_slices(input, return_inverse, return_counts, dim)
    ordered, places = _core.sort(_core.reshape(input.detach(), (-1,)), 0, False)
    runs = _Runs(ordered[1:] != ordered[:-1], ordered.shape[0])
    inverse = _core.reshape(_core.scatter(places, 0, places, runs.inverse()), input.shape) if return_inverse else None
    values = _core.index_select(ordered, 0, runs.places)
    return _chosen(values, inverse, runs.counts() if return_counts else None)


def _slices(input: Tensor, dim: int) -> Tensor:
    """The slices of a dimension as the rows of a matrix."""
    size = input.shape[dim]
    return _core.reshape(movedim(input.detach(), dim, 0), (size, input.numel() // size if size else 0))


def _ranks(rows: Tensor) -> Tensor:
    """The number of each row among the different ones in lexicographic order.

    Rows are told apart column by column. Now and then those that are still together are compared as wholes: where they
    are the same, later columns tell nothing.
    """
    size, columns = rows.shape
    ranks, checked_at = _core.zeros((size,), dtype=_core.int64, device=rows.device), 1
    for i in range(columns):
        _, of_column = unique(rows[:, i], return_inverse=True)
        different, ranks = unique(ranks * size + of_column, return_inverse=True)
        if different.shape[0] == size:
            break
        if i + 1 == checked_at:
            first = _core.index_select(rows, 0, _representatives(ranks, different.shape[0]))
            if _core.index_select(first, 0, ranks).equal(rows):
                break
            checked_at *= 2
    return ranks


def _representatives(ranks: Tensor, count: int) -> Tensor:
    """A row of each rank."""
    places = _core.arange(0, ranks.shape[0], 1, dtype=_core.int64, device=ranks.device)
    return _core.scatter(_core.zeros((count,), dtype=_core.int64, device=ranks.device), 0, ranks, places)


def _unique_slices(input: Tensor, return_inverse: bool, return_counts: bool, dim: int) -> Any:
    dim = _wrap(dim, input.ndim, "unique")
    ranks = _ranks(_slices(input, dim))
    counts = bincount(ranks)
    values = _core.index_select(input.detach(), dim, _representatives(ranks, counts.shape[0]))
    return _chosen(values, ranks if return_inverse else None, counts if return_counts else None)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Runs of equal elements (or slices of `dim`) reduced to one each; see `unique`."""
    if dim is None:
        x, along, shape = _core.reshape(input.detach(), (-1,)), 0, tuple(input.shape)
        differs = x[1:] != x[:-1]
    else:
        along = _wrap(dim, input.ndim, "unique_consecutive")
        x, shape = input.detach(), (input.shape[along],)
        rows = _slices(input, along)
        differs = (rows[1:] != rows[:-1]).any(1)
    runs = _Runs(differs, x.shape[along])
    inverse = _core.reshape(runs.inverse(), shape) if return_inverse else None
    return _chosen(_core.index_select(x, along, runs.places), inverse, runs.counts() if return_counts else None)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs, or the sum of the weights of its places, which is made in float64."""
    if input.is_floating_point():
        raise NotImplementedError(f"bincount: input must have an integer dtype, got {input.dtype}")
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength must not be negative, got {minlength}")
    least, most = (int(end) for end in aminmax(input)) if input.numel() else (0, -1)
    if input.ndim != 1 or least < 0:
        raise RuntimeError(f"bincount: input must be a vector of non-negative integers, got shape {tuple(input.shape)}")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError(f"bincount: weights must have the input's shape {tuple(input.shape)}, "
                           f"got {tuple(weights.shape)}")  # fmt: skip
    places, size = input.to(_core.int64), max(minlength, most + 1)
    if weights is None:
        return _counts(places, size)
    start = _core.zeros((size,), dtype=_core.float64, device=input.device)
    sums = _core.scatter_add(start, 0, places, weights.detach().to(_core.float64))
    return sums.to(weights.dtype) if weights.is_floating_point() else sums


def _counts(places: Tensor, size: int) -> Tensor:
    kind = _core.float32 if places.numel() < 1 << 24 else _core.int64  # exact in both, faster in the first
    ones = _core.ones(places.shape, dtype=kind, device=places.device)
    start = _core.zeros((size,), dtype=kind, device=places.device)
    return _core.scatter_add(start, 0, places, ones).to(_core.int64)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts in `bins` equal intervals of [min, max], or of the elements' own range where both are 0.

    Raises: RuntimeError for no bins, and for a range that is not finite or ends before it begins.
    """
    x = _core.reshape(input.detach(), (-1,))
    low, high = (float(x.min()), float(x.max())) if min == max == 0 and x.numel() else (float(min), float(max))
    if bins <= 0:
        raise RuntimeError(f"histc: bins must be positive, got {bins}")
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise RuntimeError(f"histc: min and max must be finite and in order, got {low} and {high}")
    if low == high:
        low, high = low - 1, high + 1
    # The last interval is closed; what is outside, and NaN, goes to a place of its own, which is left out.
    numbers = _core.clamp((x - low) * bins / (high - low), -1, bins)
    is_inside = _core.logical_and(x >= low, x <= high)
    places = _core.clamp(_core.where(is_inside, numbers, -1.0).to(_core.int64), None, bins - 1)
    return _counts(_core.where(is_inside, places, bins), bins + 1)[:bins].to(input.dtype)


def isin(
    elements: Tensor | Number, test_elements: Tensor | Number, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is among `test_elements`; `invert` asks whether it is not."""
    given = elements if isinstance(elements, Tensor) else test_elements
    device = given.device if isinstance(given, Tensor) else "cpu"
    x, among = (
        y.detach() if isinstance(y, Tensor) else _core.tensor(y, device=device) for y in (elements, test_elements)
    )
    among = _core.reshape(among, (-1,))
    if among.shape[0] <= _FEW:
        found = x == among[0] if among.shape[0] else _core.zeros(x.shape, dtype=_core.bool, device=x.device)
        for i in range(1, among.shape[0]):
            found = _core.logical_or(found, x == among[i])
    elif x.is_floating_point() or among.is_floating_point():
        found = _isin_sorted(x, among)
    else:
        low, high = (int(end) for end in aminmax(among))
        has_table = high - low <= 6 * (x.numel() + among.shape[0]) and abs(low) < _FAR and abs(high) < _FAR
        found = _isin_table(x, among, low, high) if has_table else _isin_sorted(x, among)
    return _core.logical_not(found) if invert else found


_FEW = 8  # elements to compare all with
_FAR = 1 << 62


def _isin_sorted(x: Tensor, among: Tensor) -> Tensor:
    ordered = _core.sort(among, 0, False)[0]
    at = _core.clamp(_core.searchsorted(ordered, x, False), None, among.shape[0] - 1)
    return _core.reshape(_core.index_select(ordered, 0, _core.reshape(at, (-1,))), x.shape) == x


def _isin_table(x: Tensor, among: Tensor, low: int, high: int) -> Tensor:
    """Integers of a small range, by a table of that range and a place on either side of it."""
    table = _core.zeros((high - low + 3,), dtype=_core.bool, device=x.device)
    table[among.to(_core.int64) - (low - 1)] = True
    at = _core.clamp(x.to(_core.int64), low - 1, high + 1) - (low - 1)
    return _core.reshape(_core.index_select(table, 0, _core.reshape(at, (-1,))), x.shape)
