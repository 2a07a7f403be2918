"""Products of vectors, matrices and batches of them."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._types import Number
from dd2424.linalg import products
from dd2424.linalg.norm import vector_norm

# fmt: off
__all__ = [
    "matmul", "mm", "bmm", "mv", "dot", "vdot", "inner", "outer", "ger", "addmm", "addmv", "addr", "baddbmm", "addbmm",
    "chain_matmul", "tensordot", "kron", "cross", "trace", "bilinear", "cdist", "pairwise_distance",
    "cosine_similarity",
]
# fmt: on


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product of the last two dimensions, batches broadcast; a vector is a row on the left, a column on the
    right.

    Shapes: (*, n, k) and (*, k, m); output (*, n, m).
    """
    return _core.matmul(input, other)


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices. Shapes: (n, k) and (k, m); output (n, m)."""
    return _core.mm(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of matrices, one by one. Shapes: (N, n, k) and (N, k, m); output (N, n, m)."""
    return _core.bmm(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """A matrix times a vector. Shapes: (n, k) and (k,); output (n,)."""
    return _core.mv(input, vec)


def dot(input: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors."""
    return _core.dot(input, other)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Inner products over the last dimensions. Shapes: (*a, k) and (*b, k); output (*a, *b)."""
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    return tensordot(input, other, ([input.ndim - 1], [other.ndim - 1]))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Every product of an element of one vector with one of the other. Shapes: (n,) and (m,); output (n, m)."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"outer: input and vec2 must be vectors, got {input.ndim} and {vec2.ndim} dimensions")
    return input.unsqueeze(1) * vec2.unsqueeze(0)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * mat1 @ mat2."""
    return _core.addmm(input, mat1, mat2, beta=beta, alpha=alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * batch1 @ batch2, one by one."""
    return _core.baddbmm(input, batch1, batch2, beta=beta, alpha=alpha)


def _sum_of(input: Tensor, product: Tensor, beta: Number, alpha: Number) -> Tensor:
    scaled = product if alpha == 1 else product * alpha
    return scaled if beta == 0 else (input if beta == 1 else input * beta) + scaled  # with beta 0 a NaN must not pass


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * the sum of batch1 @ batch2 over the batch."""
    return _sum_of(input, _core.sum(_core.bmm(batch1, batch2), 0), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * mat @ vec."""
    return _sum_of(input, _core.mv(mat, vec), beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    return _sum_of(input, outer(vec1, vec2), beta, alpha)


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices, from left to right."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = _core.mm(product, matrix)
    return product


def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] = 2) -> Tensor:
    """Sum of products over pairs of dimensions: the last `dims` of a with the first of b, or the two lists given."""
    if isinstance(dims, int):
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left, right = [d % a.ndim for d in dims[0]], [d % b.ndim for d in dims[1]]
    if [a.shape[d] for d in left] != [b.shape[d] for d in right]:
        raise RuntimeError(
            f"tensordot: dims must have equal sizes, got {tuple(a.shape)} and {tuple(b.shape)} over {dims}"
        )
    rows, columns = [d for d in range(a.ndim) if d not in left], [d for d in range(b.ndim) if d not in right]
    summed = 1
    for d in left:
        summed *= a.shape[d]
    first = a.permute(rows + left).reshape((-1, summed) if summed else (_count(a, rows), 0))
    second = b.permute(right + columns).reshape((summed, -1) if summed else (0, _count(b, columns)))
    return _core.mm(first, second).reshape([a.shape[d] for d in rows] + [b.shape[d] for d in columns])


def _count(x: Tensor, dims: list[int]) -> int:
    total = 1
    for d in dims:
        total *= x.shape[d]
    return total


def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of input times all of other."""
    ndim = max(input.ndim, other.ndim)
    a = input.reshape((1,) * (ndim - input.ndim) + tuple(input.shape))
    b = other.reshape((1,) * (ndim - other.ndim) + tuple(other.shape))
    left = [part for size in a.shape for part in (size, 1)]
    right = [part for size in b.shape for part in (1, size)]
    return (a.reshape(left) * b.reshape(right)).reshape([m * n for m, n in zip(a.shape, b.shape, strict=True)])


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product along a dimension of size 3, the first such one by default."""
    along = next((d for d, size in enumerate(input.shape) if size == 3), -1) if dim is None else dim
    return products.cross(input, other, dim=along)


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    return _core.sum(_core.diagonal(input, 0, 0, 1))


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = x1^T W_o x2 + b_o. Shapes: (*, D1), (*, D2), weight (O, D1, D2), bias (O,); output (*, O)."""
    out, first, second = weight.shape
    x1, x2 = input1.reshape((-1, first)), input2.reshape((-1, second))
    half = _core.mm(x1, weight.permute((1, 0, 2)).reshape((first, out * second))).reshape((-1, out, second))
    y = _core.bmm(half, x2.unsqueeze(2)).squeeze(2).reshape((*input1.shape[:-1], out))
    return y if bias is None else y + bias


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances between all rows. Shapes: (*, n, D) and (*, m, D); output (*, n, m)."""
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps over the last dimension."""
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) over `dim`, each norm at least eps."""
    norms = [_core.clamp(vector_norm(x, 2, dim, True), eps) for x in (x1, x2)]
    return _core.sum((x1 / norms[0]) * (x2 / norms[1]), dim)


ger, vdot = outer, dot
