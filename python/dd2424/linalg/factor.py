"""Factorisations of matrices and their derivatives.

Source: Giles, "Collected Matrix Derivative Results for Forward and Reverse Mode Algorithmic Differentiation" (2008);
Walter and Lehmann, "Algorithmic Differentiation of Linear Algebra Functions" (2010), for QR.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424.autograd.function import Context, Function
from dd2424.linalg.arrays import call, check_matrices
from dd2424.linalg.solve import inv, solve_triangular


class Cholesky(Function):
    """Tape node of `cholesky`: with S = L^-T tril'(L^T dL) L^-1, dA = (S + S^T) / 2; tril' halves the diagonal."""

    @staticmethod
    def forward(ctx: Context, a: Tensor) -> Tensor:
        factor: Tensor = call("cholesky", np.linalg.cholesky, a)
        ctx.save_for_backward(factor)
        return factor

    @staticmethod
    def backward(ctx: Context, dl: Tensor) -> Tensor:
        (factor,) = ctx.saved_tensors
        product = factor.mT @ dl
        halved = product.tril() - _core.diagonal(product, 0, -2, -1).diag_embed() / 2
        inverse = inv(factor)
        s = inverse.mT @ halved @ inverse
        return (s + s.mT) / 2


class QrTall(Function):
    """Tape node of `qr` for m >= n: with M = R dR^T - dQ^T Q, dA = (dQ + Q (tril(M) + tril(M, -1)^T)) R^-T."""

    @staticmethod
    def forward(ctx: Context, a: Tensor) -> tuple[Tensor, Tensor]:
        q, r = call("qr", lambda x: tuple(np.linalg.qr(x)), a)
        ctx.save_for_backward(q, r)
        return q, r

    @staticmethod
    def backward(ctx: Context, dq: Tensor, dr: Tensor) -> Tensor:
        q, r = ctx.saved_tensors
        m = r @ dr.mT - dq.mT @ q
        total = dq + q @ (m.tril() + m.tril(-1).mT)
        return solve_triangular(r, total.mT, upper=True).mT


class EighNode(Function):
    """Tape node of `eigh`: dA = V (diag(dL) + (V^T dV) / E) V^T, E_ij = L_j - L_i; made symmetric."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, uplo: str) -> tuple[Tensor, Tensor]:
        values, vectors = call("eigh", lambda x: tuple(np.linalg.eigh(x, uplo)), a)  # type: ignore[call-overload]
        ctx.save_for_backward(values, vectors)
        return values, vectors

    @staticmethod
    def backward(ctx: Context, dvalues: Tensor, dvectors: Tensor) -> tuple[Tensor, None]:
        values, vectors = ctx.saved_tensors
        inner = (vectors.mT @ dvectors) * _reciprocal_gaps(values) + dvalues.diag_embed()
        da = vectors @ inner @ vectors.mT
        return (da + da.mT) / 2, None


def _reciprocal_gaps(values: Tensor) -> Tensor:
    """1 / (v_j - v_i), and 0 on the diagonal."""
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
    on_diagonal = _core.ones_like(values).diag_embed()
    return (1 - on_diagonal) / (gaps + on_diagonal)


class SvdNode(Function):
    """Tape node of `svd`, reduced: with F_ij = 1 / (s_j^2 - s_i^2) and skew(X) = X - X^T,

    dA = U ((F skew(U^T dU)) S + S (F skew(V^T dV)) + diag(dS)) V^T + (I - U U^T) dU S^-1 V^T + U S^-1 dV^T (I - V V^T).
    """

    @staticmethod
    def forward(ctx: Context, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, s, vh = call("svd", lambda x: tuple(np.linalg.svd(x, full_matrices=False)), a)
        ctx.save_for_backward(u, s, vh)
        ctx.set_materialize_grads(False)
        return u, s, vh

    @staticmethod
    def backward(ctx: Context, du: Tensor | None, ds: Tensor | None, dvh: Tensor | None) -> Tensor:
        u, s, vh = ctx.saved_tensors
        inner = _core.zeros_like(s).diag_embed() if ds is None else ds.diag_embed()
        f = _reciprocal_gaps(s * s)
        beside = None
        if du is not None:
            product = u.mT @ du
            inner = inner + (f * (product - product.mT)) * s.unsqueeze(-2)
            beside = ((du - u @ product) / s.unsqueeze(-2)) @ vh
        if dvh is not None:
            product = vh @ dvh.mT
            inner = inner + s.unsqueeze(-1) * (f * (product - product.mT))
            other = (u / s.unsqueeze(-2)) @ (dvh - product.mT @ vh)
            beside = other if beside is None else beside + other
        da = u @ inner @ vh
        return da if beside is None else da + beside


class QR(NamedTuple):
    """Q (*, m, k) with orthonormal columns and R (*, k, n), upper triangular."""

    Q: Tensor
    R: Tensor


class SVD(NamedTuple):
    """U (*, m, k), S (*, k) from the largest down, Vh (*, k, n)."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class Eigh(NamedTuple):
    """eigenvalues (*, n) from the smallest up, eigenvectors (*, n, n) in columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L, lower triangular, with A = L L^T; its transpose if `upper`. Only A's lower triangle is read.

    Raises: LinAlgError where A is not positive definite.
    """
    check_matrices("cholesky", A, square=True)
    factor: Tensor = Cholesky.apply(A)
    return factor.mT if upper else factor


def qr(A: Tensor, mode: str = "reduced") -> QR:
    """A = Q R; mode "reduced", "complete" (Q is square; no gradient where m > n) or "r" (Q is empty).

    Raises: RuntimeError for another mode.
    """
    check_matrices("qr", A)
    rows, columns = A.shape[-2:]
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f'qr: mode must be "reduced", "complete" or "r", got "{mode}"')
    if mode == "complete" and rows > columns:
        return QR(*call("qr", lambda x: tuple(np.linalg.qr(x, "complete")), A))
    if rows >= columns:
        q, r = QrTall.apply(A)
    else:  # the left square decides Q
        q, left = QrTall.apply(A[..., :rows])
        r = _core.cat([left, q.mT @ A[..., rows:]], -1)
    return QR(A.new_empty(0), r) if mode == "r" else QR(q, r)


def svd(A: Tensor, full_matrices: bool = True) -> SVD:
    """A = U diag(S) Vh. With full_matrices U and Vh are square, and have no gradient where they are larger so.

    Gradients through U and Vh are defined where the singular values differ.
    """
    check_matrices("svd", A)
    if full_matrices and A.shape[-1] != A.shape[-2]:
        u, _, vh = call("svd", lambda x: tuple(np.linalg.svd(x)), A)
        return SVD(u, svdvals(A), vh)
    return SVD(*SvdNode.apply(A))


def svdvals(A: Tensor) -> Tensor:
    """The singular values, from the largest down."""
    check_matrices("svdvals", A)
    values: Tensor = SvdNode.apply(A)[1]
    return values


def eigh(A: Tensor, UPLO: str = "L") -> Eigh:
    """Eigenvalues and eigenvectors of a symmetric matrix, of which one triangle is read: "L" or "U".

    Gradients through eigenvectors are defined where the eigenvalues differ.
    """
    check_matrices("eigh", A, square=True)
    if UPLO not in ("L", "U"):
        raise RuntimeError(f'eigh: UPLO must be "L" or "U", got "{UPLO}"')
    return Eigh(*EighNode.apply(A, UPLO))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a symmetric matrix, from the smallest up."""
    return eigh(A, UPLO).eigenvalues
