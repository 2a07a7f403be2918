"""Norms of vectors and matrices."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from dd2424 import _core
from dd2424._core import Tensor, dtype
from dd2424._types import Dims
from dd2424.linalg.factor import svdvals

__all__ = ["vector_norm", "matrix_norm", "norm"]


def vector_norm(
    x: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: dtype | None = None
) -> Tensor:
    """(sum |x|^ord)^(1 / ord) over `dim`, or over all elements; inf and -inf give the largest and the smallest |x|,
    0 counts what is not zero. The gradient of the 2-norm at 0 is 0.

    Raises: RuntimeError for integers.
    """
    x = x if dtype is None else x.to(dtype)
    if not x.is_floating_point():
        raise RuntimeError(f"vector_norm: x must be floating-point, got {x.dtype}")
    if x.dtype == _core.float16:  # whose largest number has a root of 256
        return vector_norm(x.float(), ord, dim, keepdim).half()
    dims = () if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if ord == 2:
        return _root(_core.sum_squares(x, dims or None, keepdim))
    size = _core.abs(x)
    if ord in (inf, -inf):
        return _core.amax(size, dims, keepdim) if ord > 0 else _core.amin(size, dims, keepdim)
    if ord == 0:
        return _core.sum(_core.ne(x, 0).to(x.dtype), dims or None, keepdim)
    if ord == 1:
        return _core.sum(size, dims or None, keepdim)
    return _core.pow(_core.sum(_core.pow(size, ord), dims or None, keepdim), 1 / ord)


def _root(total: Tensor) -> Tensor:
    """sqrt, with slope 0 at 0 where its own is infinite."""
    if not total.requires_grad:
        return _core.sqrt(total)
    at_zero = total == 0
    return _core.where(at_zero, 0.0, _core.sqrt(_core.where(at_zero, 1.0, total)))


def matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """The norm of matrices: "fro", the root of the sum of squares; 1 and -1, the largest and the smallest column sum
    of |x|; inf and -inf, the row sums; 2 and -2, the largest and the smallest singular value; "nuc", their sum.

    Raises: ValueError for another `ord`.
    """
    rows, columns = (d % A.ndim for d in dim)
    x = A if dtype is None else A.to(dtype)
    if ord == "fro":
        return vector_norm(x, 2, (rows, columns), keepdim)
    if ord in (2, -2, "nuc"):
        return _spectral_norm(x, ord, rows, columns, keepdim)
    if ord not in (1, -1, inf, -inf):
        raise ValueError(f'matrix_norm: ord must be "fro", "nuc", inf, -inf, 1, -1, 2 or -2, got {ord!r}')
    summed, other = (rows, columns) if ord in (1, -1) else (columns, rows)
    totals = _core.sum(_core.abs(x), summed, True)
    extreme = _core.amax if float(ord) > 0 else _core.amin
    result = extreme(totals, other, True)
    return result if keepdim else _core.squeeze(result, (rows, columns))


def _spectral_norm(x: Tensor, ord: float | str, rows: int, columns: int, keepdim: bool) -> Tensor:
    values = svdvals(x.movedim((rows, columns), (-2, -1)))
    result = _core.sum(values, -1) if ord == "nuc" else values[..., 0 if ord == 2 else -1]
    if keepdim:
        for dim in sorted((rows, columns)):
            result = result.unsqueeze(dim)
    return result


def norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """`vector_norm`, or `matrix_norm` where `ord` is given and two dimensions are meant."""
    is_matrix = A.ndim == 2 if dim is None else not isinstance(dim, int) and len(dim) == 2
    if ord is None or (not is_matrix and not isinstance(ord, str)):
        return vector_norm(A, 2 if ord is None else float(ord), dim, keepdim, dtype=dtype)
    dims = (-2, -1) if dim is None or isinstance(dim, int) else dim
    return matrix_norm(A, ord, dims, keepdim, dtype=dtype)
