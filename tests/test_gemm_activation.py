"""A product with a bias and an activation behind it: forward, and the way back in one kernel with the bias's sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd
from dd2424.nn import functional as F
from reference import activation as reference

NAMES = list(reference.ACTIVATIONS)
SHAPES = [(1, 1, 1), (3, 5, 7), (70, 3, 33), (2, 2, 1100), (300, 4, 40)]  # rows, inputs, outputs


def leaves(rng: np.random.Generator, rows: int, inputs: int, outputs: int, dtype: Any = np.float32) -> list[Any]:
    shapes = ((rows, inputs), (outputs, inputs), (outputs,))
    return [dd2424.from_numpy(rng.standard_normal(shape).astype(dtype)).requires_grad_() for shape in shapes]


def apart(name: str, z: Any) -> Any:
    return F.gelu(z, approximate="tanh") if name == "gelu_tanh" else getattr(F, name)(z)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_product_then_the_activation(
    rng: np.random.Generator, isa: str, name: str, shape: tuple[int, int, int], dtype: Any
) -> None:
    fused = leaves(rng, *shape, dtype)
    plain = [leaf.detach().clone().requires_grad_() for leaf in fused]
    dy = dd2424.from_numpy(rng.standard_normal((shape[0], shape[2])).astype(dtype))
    y, z = F.linear(*fused, name), F.linear(*plain)
    y.backward(dy)
    apart(name, z).backward(dy)
    assert bits(y) == bits(apart(name, z))
    assert [bits(leaf.grad) for leaf in fused[:2]] == [bits(leaf.grad) for leaf in plain[:2]]
    slopes = reference.ACTIVATIONS[name][1](z.detach().double().numpy())
    terms = dy.double().numpy() * slopes
    limit = 24 if name == "gelu_tanh" else 8  # exp(-u) hands on the rounding of u, a polynomial there
    assert_accurate(fused[2].grad, terms.sum(0), roundings=limit, scale=np.abs(dy.double().numpy()).sum(0))


@pytest.mark.parametrize("name", NAMES)
def test_derivatives(rng: np.random.Generator, name: str) -> None:
    x, weight, bias = leaves(rng, 4, 3, 2, np.float64)

    def function(x: Any, weight: Any, bias: Any) -> Any:
        return F.linear(x, weight, bias, name)

    assert autograd.gradcheck(function, (x, weight, bias))
    assert autograd.gradgradcheck(function, (x, weight, bias))
    assert autograd.gradcheck(lambda x, weight: F.linear(x, weight, None, name), (x, weight))


@pytest.mark.parametrize("wanted", [0, 1, 2])
@pytest.mark.parametrize("name", ["gelu", "tanh"])
def test_only_what_is_wanted(rng: np.random.Generator, name: str, wanted: int) -> None:
    all_of_them = leaves(rng, 5, 4, 3)
    F.linear(*all_of_them, name).sum().backward()
    some = [leaf.detach().requires_grad_(i == wanted) for i, leaf in enumerate(all_of_them)]
    F.linear(*some, name).sum().backward()
    assert [leaf.grad is not None for leaf in some] == [i == wanted for i in range(3)]
    assert bits(some[wanted].grad) == bits(all_of_them[wanted].grad)


def test_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    data = [leaf.detach() for leaf in leaves(rng, 3000, 8, 150)]
    dy = dd2424.from_numpy(rng.standard_normal((3000, 150)).astype(np.float32))

    def run() -> Any:
        own = [t.clone().requires_grad_() for t in data]
        F.linear(*own, "gelu").backward(dy)
        return [leaf.grad for leaf in own]

    same_for_any_threads(run)


def test_bfloat16(rng: np.random.Generator, isa: str) -> None:
    x, weight, bias = (leaf.detach().bfloat16().requires_grad_() for leaf in leaves(rng, 60, 5, 9))
    y = F.linear(x, weight, bias, "gelu")
    y.sum().backward()
    z = F.linear(x.detach(), weight.detach(), bias.detach())
    terms = reference.gelu_slope(z.double().numpy())
    assert y.dtype == bias.grad.dtype == dd2424.bfloat16
    assert_accurate(bias.grad, terms.sum(0), roundings=1, scale=60.0)


def test_kernels_of_a_step(rng: np.random.Generator) -> None:
    x, weight, bias = leaves(rng, 6, 5, 4)
    dy, before = dd2424.ones(6, 4), dd2424.kernel_count()
    F.linear(x, weight, bias, "gelu").backward(dy)
    assert dd2424.kernel_count() - before == 5, "product and gelu; gelu and bias backward, two products"


def test_inputs_with_more_dimensions(rng: np.random.Generator) -> None:
    x, weight, bias = leaves(rng, 6, 5, 4)
    flat = F.linear(x, weight, bias, "silu")
    assert bits(F.linear(x.view(2, 3, 5), weight, bias, "silu")) == bits(flat.view(2, 3, 4))
