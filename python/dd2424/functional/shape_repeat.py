"""Shape, rearranged: repeated, flipped and rolled copies, triangles, diagonals, grids."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._formats import contiguous_format
from dd2424._host import beside, host_array
from dd2424.functional.shape import _need_dims, _wrap

# fmt: off
__all__ = [
    "tile", "repeat_interleave", "flip", "fliplr", "flipud", "roll", "rot90", "tril", "triu", "diag", "diagonal",
    "diag_embed", "diagflat", "meshgrid", "cartesian_prod", "combinations", "block_diag",
]
# fmt: on


def repeat(input: Tensor, *sizes: Any) -> Tensor:
    """The tensor laid out sizes[d] times along each dimension d; new dimensions come first. Method: Tensor.repeat."""
    times = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    if len(times) < input.ndim:
        raise RuntimeError(f"repeat: sizes must have at least {input.ndim} numbers, got {len(times)}")
    shape = (1,) * (len(times) - input.ndim) + tuple(input.shape)
    apart = [part for size in shape for part in (1, size)]  # a place for the repeats before every dimension
    wide = [part for count, size in zip(times, shape, strict=True) for part in (count, size)]
    joined = [count * size for count, size in zip(times, shape, strict=True)]
    result = _core.reshape(_core.broadcast_to(_core.reshape(input, apart), wide), joined)
    return result if result._base is None else result.clone(memory_format=contiguous_format)


def tile(input: Tensor, dims: int | Sequence[int], *more: int) -> Tensor:
    """As `Tensor.repeat`; missing numbers are 1."""
    times = (dims, *more) if isinstance(dims, int) else tuple(dims)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


def repeat_interleave(
    input: Tensor, repeats: Tensor | int | None = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Every index of `dim` repeated in place, all as often or each by its own count; without `dim`, of the flat input.

    With counts alone: each index i repeated input[i] times.
    """
    import numpy as np

    if repeats is None:
        return beside(np.repeat(np.arange(input.numel()), host_array(input)), input)
    x, along = (_core.reshape(input, (-1,)), 0) if dim is None else (input, _wrap(dim, input.ndim, "repeat_interleave"))
    counts = host_array(repeats) if isinstance(repeats, Tensor) else repeats
    return _core.index_select(x, along, beside(np.repeat(np.arange(x.shape[along]), counts), x))


def flip(input: Tensor, dims: int | Sequence[int], *more: int) -> Tensor:
    """The order of indices reversed along these dimensions."""
    return _core.flip(input, (dims, *more) if isinstance(dims, int) else dims)


def fliplr(input: Tensor) -> Tensor:
    """`flip` along the second dimension."""
    _need_dims("fliplr", input, 2)
    return _core.flip(input, (1,))


def flipud(input: Tensor) -> Tensor:
    """`flip` along the first dimension."""
    _need_dims("flipud", input, 1)
    return _core.flip(input, (0,))


def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Indices moved up by `shifts` along `dims`, those that leave coming in below; without `dims`, when flat."""
    if dims is None:
        return _core.reshape(roll(_core.reshape(input, (-1,)), shifts, 0), input.shape)
    by, along = ([x] if isinstance(x, int) else list(x) for x in (shifts, dims))
    if len(by) != len(along):
        raise RuntimeError(f"roll: dims must have {len(by)} numbers, got {len(along)}")
    for shift, dim in zip(by, along, strict=True):
        size = input.shape[dim]
        start = -shift % size if size else 0
        if start:
            input = _core.cat([input.narrow(dim, start, size - start), input.narrow(dim, 0, start)], dim)
    return input.clone()


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by k quarter turns from the first of two dimensions towards the second."""
    first, second = dims
    _need_dims("rot90", input, 2)
    if k % 4 == 2:
        return flip(input, (first, second))
    if k % 4 == 1:
        return _core.transpose(flip(input, (second,)), first, second)
    if k % 4 == 3:
        return _core.transpose(flip(input, (first,)), first, second)
    return input.clone()


def _places(name: str, input: Tensor, diagonal: int) -> tuple[Tensor, Tensor]:
    """The numbers of the columns, and in which one each row meets the diagonal: (1, columns) and (rows, 1)."""
    _need_dims(name, input, 2)
    rows, columns = input.shape[-2:]
    met = _core.arange(diagonal, diagonal + rows, device=input.device)
    return _core.arange(0, columns, device=input.device).unsqueeze(0), met.unsqueeze(1)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Zero above a diagonal of the last two dimensions."""
    columns, rows = _places("tril", input, diagonal)
    return _core.masked_fill(input, columns > rows, 0)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Zero below a diagonal of the last two dimensions."""
    columns, rows = _places("triu", input, diagonal)
    return _core.masked_fill(input, columns < rows, 0)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The view of a diagonal of two dimensions, which becomes the last one."""
    return _core.diagonal(input, offset, dim1, dim2)


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a square matrix, or the diagonal of a matrix as a vector."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag: input must have 1 or 2 dimensions, got {input.ndim}")
    return _core.diagonal(input, diagonal).clone()


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices, zero but for the input's last dimension on a diagonal."""
    _need_dims("diag_embed", input, 1)
    size = input.shape[-1] + abs(offset)
    first, second = _wrap(dim1, input.ndim + 1, "diag_embed"), _wrap(dim2, input.ndim + 1, "diag_embed")
    if first == second:
        raise RuntimeError(f"diag_embed: dim2 must differ from dim1, got {dim2}")
    shape = list(input.shape[:-1])
    for dim in sorted((first, second)):
        shape.insert(dim, size)
    made = input.new_zeros(shape)
    _core.diagonal(made, offset, first, second).copy_(input)
    return made


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The flat input as a diagonal of a square matrix."""
    return diag_embed(_core.reshape(input, (-1,)), offset)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: tensor i varies along dimension i ("ij"), or the first two exchanged ("xy")."""
    axes: Sequence[Tensor] = tensors if isinstance(tensors[0], Tensor) else tensors[0]
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'meshgrid: indexing must be "ij" or "xy", got "{indexing}"')
    if any(axis.ndim > 1 for axis in axes):
        raise RuntimeError(f"meshgrid: tensors must have at most 1 dimension, got {[axis.ndim for axis in axes]}")
    swap = indexing == "xy" and len(axes) > 1
    order = [1, 0, *range(2, len(axes))] if swap else list(range(len(axes)))
    shape = [axes[i].numel() for i in order]
    grids = []
    for place, axis in zip(order, axes, strict=True):
        view = [1] * len(axes)
        view[place] = axis.numel()
        grids.append(_core.broadcast_to(_core.reshape(axis, view), shape))
    return tuple(grids)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Every choice of one element from each vector, row by row; of a single vector, that vector."""
    if any(x.ndim != 1 for x in tensors):
        raise RuntimeError(f"cartesian_prod: tensors must be vectors, got {[x.ndim for x in tensors]} dimensions")
    if len(tensors) == 1:
        return tensors[0]
    return _core.stack([_core.reshape(grid, (-1,)) for grid in meshgrid(*tensors)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Every choice of r elements of a vector, row by row. Shapes: (count, r)."""
    if input.ndim != 1:
        raise RuntimeError(f"combinations: input must be a vector, got {input.ndim} dimensions")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = list(choose(range(input.numel()), r))
    flat = _core.tensor(list(itertools.chain(*places)), dtype=_core.int64, device=input.device)
    chosen = _core.index_select(input, 0, flat)
    return _core.reshape(chosen, (len(places), r))


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a larger one; vectors are rows."""
    if any(x.ndim > 2 for x in tensors):
        raise RuntimeError(f"block_diag: tensors must have at most 2 dimensions, got {[x.ndim for x in tensors]}")
    blocks = [x.reshape((1, x.numel())) if x.ndim < 2 else x for x in tensors]
    width = sum(block.shape[1] for block in blocks)
    rows, left = [], 0
    for block in blocks:
        height, columns = block.shape
        before, after = block.new_zeros((height, left)), block.new_zeros((height, width - left - columns))
        rows.append(_core.cat([before, block, after], 1))
        left += columns
    return _core.cat(rows, 0)
