"""Functions made of matrix products: addmm and its kin, einsum, tensordot, kron, cdist and others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from reference import gemm as reference


def leaf(*shape: int) -> Tensor:
    return dd2424.randn(*shape, dtype=dd2424.float64, requires_grad=True)


SUMS: dict[str, tuple[Any, Any, tuple[tuple[int, ...], ...]]] = {
    "addmm": (dd2424.addmm, lambda c, a, b: (c, a @ b), ((3, 5), (3, 4), (4, 5))),
    "addmm of a row": (dd2424.addmm, lambda c, a, b: (c, a @ b), ((5,), (3, 4), (4, 5))),
    "addmv": (dd2424.addmv, lambda c, a, b: (c, a @ b), ((3,), (3, 4), (4,))),
    "addr": (dd2424.addr, lambda c, a, b: (c, np.outer(a, b)), ((3, 4), (3,), (4,))),
    "baddbmm": (dd2424.baddbmm, lambda c, a, b: (c, a @ b), ((2, 3, 5), (2, 3, 4), (2, 4, 5))),
    "addbmm": (dd2424.addbmm, lambda c, a, b: (c, (a @ b).sum(0)), ((3, 5), (2, 3, 4), (2, 4, 5))),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize(("beta", "alpha"), [(1, 1), (0.5, -2.0), (0, 1), (1, 0)])
def test_sums_with_products(name: str, beta: float, alpha: float) -> None:
    function, parts, shapes = SUMS[name]
    tensors = [leaf(*shape) for shape in shapes]
    c, product = parts(*[t.detach().numpy() for t in tensors])
    call = lambda *t: function(*t, beta=beta, alpha=alpha)
    assert_accurate(call(*tensors), beta * c + alpha * product, 16, 8.0)
    assert gradcheck(call, tensors)
    assert gradgradcheck(call, tensors)


def test_with_beta_zero_a_nan_does_not_pass() -> None:
    bad, a = dd2424.full((2, 2), float("nan")), dd2424.ones(2, 2)
    assert dd2424.addmm(bad, a, a, beta=0).tolist() == [[2, 2], [2, 2]]
    assert dd2424.baddbmm(bad, a[None], a[None], beta=0).tolist() == [[[2, 2], [2, 2]]]
    assert dd2424.addmv(bad[0], a, a[0], beta=0).tolist() == [2, 2]


EQUATIONS = {
    "ij,jk->ik": ((3, 4), (4, 5)),
    "ij,jk": ((3, 4), (4, 5)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
    "ii->i": ((4, 4),),
    "ii": ((4, 4),),
    "ij->ji": ((3, 4),),
    "ij->j": ((3, 4),),
    "i,j->ij": ((3,), (4,)),
    "i,i": ((3,), (3,)),
    "bhqd,bhkd->bhqk": ((2, 3, 4, 5), (2, 3, 6, 5)),
    "...ij,...jk->...ik": ((2, 1, 3, 4), (6, 4, 5)),
    "...i->i...": ((2, 3, 4),),
    "i...,j...->ij...": ((2, 3), (4, 3)),
    "ab,bc,cd->ad": ((2, 3), (3, 4), (4, 5)),
    "a,b,c->cba": ((2,), (3,), (4,)),
    "iij,jkk->ik": ((2, 2, 3), (3, 4, 4)),
    "ij,ij->": ((3, 4), (3, 4)),
    "b i j , b j -> b i": ((2, 3, 4), (2, 4)),
    "BiJ,JBk->kiB": ((2, 3, 4), (4, 2, 5)),
    "ij,k->ijk": ((0, 2), (3,)),
    ",ij->ji": ((), (2, 3)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation: str) -> None:
    tensors = [leaf(*shape) for shape in EQUATIONS[equation]]
    expected = reference.einsum(equation.replace(" ", ""), *[t.detach().numpy() for t in tensors])
    assert_accurate(dd2424.einsum(equation, *tensors), expected, 16, 8.0)
    assert_accurate(dd2424.einsum(equation, tensors), expected, 16, 8.0)
    if expected.size < 40:
        assert gradcheck(lambda *t: dd2424.einsum(equation, *t), tensors)
        assert gradgradcheck(lambda *t: dd2424.einsum(equation, *t), tensors)


@pytest.mark.parametrize(("equation", "message"), [
    ("ij", "einsum: equation must name 2 operands"), ("ijk,jk->i", "einsum: operand must have a dimension for each"),
    ("ij,jk->il", "einsum: output must name labels of the inputs"), ("ij,jk->ii", "once each"),
    ("ij,ik->jk", 'einsum: "i" must have one size'),
])  # fmt: skip
def test_einsum_refusals(equation: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        dd2424.einsum(equation, dd2424.ones(2, 3), dd2424.ones(3, 4))


OTHERS: dict[str, tuple[Any, Any, tuple[tuple[int, ...], ...]]] = {
    "tensordot": (dd2424.tensordot, lambda a, b: np.tensordot(a, b, 2), ((2, 3, 4), (3, 4, 5))),
    "tensordot(0)": (lambda a, b: dd2424.tensordot(a, b, 0), lambda a, b: np.tensordot(a, b, 0), ((2, 3), (2,))),
    "tensordot lists": (lambda a, b: dd2424.tensordot(a, b, ([0, 2], [1, 0])),
                        lambda a, b: np.tensordot(a, b, ([0, 2], [1, 0])), ((2, 3, 4), (4, 2))),
    "kron": (dd2424.kron, np.kron, ((2, 3), (3, 2))),
    "kron of other dimensions": (dd2424.kron, np.kron, ((2,), (2, 1, 3))),
    "outer": (dd2424.outer, np.outer, ((3,), (4,))),
    "inner": (dd2424.inner, np.inner, ((2, 3), (4, 3))),
    "dot": (dd2424.dot, np.dot, ((4,), (4,))),
    "vdot": (dd2424.vdot, np.vdot, ((4,), (4,))),
    "mv": (dd2424.mv, np.dot, ((3, 4), (4,))),
    "mm": (dd2424.mm, np.dot, ((3, 4), (4, 2))),
    "bmm": (dd2424.bmm, np.matmul, ((2, 3, 4), (2, 4, 5))),
    "cross": (dd2424.cross, np.cross, ((4, 3), (4, 3))),
    "trace": (dd2424.trace, np.trace, ((3, 4),)),
    "chain_matmul": (dd2424.chain_matmul, lambda a, b, c: a @ b @ c, ((2, 3), (3, 4), (4, 2))),
    "bilinear": (dd2424.functional.bilinear, lambda x, y, w, b: np.einsum("nd,ode,ne->no", x, w, y) + b,
                 ((3, 2), (3, 4), (5, 2, 4), (5,))),
    "cosine_similarity": (dd2424.cosine_similarity, lambda a, b: (a * b).sum(1)
                          / np.sqrt((a * a).sum(1) * (b * b).sum(1)), ((3, 4), (3, 4))),
    "pairwise_distance": (lambda a, b: dd2424.pairwise_distance(a, b, 3.0),
                          lambda a, b: np.linalg.norm(a - b + 1e-6, 3, axis=-1), ((3, 4), (3, 4))),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_products(name: str) -> None:
    function, expected, shapes = OTHERS[name]
    tensors = [leaf(*shape) for shape in shapes]
    assert_accurate(function(*tensors), expected(*[t.detach().numpy() for t in tensors]), 16, 8.0)
    assert gradcheck(function, tensors)
    assert gradgradcheck(function, tensors)


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 3.0, float("inf")])
def test_cdist(p: float) -> None:
    x1, x2 = leaf(2, 4, 3), leaf(2, 5, 3)
    assert_accurate(dd2424.cdist(x1, x2, p), reference.cdist(x1.detach().numpy(), x2.detach().numpy(), p), 16)
    assert gradcheck(lambda a, b: dd2424.cdist(a, b, p), (x1, x2))


def test_cdist_of_equal_rows_has_a_finite_gradient() -> None:
    x = leaf(3, 2)
    dd2424.cdist(x, x).sum().backward()
    assert x.grad.isfinite().all()
