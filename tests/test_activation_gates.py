"""Gates (GLU, SwiGLU, GEGLU): the kernels against float64, their gradients, layouts, counts and refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd
from dd2424.nn import functional as F
from reference import activation as reference

Tensor = dd2424.Tensor
GATES: dict[str, tuple[Callable[..., Tensor], str]] = {  # of two tensors; and the activation
    "swiglu": (F.swiglu, "silu"),
    "geglu": (F.geglu, "gelu"),
    "geglu_tanh": (lambda a, b=None, dim=-1: F.geglu(a, b, dim, approximate="tanh"), "gelu_tanh"),
}
SHAPES = [(1,), (3, 7), (2, 5, 600), (1100,), (0, 4)]  # tails, lines of 512, nothing


def operands(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> list[Tensor]:
    return [dd2424.from_numpy(rng.standard_normal(shape) * 3).to(dtype).requires_grad_() for _ in range(2)]


def exact(*tensors: Tensor) -> list[Any]:
    return [t.detach().double().numpy() for t in tensors]


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [dd2424.float32, dd2424.float64, dd2424.bfloat16])
def test_gates_and_their_gradients(
    rng: np.random.Generator, isa: str, name: str, shape: tuple[int, ...], dtype: dd2424.dtype
) -> None:
    gate, activation = GATES[name]
    a, b = operands(rng, shape, dtype)
    dy = dd2424.from_numpy(rng.standard_normal(shape)).to(dtype)
    y = gate(a, b)
    y.backward(dy)
    assert y.dtype == dtype
    wide_a, wide_b, wide_dy = exact(a, b, dy)
    da, db = reference.gated_gradients(activation, wide_a, wide_b, wide_dy)
    digits = 0.1 if dtype == dd2424.float64 else 1e-6  # the reference has no more in the tails
    assert_accurate(y, reference.gated(activation, wide_a, wide_b), roundings=8, scale=np.abs(digits * wide_b))
    # exp(-u) hands on the rounding of u, a polynomial here
    assert_accurate(a.grad, da, roundings=64 if activation == "gelu_tanh" else 8, scale=np.abs(wide_dy * wide_b))
    assert_accurate(b.grad, db, roundings=8, scale=np.abs(digits * wide_dy))


@pytest.mark.parametrize("name", [*GATES, "glu"])
@pytest.mark.parametrize(("shape", "dim"), [((3, 8), -1), ((4, 3), 0), ((2, 6, 5), 1), ((2, 2, 700), 2), ((3, 0), 1)])
def test_halves_are_two_tensors_in_one(
    rng: np.random.Generator, isa: str, name: str, shape: tuple[int, ...], dim: int
) -> None:
    x = dd2424.from_numpy(rng.standard_normal(shape).astype(np.float32)).requires_grad_()
    a, b = (part.contiguous().detach().requires_grad_() for part in x.chunk(2, dim)) if x.numel() else (x, x)
    whole = F.glu(x, dim) if name == "glu" else GATES[name][0](x, None, dim)
    dy = dd2424.from_numpy(rng.standard_normal(tuple(whole.shape)).astype(np.float32))
    whole.backward(dy)
    if not x.numel():
        assert whole.shape == x.shape
        return
    parts = a * b.sigmoid() if name == "glu" else GATES[name][0](a, b)
    parts.backward(dy)
    if name == "glu":
        assert_accurate(whole, exact(parts)[0], roundings=2, scale=1e-6)
        assert_accurate(x.grad, np.concatenate(exact(a.grad, b.grad), dim), roundings=4, scale=1e-1)
    else:
        assert bits(whole) == bits(parts)
        assert bits(x.grad) == bits(dd2424.cat([a.grad, b.grad], dim))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "glu": lambda x: F.glu(x, 0),
    "swiglu": lambda x: F.swiglu(x, dim=0),
    "geglu": lambda x: F.geglu(x, dim=0),
    "geglu_tanh": lambda x: F.geglu(x, dim=0, approximate="tanh"),
    "swiglu of two": lambda x: F.swiglu(x[:2], x[2:]),
    "geglu of one twice": lambda x: F.geglu(x, x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_and_second_derivatives(rng: np.random.Generator, name: str) -> None:
    x = dd2424.from_numpy(rng.standard_normal((4, 3))).requires_grad_()
    assert autograd.gradcheck(FUNCTIONS[name], (x,))
    assert autograd.gradgradcheck(FUNCTIONS[name], (x,))


def test_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    data = rng.standard_normal((300, 1202)).astype(np.float32)
    dy = dd2424.from_numpy(rng.standard_normal((300, 601)).astype(np.float32))

    def run() -> Any:
        x = dd2424.from_numpy(data.copy()).requires_grad_()
        y = F.swiglu(x)
        y.backward(dy)
        return y, x.grad

    same_for_any_threads(run)


def test_odd_layouts(rng: np.random.Generator) -> None:
    a, b = operands(rng, (6, 5), dd2424.float32)
    plain = F.swiglu(a, b)
    assert bits(F.swiglu(a.t().contiguous().t(), b)) == bits(plain)
    assert bits(F.swiglu(a[:, ::2], b[:, ::2])) == bits(plain[:, ::2].contiguous())


def test_one_kernel_each_way(rng: np.random.Generator) -> None:
    x, dy = operands(rng, (4, 6), dd2424.float32)[0], dd2424.ones(4, 3)
    before = dd2424.kernel_count()
    y = F.swiglu(x)
    assert dd2424.kernel_count() - before == 1
    y.backward(dy)
    assert dd2424.kernel_count() - before == 2


REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "odd": (lambda: F.swiglu(dd2424.ones(3)), "swiglu: dim must have an even size, got 3"),
    "no dimension": (lambda: F.geglu(dd2424.tensor(1.0)), "geglu: input must have a dimension"),
    "shape": (lambda: F.swiglu(dd2424.ones(3), dd2424.ones(1)), r"gated: other must have the input's shape \(3,\)"),
    "dtype": (lambda: F.swiglu(dd2424.ones(3), dd2424.ones(3).double()), "gated: other must have the input's dtype"),
    "integers": (lambda: F.swiglu(dd2424.ones(4, dtype=dd2424.int64)), "swiglu: input must have a floating dtype"),
    "formula": (lambda: F.geglu(dd2424.ones(4), approximate="sin"), "geglu: approximate must be 'none' or 'tanh'"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    call, message = REFUSALS[name]
    with pytest.raises(RuntimeError, match=message):
        call()
