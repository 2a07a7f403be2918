"""Gates and fused activations on a GPU, real or emulated, against the processor's."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from dd2424.nn import functional as F
from on_gpu import FLOATS, assert_alike, both, needs_gpu

pytestmark = needs_gpu
GATES = ["glu", "swiglu", "geglu", "geglu_tanh"]


def gate(name: str, x: Tensor, other: Tensor | None = None, dim: int = -1) -> Tensor:
    if name == "glu":
        return F.glu(x, dim)
    if name == "swiglu":
        return F.swiglu(x, other, dim)
    return F.geglu(x, other, dim, "tanh" if name == "geglu_tanh" else "none")


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_gates_of_halves(rng, name, dtype):
    for shape, dim in [
        ((3, 8), 1),
        ((3, 10), 1),
        ((6, 5), 0),
        ((2, 6, 3), 1),
        ((0, 4), 1),
        ((5, 2), -1),
        ((33, 64), 1),
    ]:
        results, leaves = [], []
        for x in both(3 * rng.normal(size=shape), dtype):
            leaf = x.requires_grad_()
            y = gate(name, leaf, dim=dim)
            (y * y).sum().backward()
            results.append(y), leaves.append(leaf)
        assert_alike(results[1], results[0], 16, scale=1e-2)
        assert_alike(leaves[1].grad, leaves[0].grad, 16, scale=4.0)  # 1 - s cancels


@pytest.mark.parametrize("name", ["swiglu", "geglu", "geglu_tanh"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_gates_of_two(rng, name, dtype):
    for shape in [(), (7,), (5, 12), (4, 0)]:
        pairs = [both(3 * rng.normal(size=shape), dtype) for _ in range(2)]
        results = []
        for device in (0, 1):
            a, b = (pair[device].requires_grad_() for pair in pairs)
            y = gate(name, a, b)
            (y * y).sum().backward()
            results.append((y, a.grad, b.grad))
        for gpu, here in zip(results[1], results[0], strict=True):
            assert_alike(gpu, here, 16, scale=1.0)


def test_gradients_of_both_orders():
    x = dd2424.randn(3, 6, dtype=dd2424.float64, device="cuda", requires_grad=True)
    w = dd2424.randn(3, 6, dtype=dd2424.float64, device="cuda", requires_grad=True)
    for name in GATES:
        for function, inputs in [(lambda x, n=name: gate(n, x), (x,))] + (
            [(lambda x, w, n=name: gate(n, x, w), (x, w))] if name != "glu" else []
        ):
            assert gradcheck(function, inputs)
            assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "tanh", "sigmoid", "silu"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_linear_with_an_activation_behind_it(rng, activation, dtype):
    for rows, inputs, outputs in [(5, 3, 7), (200, 4, 40), (0, 3, 2)]:
        pairs = [both(rng.normal(size=shape), dtype) for shape in ((rows, inputs), (outputs, inputs), (outputs,))]
        results = []
        for device in (0, 1):
            x, w, b = (pair[device].detach().requires_grad_() for pair in pairs)
            y = F.linear(x, w, b, activation=activation)
            (y * y).sum().backward()
            results.append((y, x.grad, w.grad, b.grad))
        for gpu, here in zip(results[1], results[0], strict=True):
            assert_alike(gpu, here, 16, scale=4.0 * np.sqrt(rows + 1))


@pytest.mark.parametrize("dtype", FLOATS)
def test_prelu_and_other_compositions(rng, dtype):
    x, w = both(rng.normal(size=(4, 3, 5)), dtype), both(rng.normal(size=3), dtype)
    results = []
    for device in (0, 1):
        a, b = x[device].detach().requires_grad_(), w[device].detach().requires_grad_()
        y = F.prelu(a, b) + F.hardshrink(a) + F.softshrink(a) + F.tanhshrink(a) + F.threshold(a, 0.1, 2.0) + F.relu6(a)
        y.sum().backward()
        results.append((y, a.grad, b.grad))
    for gpu, here in zip(results[1], results[0], strict=True):
        assert_alike(gpu, here, 16, scale=4.0)
