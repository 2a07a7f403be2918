"""Least squares."""

from __future__ import annotations

from typing import NamedTuple

from dd2424 import _core
from dd2424._core import Tensor
from dd2424.linalg.arrays import check_matrices
from dd2424.linalg.power import matrix_rank
from dd2424.linalg.solve import pinv

__all__ = ["LeastSquares", "lstsq"]


class LeastSquares(NamedTuple):
    """solution (*, n, k); residuals (*, k), the squared distances; rank; singular_values, empty as in PyTorch."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> LeastSquares:
    """X of least |A X - B|, the shortest of them where there are several. Shapes: A (*, m, n), B (*, m, k) or (*, m).

    Residuals are given where m > n and the rank is n.
    """
    check_matrices("lstsq", A)
    is_vector = B.ndim == A.ndim - 1
    b = B.unsqueeze(-1) if is_vector else B
    solution = pinv(A, rtol=rcond) @ b
    rank = matrix_rank(A)
    rows, columns = A.shape[-2:]
    whole = rows > columns and bool((rank == columns).all())
    residuals = _core.sum(_core.square(A @ solution - b), -2) if whole else A.new_empty(0)
    return LeastSquares(solution.squeeze(-1) if is_vector else solution, residuals, rank, A.new_empty(0))
