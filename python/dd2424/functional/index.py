"""Indexing by tensors: gathering, scattering, masking. What sorts is in `sort.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._formats import contiguous_format
from dd2424._types import Number
from dd2424.functional.index_reduce import scatter_reduce
from dd2424.functional.shape import _wrap, broadcast_shapes, broadcast_tensors

# fmt: off
__all__ = [
    "index_select", "index_add", "index_copy", "index_fill", "index_put", "gather", "scatter", "scatter_add", "put",
    "take", "take_along_dim", "masked_fill", "masked_select", "masked_scatter", "select_scatter", "slice_scatter",
    "diagonal_scatter", "nonzero", "argwhere", "unravel_index",
]
# fmt: on


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


def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """input with `values` where input[indices] is, or added there, equal places in their order."""
    return input.clone().index_put_(indices, values, accumulate)


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """input with source at these indices of the flat input, or added there. Shapes: index and source the same."""
    flat = index_put(
        _core.reshape(input, (-1,)), [_core.reshape(index, (-1,))], _core.reshape(source, (-1,)), accumulate
    )
    return _core.reshape(flat, input.shape)


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on. Shapes: index and output the same."""
    return _core.gather(input, dim, index)


def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | Number | None = None,
    *,
    value: Number | None = None,
    reduce: str | None = None,
) -> Tensor:
    """input with out[index[i][j]][j] = src[i][j] (or `value`) for dim 0, and so on; the last of equal indices stays.
    With reduce="add" or "multiply" each joins what is there.

    Raises: TypeError where neither or both of src and value are given; RuntimeError for an index out of range.
    """
    if (src is None) == (value is None):
        raise TypeError("scatter: src or value must be given, and not both")
    given: Any = value if src is None else src
    if reduce is None:
        return _core.scatter(input, dim, index, given)
    source = (
        given if isinstance(given, Tensor) else _core.full(index.shape, given, dtype=input.dtype, device=input.device)
    )
    if reduce == "add":
        return _core.scatter_add(input, dim, index, source)
    if reduce == "multiply":
        return scatter_reduce(input, dim, index, source, "prod")
    raise RuntimeError(f'scatter: reduce must be "add" or "multiply", got "{reduce}"')


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
    if input.ndim != indices.ndim:
        raise RuntimeError(f"take_along_dim: indices must have {input.ndim} dimensions, got {indices.ndim}")
    along = _wrap(dim, input.ndim, "take_along_dim")
    apart = [[size if d != along else 1 for d, size in enumerate(x.shape)] for x in (input, indices)]
    common = list(broadcast_shapes(*apart))
    source, places = (
        _core.broadcast_to(x, [*common[:along], x.shape[along], *common[along + 1 :]]) for x in (input, indices)
    )
    return _core.gather(source, along, places)


def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """`value` where the mask is True."""
    return _core.masked_fill(input, mask, value)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask is True, flat."""
    x, chosen = broadcast_tensors(input, mask)
    return x[chosen]


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The first elements of source, in order, where the mask is True."""
    x, chosen = broadcast_tensors(input, mask)
    result = x.clone()
    result[chosen] = _core.reshape(source, (-1,))[: int(chosen.sum().item())]
    return result


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of non-zero elements, row by row: (count, ndim), or with `as_tuple` one vector a dimension."""
    if not as_tuple:
        return _core.nonzero(input)
    return tuple(_core.nonzero(_core.reshape(input, (1,)) if input.ndim == 0 else input).unbind(1))


def argwhere(input: Tensor) -> Tensor:
    """The indices of non-zero elements. Shapes: (count, ndim)."""
    return _core.nonzero(input)


def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """The coordinates, one tensor a dimension, of indices into a flat tensor of this shape.

    Raises: ValueError for an index outside of it.
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    total = 1
    for size in sizes:
        total *= size
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < total:
        raise ValueError(f"unravel_index: indices must be in [0, {total - 1}], got {int(indices.max())}")
    coordinates, step = [], total
    for size in sizes:
        step //= max(size, 1)
        coordinates.append(indices // step % size)
    return tuple(coordinates)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """input with `src` where `select(input, dim, index)` is."""
    return _with_window(input, src, "select_scatter", lambda x: _core.select(x, dim, index))


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """input with `src` in the slice start:end:step of a dimension."""
    place = (slice(None),) * _wrap(dim, input.ndim, "slice_scatter") + (slice(start, end, step),)
    return _with_window(input, src, "slice_scatter", lambda x: x[place])


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """input with `src` on a diagonal of two dimensions."""
    return _with_window(input, src, "diagonal_scatter", lambda x: _core.diagonal(x, offset, dim1, dim2))


def _with_window(input: Tensor, src: Tensor, name: str, window: Any) -> Tensor:
    result = input.clone(memory_format=contiguous_format)
    target = window(result)
    if target.shape != src.shape:
        raise RuntimeError(f"{name}: src must have shape {tuple(target.shape)}, got {tuple(src.shape)}")
    target.copy_(src)
    return result
