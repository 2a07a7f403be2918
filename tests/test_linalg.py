"""Linear algebra against NumPy, first and second gradients by finite differences, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor, linalg
from dd2424.autograd import gradcheck, gradgradcheck


def matrices(rng: np.random.Generator, *shape: int) -> Tensor:
    """Well-conditioned: random, with 2 added on the diagonal."""
    array = rng.standard_normal(shape)
    array[..., range(min(shape[-2:])), range(min(shape[-2:]))] += 2.0
    return dd2424.tensor(array, requires_grad=True)


def positive(x: Tensor) -> Tensor:
    return x @ x.mT + 0.5 * dd2424.eye(x.shape[-1], dtype=x.dtype)


def symmetric(x: Tensor) -> Tensor:
    return x + x.mT


# What each function computes of a batch of square matrices, and NumPy's.
SQUARE: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Any]]] = {
    "inv": (linalg.inv, np.linalg.inv),
    "det": (linalg.det, np.linalg.det),
    "slogdet": (lambda x: linalg.slogdet(x).logabsdet, lambda a: np.linalg.slogdet(a)[1]),
    "logdet": (lambda x: linalg.logdet(positive(x)), lambda a: np.linalg.slogdet(a @ a.mT + 0.5 * np.eye(3))[1]),
    "solve": (lambda x: linalg.solve(x, x[..., :2] * 2 + 1), lambda a: np.linalg.solve(a, a[..., :2] * 2 + 1)),
    "solve on the right": (lambda x: linalg.solve(x, x[..., :2, :] + 1, left=False),
                           lambda a: (a[..., :2, :] + 1) @ np.linalg.inv(a)),
    "solve a vector": (lambda x: linalg.solve(x, x[..., 0] + 1),
                       lambda a: np.linalg.solve(a, a[..., 0:1] + 1)[..., 0]),
    "upper triangle": (lambda x: linalg.solve_triangular(x, x[..., :1] + 1, upper=True),
                       lambda a: np.linalg.solve(np.triu(a), a[..., :1] + 1)),
    "unit lower triangle": (lambda x: linalg.solve_triangular(x, x[..., :1] + 1, upper=False, unitriangular=True),
                            lambda a: np.linalg.solve(np.tril(a, -1) + np.eye(3), a[..., :1] + 1)),
    "cholesky": (lambda x: linalg.cholesky(positive(x)), lambda a: np.linalg.cholesky(a @ a.mT + 0.5 * np.eye(3))),
    "cholesky upper": (lambda x: linalg.cholesky(positive(x), upper=True),
                       lambda a: np.linalg.cholesky(a @ a.mT + 0.5 * np.eye(3)).mT),
    "cholesky_solve": (lambda x: linalg.cholesky_solve(x[..., :2], linalg.cholesky(positive(x))),
                       lambda a: np.linalg.solve(a @ a.mT + 0.5 * np.eye(3), a[..., :2])),
    "eigvalsh": (lambda x: linalg.eigvalsh(symmetric(x)), lambda a: np.linalg.eigvalsh(a + a.mT)),
    "eigh": (lambda x: linalg.eigh(symmetric(x)).eigenvectors.square(), lambda a: np.linalg.eigh(a + a.mT)[1] ** 2),
    "svdvals": (linalg.svdvals, lambda a: np.linalg.svd(a)[1]),
    "matrix_power(3)": (lambda x: linalg.matrix_power(x, 3), lambda a: np.linalg.matrix_power(a, 3)),
    "matrix_power(-2)": (lambda x: linalg.matrix_power(x, -2), lambda a: np.linalg.matrix_power(a, -2)),
    "matrix_exp": (linalg.matrix_exp,
                   lambda a: np.stack([exponential(m) for m in a.reshape(-1, 3, 3)]).reshape(a.shape)),
    "nuclear norm": (lambda x: linalg.matrix_norm(x, "nuc"), lambda a: np.linalg.svd(a)[1].sum(-1)),
    "spectral norm": (lambda x: linalg.matrix_norm(x, 2, keepdim=True),
                      lambda a: np.linalg.svd(a)[1].max(-1)[..., None, None]),
    "cross": (lambda x: linalg.cross(x, x.flip(-1)), lambda a: np.cross(a, a[..., ::-1])),
    "cross along rows": (lambda x: linalg.cross(x, x.flip(-1), dim=-2),
                         lambda a: np.cross(a, a[..., ::-1], axisa=-2, axisb=-2, axisc=-2)),
    "vander": (lambda x: linalg.vander(x, N=4), lambda a: a[..., None] ** np.arange(4)),
    "cond": (linalg.cond, np.linalg.cond),
    "cond(1)": (lambda x: linalg.cond(x, 1), lambda a: np.linalg.cond(a, 1)),
    "multi_dot": (lambda x: linalg.multi_dot([x[..., 0].reshape(-1)[:3], x.reshape(-1, 3)[:3], x.reshape(-1, 3)[:3]]),
                  lambda a: a[..., 0].reshape(-1)[:3] @ a.reshape(-1, 3)[:3] @ a.reshape(-1, 3)[:3]),
}  # fmt: skip


def exponential(a: Any) -> Any:
    """e^A by its eigenvalues."""
    values, vectors = np.linalg.eig(a)
    return ((vectors * np.exp(values)) @ np.linalg.inv(vectors)).real


@pytest.mark.parametrize("name", SQUARE)
def test_square_matrices(rng: np.random.Generator, name: str) -> None:
    function, expected = SQUARE[name]
    x = matrices(rng, 2, 3, 3)
    np.testing.assert_allclose(function(x).detach().numpy(), expected(NumPyLike(x)), rtol=1e-10, atol=1e-12)
    one = x[0].detach().requires_grad_()
    assert gradcheck(function, one)
    assert gradcheck(function, x)


def NumPyLike(x: Tensor) -> Any:
    class WithTranspose(np.ndarray):
        mT = property(lambda self: np.swapaxes(self, -1, -2))

    return x.detach().numpy().view(WithTranspose)


@pytest.mark.parametrize("name", [n for n in SQUARE if n not in ("eigh", "matrix_exp", "cond(1)", "spectral norm")])
def test_second_gradients(rng: np.random.Generator, name: str) -> None:
    assert gradgradcheck(SQUARE[name][0], matrices(rng, 3, 3), atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3), (2, 4, 2)], ids=str)
def test_qr(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x = matrices(rng, *shape)
    q, r = linalg.qr(x)
    np.testing.assert_allclose((q @ r).detach().numpy(), x.detach().numpy(), atol=1e-12)
    unit = (q.mT @ q).detach().numpy()
    np.testing.assert_allclose(unit, np.broadcast_to(np.eye(q.shape[-1]), unit.shape), atol=1e-12)
    np.testing.assert_array_equal(r.detach().numpy(), np.triu(r.detach().numpy()))
    assert gradcheck(lambda x: tuple(linalg.qr(x)), x)
    assert gradgradcheck(lambda x: linalg.qr(x).Q, x, atol=1e-4)
    assert linalg.qr(x, "r").Q.numel() == 0
    complete = linalg.qr(x, "complete").Q
    assert complete.shape[-2:] == (shape[-2], shape[-2])


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3), (2, 2, 3)], ids=str)
def test_svd(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x = matrices(rng, *shape)
    u, s, vh = linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(((u * s.unsqueeze(-2)) @ vh).detach().numpy(), x.detach().numpy(), atol=1e-12)
    # what does not change with the signs of the singular vectors
    invariant = lambda x: (lambda p: (p.U.square(), p.S, p.Vh.square(), p.U[..., :1] @ p.Vh[..., :1, :]))(
        linalg.svd(x, full_matrices=False)
    )
    assert gradcheck(invariant, x)
    full = linalg.svd(x)
    assert full.U.shape[-1] == shape[-2]
    assert full.Vh.shape[-1] == shape[-1]
    assert gradcheck(lambda x: linalg.svd(x).S, x)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3), (2, 4, 2)], ids=str)
def test_pinv_and_lstsq(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x = matrices(rng, *shape)
    b = dd2424.tensor(rng.standard_normal((*shape[:-1], 2)), requires_grad=True)
    np.testing.assert_allclose(linalg.pinv(x).detach().numpy(), np.linalg.pinv(x.detach().numpy()), atol=1e-12)
    assert gradcheck(linalg.pinv, x)
    assert gradgradcheck(linalg.pinv, x, atol=1e-4)
    found = linalg.lstsq(x, b)
    if x.ndim == 2:
        solution, residuals, rank, _ = np.linalg.lstsq(x.detach().numpy(), b.detach().numpy(), rcond=None)
        np.testing.assert_allclose(found.solution.detach().numpy(), solution, atol=1e-12)
        np.testing.assert_allclose(found.residuals.detach().numpy(), residuals, atol=1e-12)
        assert found.rank.item() == rank
    assert gradcheck(lambda x, b: linalg.lstsq(x, b).solution, (x, b))


def test_det_of_a_singular_matrix_has_a_gradient() -> None:
    x = dd2424.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=dd2424.float64, requires_grad=True)
    linalg.det(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[4, -2], [-2, 1]], atol=1e-12)


def test_rank_and_power_and_logdet() -> None:
    x = dd2424.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert linalg.matrix_rank(x).item() == 1
    assert linalg.matrix_rank(dd2424.eye(3).expand(2, 3, 3)).tolist() == [3, 3]
    assert linalg.matrix_rank(dd2424.eye(3) * 1e-3, atol=1e-2).item() == 0
    assert linalg.matrix_power(x, 0).tolist() == [[1, 0], [0, 1]]
    assert linalg.logdet(dd2424.tensor([[-1.0]])).isnan().item()
    assert linalg.slogdet(dd2424.tensor([[-2.0]])).sign.item() == -1
    assert linalg.vecdot(x, x).tolist() == [5, 20]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_are_kept(dtype: str) -> None:
    x = dd2424.eye(3, dtype=getattr(dd2424, dtype)) * 2
    for function in (linalg.inv, linalg.det, linalg.cholesky, linalg.pinv, linalg.svdvals, linalg.eigvalsh,
                     linalg.matrix_exp, linalg.cond, lambda x: linalg.solve(x, x)):  # fmt: skip
        assert function(x).dtype is x.dtype


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0), (0, 0)], ids=str)
def test_nothing(shape: tuple[int, ...]) -> None:
    x = dd2424.zeros(*shape, dtype=dd2424.float64)
    assert linalg.inv(x).shape == shape
    assert linalg.det(x).shape == shape[:-2]
    assert linalg.svdvals(x).shape == shape[:-1]
    assert linalg.matrix_rank(x).shape == shape[:-2]


def test_refusals() -> None:
    singular, wide = dd2424.ones(2, 2), dd2424.ones(2, 3)
    for function in (linalg.inv, lambda x: linalg.solve(x, x)):
        with pytest.raises(linalg.LinAlgError, match=r"(inv|solve): A must be a matrix that can be factored.*Singular"):
            function(singular)
    with pytest.raises(linalg.LinAlgError, match=r"cholesky: A must be .*positive definite"):
        linalg.cholesky(-singular)
    for function in (linalg.inv, linalg.det, linalg.cholesky, linalg.eigh, lambda x: linalg.matrix_power(x, 2)):
        with pytest.raises(RuntimeError, match=r"A must have shape \(\*, n, n\), got \(2, 3\)"):
            function(wide)
    for dtype in (dd2424.int64, dd2424.bfloat16):
        with pytest.raises(RuntimeError, match=r"inv: A must be float32 or float64, got"):
            linalg.inv(singular.to(dtype))
    with pytest.raises(RuntimeError, match=r"solve: B must have 2 rows"):
        linalg.solve(dd2424.eye(2), dd2424.ones(3, 2))
    with pytest.raises(RuntimeError, match=r"solve: B must have A's dtype"):
        linalg.solve(dd2424.eye(2), dd2424.ones(2, 2).double())
    with pytest.raises(RuntimeError, match=r"qr: mode must be"):
        linalg.qr(wide, "full")
    with pytest.raises(RuntimeError, match=r"eigh: UPLO must be"):
        linalg.eigh(singular, "X")
    with pytest.raises(ValueError, match=r"matrix_norm: ord must be"):
        linalg.matrix_norm(wide, 3)
    with pytest.raises(RuntimeError, match=r"multi_dot: tensors must be at least 2"):
        linalg.multi_dot([wide])
