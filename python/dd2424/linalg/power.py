"""Powers and exponentials of matrices, and what follows from singular values."""

from __future__ import annotations

import math

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424.linalg.arrays import check_matrices
from dd2424.linalg.factor import svdvals
from dd2424.linalg.norm import matrix_norm
from dd2424.linalg.solve import inv


def _identity(A: Tensor) -> Tensor:
    return _core.ones(A.shape[:-1], dtype=A.dtype, device=A.device).diag_embed()


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A^n by repeated squaring; of the inverse for a negative n."""
    check_matrices("matrix_power", A, square=True)
    if n < 0:
        return matrix_power(inv(A), -n)
    result, square = None, A
    while n:
        if n % 2:
            result = square if result is None else result @ square
        n //= 2
        if n:
            square = square @ square
    return _identity(A) if result is None else result.clone()


_TERMS = 18  # of the series: for a norm up to 1/2, past the last place of float64


def matrix_exp(A: Tensor) -> Tensor:
    """e^A = sum A^k / k!, summed for A / 2^s of a norm up to 1/2, then squared s times.

    Source: Moler and Van Loan, "Nineteen Dubious Ways to Compute the Exponential of a Matrix" (2003), section 3.
    """
    check_matrices("matrix_exp", A, square=True)
    size = float(matrix_norm(A.detach(), 1).max()) if A.numel() else 0.0
    squarings = max(0, math.ceil(math.log2(size)) + 1) if size > 0 and math.isfinite(size) else 0
    x, identity = A / 2.0**squarings, _identity(A)
    result = identity
    for k in range(_TERMS, 0, -1):  # Horner's rule
        result = identity + (x @ result) / k
    for _ in range(squarings):
        result = result @ result
    return result


def matrix_rank(A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False) -> Tensor:
    """How many singular values are larger than max(atol, rtol times the largest)."""
    check_matrices("matrix_rank", A)
    values = svdvals(A.detach())
    eps = float(np.finfo(values.dtype.name).eps)
    relative = (0.0 if atol else max(A.shape[-2:]) * eps) if rtol is None else rtol
    if values.shape[-1] == 0:
        return _core.zeros(A.shape[:-2], dtype=_core.int64, device=A.device)
    limit = _core.clamp(values[..., :1] * relative, atol or 0.0)
    return _core.sum(values > limit, -1)


def cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """The condition number |A| |A^-1| in the norm p, by default the ratio of the extreme singular values."""
    check_matrices("cond", A)
    if p in (None, 2, -2):
        values = svdvals(A)
        largest, smallest = values[..., 0], values[..., -1]
        return smallest / largest if p == -2 else largest / smallest
    return matrix_norm(A, p) * matrix_norm(inv(A), p)
