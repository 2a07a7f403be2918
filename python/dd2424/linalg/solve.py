"""Inverses, linear equations and determinants."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._host import host_array
from dd2424.autograd.function import Context, Function
from dd2424.linalg.arrays import call, check_matrices


class Inverse(Function):
    """Tape node of `inv`: with Y = X^-1, dX = -Y^T dY Y^T."""

    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:
        y: Tensor = call("inv", np.linalg.inv, x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return -(y.mT @ dy @ y.mT)


class Solve(Function):
    """Tape node of `solve`: with A X = B, dB = A^-T dX and dA = -dB X^T."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor) -> Tensor:
        x: Tensor = call("solve", np.linalg.solve, a, b)
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx: Context, dx: Tensor) -> tuple[Tensor, Tensor]:
        a, x = ctx.saved_tensors
        db: Tensor = Solve.apply(a.mT, dx)
        return -(db @ x.mT), db


class Determinant(Function):
    """Tape node of `det`: dA = dy times the matrix of cofactors, det(A) A^-T where A is regular."""

    @staticmethod
    def forward(ctx: Context, a: Tensor) -> Tensor:
        y: Tensor = call("det", np.linalg.det, a)
        ctx.save_for_backward(a, y)
        return y

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> Tensor:
        a, y = ctx.saved_tensors
        scale = dy.unsqueeze(-1).unsqueeze(-1)
        if not bool((y == 0).any()):
            inverse: Tensor = Inverse.apply(a)
            return scale * y.unsqueeze(-1).unsqueeze(-1) * inverse.mT
        return scale * _cofactors(a)


def _cofactors(a: Tensor) -> Tensor:
    """From the singular values, so that singular matrices have theirs: det(U V) U diag(products of the others) V^T."""
    u, s, vh = np.linalg.svd(host_array(a))
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), 1.0, s[..., None, :]).prod(-1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    result: Tensor = call("det", lambda x: sign[..., None, None] * (u * others[..., None, :]) @ vh, a)
    return result


class LogDeterminant(Function):
    """Tape node of `slogdet`: dA = dlog A^-T."""

    @staticmethod
    def forward(ctx: Context, a: Tensor) -> tuple[Tensor, Tensor]:
        sign, logabsdet = call("slogdet", lambda x: tuple(np.linalg.slogdet(x)), a)
        ctx.save_for_backward(a)
        ctx.mark_non_differentiable(sign)
        return sign, logabsdet

    @staticmethod
    def backward(ctx: Context, dsign: Tensor, dlog: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        inverse: Tensor = Inverse.apply(a)
        return dlog.unsqueeze(-1).unsqueeze(-1) * inverse.mT


class PseudoInverse(Function):
    """Tape node of `pinv`: with P = A^+, dA = -P^T dP P^T + (I - A P) dP^T P P^T + P^T P dP^T (I - P A).

    Source: Golub and Pereyra, "The Differentiation of Pseudo-Inverses and Nonlinear Least Squares Problems" (1973).
    """

    @staticmethod
    def forward(ctx: Context, a: Tensor, rcond: Any, hermitian: bool) -> Tensor:
        p: Tensor = call("pinv", np.linalg.pinv, a, rcond=rcond, hermitian=hermitian)
        ctx.save_for_backward(a, p)
        return p

    @staticmethod
    def backward(ctx: Context, dp: Tensor) -> tuple[Tensor, None, None]:
        a, p = ctx.saved_tensors
        g, t = dp.mT, p.mT
        outside, inside = g - a @ (p @ g), g - (g @ p) @ a
        return outside @ p @ t + t @ p @ inside - t @ dp @ t, None, None


def inv(A: Tensor) -> Tensor:
    """A^-1. Shapes: (*, n, n). Raises: LinAlgError for a singular matrix."""
    check_matrices("inv", A, square=True)
    result: Tensor = Inverse.apply(A)
    return result


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (X A = B with left=False). Shapes: A (*, n, n), B (*, n, k), or (*, n) for a vector.

    Raises: LinAlgError for a singular matrix.
    """
    check_matrices("solve", A, square=True)
    is_vector = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    b = B.unsqueeze(-1) if is_vector else B
    if A.dtype != B.dtype:
        raise RuntimeError(f"solve: B must have A's dtype {A.dtype}, got {B.dtype}")
    if b.shape[-2 if left else -1] != A.shape[-1]:
        raise RuntimeError(f"solve: B must have {A.shape[-1]} {'rows' if left else 'columns'}, got {tuple(B.shape)}")
    x: Tensor = Solve.apply(A, b) if left else Solve.apply(A.mT, b.mT).mT
    return x.squeeze(-1) if is_vector else x


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """`solve` with one triangle of A alone, and ones on its diagonal if it is unitriangular."""
    check_matrices("solve_triangular", A, square=True)
    triangle = A.triu(int(unitriangular)) if upper else A.tril(-int(unitriangular))
    if unitriangular:
        triangle = triangle + _core.diagonal(_core.ones_like(A), 0, -2, -1).diag_embed()
    return solve(triangle, B, left=left)


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with (L L^T) X = B, or (L^T L) X = B for an upper factor."""
    half = solve_triangular(L.mT if upper else L, B, upper=False)
    return solve_triangular(L if upper else L.mT, half, upper=True)


def det(A: Tensor) -> Tensor:
    """The determinant. Shapes: (*, n, n); output (*)."""
    check_matrices("det", A, square=True)
    result: Tensor = Determinant.apply(A)
    return result


class SignAndLog(NamedTuple):
    """A determinant as sign * exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


def slogdet(A: Tensor) -> SignAndLog:
    """The determinant's sign and the logarithm of its size. Shapes: (*, n, n); outputs (*)."""
    check_matrices("slogdet", A, square=True)
    return SignAndLog(*LogDeterminant.apply(A))


def logdet(A: Tensor) -> Tensor:
    """log det A; NaN where it is negative."""
    sign, logabsdet = slogdet(A)
    return _core.where(sign < 0, float("nan"), logabsdet)


def pinv(A: Tensor, *, rtol: float | None = None, hermitian: bool = False) -> Tensor:
    """The pseudo-inverse; singular values up to rtol times the largest count as 0. Shapes: (*, m, n); output (*, n, m).

    rtol: by default max(m, n) roundings.
    """
    check_matrices("pinv", A)
    eps = float(np.finfo(A.dtype.name).eps)
    limit = max(A.shape[-2:]) * eps if rtol is None else rtol
    result: Tensor = PseudoInverse.apply(A, limit, hermitian)
    return result
