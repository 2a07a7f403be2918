"""Shape: views of the same elements, and rearranged copies. Negative dimensions count from the last."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from dd2424 import _core
from dd2424._core import Size, Tensor
from dd2424._formats import memory_format, preserve_format

# fmt: off
__all__ = [
    "reshape", "flatten", "unflatten", "ravel", "permute", "transpose", "swapaxes", "swapdims", "t", "squeeze",
    "unsqueeze", "movedim", "moveaxis", "select", "narrow", "as_strided", "unbind", "split", "chunk", "tensor_split",
    "hsplit", "vsplit", "dsplit", "cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "row_stack",
    "column_stack", "broadcast_to", "broadcast_tensors", "broadcast_shapes", "atleast_1d", "atleast_2d", "atleast_3d",
    "clone", "detach", "numel",
]
# fmt: on


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The elements in row-major order under another shape (one -1 is worked out): a view where strides allow."""
    return _core.reshape(input, shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim ... end_dim as one."""
    return _core.flatten(input, start_dim, end_dim)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension as several, of these sizes."""
    _need_dims("unflatten", input, 1)
    dim = _wrap(dim, input.ndim, "unflatten")
    return _core.reshape(input, (*input.shape[:dim], *_filled(sizes, input.shape[dim]), *input.shape[dim + 1 :]))


def _filled(sizes: Sequence[int], total: int) -> Sequence[int]:
    known = math.prod(size for size in sizes if size != -1)
    filled = [total // known if size == -1 and known else size for size in sizes]
    if math.prod(filled) != total:
        raise RuntimeError(f"unflatten: sizes must multiply to {total}, got {tuple(sizes)}")
    return filled


def _wrap(dim: int, ndim: int, name: str) -> int:
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexError(f"{name}: dim must be in [{-max(ndim, 1)}, {max(ndim, 1) - 1}], got {dim}")
    return dim % max(ndim, 1)


def _need_dims(name: str, input: Tensor, least: int) -> None:
    if input.ndim < least:
        raise RuntimeError(f"{name}: input must have at least {least} dimensions, got {input.ndim}")


def ravel(input: Tensor) -> Tensor:
    """All dimensions as one."""
    return _core.reshape(input.contiguous(), (-1,))


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """A view whose dimension i is the input's dims[i]."""
    return _core.permute(input, dims)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dimensions exchanged."""
    return _core.transpose(input, dim0, dim1)


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a vector as it is. Raises: RuntimeError for more dimensions."""
    if input.ndim > 2:
        raise RuntimeError(f"t: input must have at most 2 dimensions, got {input.ndim}")
    return input.t()


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """A view without the dimensions of size 1, all of them or those in `dim`."""
    return _core.squeeze(input) if dim is None else _core.squeeze(input, dim)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view with a new dimension of size 1 at `dim`."""
    return _core.unsqueeze(input, dim)


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """A view with some dimensions moved; the others keep their order."""
    sources, targets = ([x] if isinstance(x, int) else list(x) for x in (source, destination))
    if len(sources) != len(targets):
        raise RuntimeError(f"movedim: destination must have {len(sources)} dimensions, got {len(targets)}")
    moved = {_wrap(to, input.ndim, "movedim"): _wrap(s, input.ndim, "movedim") for s, to in zip(sources, targets)}
    rest = iter([d for d in range(input.ndim) if d not in moved.values()])
    return _core.permute(input, [moved[d] if d in moved else next(rest) for d in range(input.ndim)])


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The view at one index of a dimension, which goes."""
    return _core.select(input, dim, index)


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """The view of `length` indices of a dimension from `start`."""
    return _core.narrow(input, dim, start, length)


def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """A view of the input's memory under this size and these strides, in elements."""
    return _core.as_strided(input, size, stride, storage_offset)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The views at every index of a dimension."""
    return tuple(_core.unbind(input, dim))


def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of this many indices each (the last may have fewer), or of the sizes given."""
    return tuple(_core.split(tensor, split_size_or_sections, dim))


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views of equal size (the last may be smaller)."""
    return tuple(_core.chunk(input, chunks, dim))


def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views cut before these indices, or exactly this many whose sizes differ by one at most."""
    _need_dims("tensor_split", input, 1)
    size = input.shape[_wrap(dim, input.ndim, "tensor_split")]
    if isinstance(indices_or_sections, int):
        if indices_or_sections < 1:
            raise RuntimeError(f"tensor_split: sections must be positive, got {indices_or_sections}")
        each, larger = divmod(size, indices_or_sections)
        cuts = [i * each + min(i, larger) for i in range(1, indices_or_sections)]
    else:
        cuts = [max(0, cut + size) if cut < 0 else min(cut, size) for cut in indices_or_sections]
    edges = [0, *cuts, size]
    return tuple(_core.narrow(input, dim, a, max(b - a, 0)) for a, b in itertools.pairwise(edges))


def _even_split(name: str, input: Tensor, cuts: int | Sequence[int], dim: int, least: int) -> tuple[Tensor, ...]:
    _need_dims(name, input, least)
    if isinstance(cuts, int) and (cuts < 1 or input.shape[dim] % cuts):
        raise RuntimeError(f"{name}: sections must divide {input.shape[dim]}, the size of dimension {dim}, got {cuts}")
    return tensor_split(input, cuts, dim)


def hsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` along the second dimension (the first of a vector), into parts of one size."""
    return _even_split("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1, 1)


def vsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` along the first dimension, into parts of one size."""
    return _even_split("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` along the third dimension, into parts of one size."""
    return _even_split("dsplit", input, indices_or_sections, 2, 3)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors joined along a dimension; the others must agree."""
    return _core.cat(tensors, dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension."""
    return _core.stack(tensors, dim)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the second dimension (vectors along the first)."""
    parts = [atleast_1d(x) for x in tensors]
    return _core.cat(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the first dimension, vectors as rows."""
    return _core.cat([atleast_2d(x) for x in tensors], 0)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the third dimension."""
    return _core.cat([atleast_3d(x) for x in tensors], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the second dimension, vectors as columns."""
    return _core.cat([x.reshape((x.numel(), 1)) if x.ndim < 2 else x for x in tensors], 1)


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """A view repeated, without memory, to this shape."""
    return _core.broadcast_to(input, size)


def broadcast_shapes(*shapes: int | Sequence[int]) -> Size:
    """The shape that these broadcast to. Raises: RuntimeError where they do not."""
    lists = [(shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes]
    result = [1] * max((len(shape) for shape in lists), default=0)
    for shape in lists:
        for place, size in enumerate(shape, len(result) - len(shape)):
            if size != 1 and result[place] not in (1, size):
                raise RuntimeError(f"broadcast_shapes: shapes must broadcast together, got {lists}")
            result[place] = size if size != 1 else result[place]
    return Size(result)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Views of all under the shape that they broadcast to."""
    shape = broadcast_shapes(*[x.shape for x in tensors])
    return tuple(x if x.shape == shape else _core.broadcast_to(x, shape) for x in tensors)


def clone(input: Tensor, *, memory_format: memory_format = preserve_format) -> Tensor:
    """A copy, on the tape."""
    return _core.clone(input, memory_format=memory_format)


def detach(input: Tensor) -> Tensor:
    """The same memory, off the tape."""
    return input.detach()


def numel(input: Tensor) -> int:
    """How many elements there are."""
    return input.numel()


def atleast_1d(*tensors: Any) -> Any:
    """Views with at least one dimension."""
    return _each([x.reshape((1,)) if x.ndim == 0 else x for x in _several(tensors)], tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Views with at least two dimensions, new ones first."""
    return _each([x.reshape((1, x.numel())) if x.ndim < 2 else x for x in _several(tensors)], tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Views with at least three dimensions: a vector as (1, n, 1), a matrix as (n, m, 1)."""
    views = [
        x if x.ndim > 2 else _core.unsqueeze(x if x.ndim == 2 else x.reshape((1, x.numel())), -1)
        for x in _several(tensors)
    ]
    return _each(views, tensors)


def _several(tensors: tuple[Any, ...]) -> Sequence[Tensor]:
    return tensors if isinstance(tensors[0], Tensor) else tensors[0]


def _each(made: list[Tensor], given: tuple[Any, ...]) -> Any:
    return made[0] if len(given) == 1 and isinstance(given[0], Tensor) else tuple(made)


swapaxes, swapdims, moveaxis, row_stack = _core.swapaxes, _core.swapdims, movedim, vstack
concat, concatenate = cat, cat
