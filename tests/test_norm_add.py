"""Layer norm and root mean square norm of a sum, which is an output too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd, nn
from dd2424.nn import functional as F
from reference import norm as reference

SHAPES = [(1, 1), (3, 7), (2, 5, 33), (70, 130)]
NORMS = ["layer", "rms"]


def data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32) -> list[Any]:
    return [rng.standard_normal(s).astype(dtype) for s in (shape, shape, shape[-1:], shape[-1:])]


def tensors(arrays: list[Any]) -> list[Any]:
    return [dd2424.from_numpy(array.copy()).requires_grad_() for array in arrays]


def add_norm(kind: str, x: Any, residual: Any, weight: Any, bias: Any) -> Any:
    width = (x.shape[-1],)
    if kind == "layer":
        return F.add_layer_norm(x, residual, width, weight, bias)
    return F.add_rms_norm(x, residual, width, weight, 1e-5)


def apart(kind: str, x: Any, residual: Any, weight: Any, bias: Any) -> Any:
    total, width = x + residual, (x.shape[-1],)
    norm = F.layer_norm(total, width, weight, bias) if kind == "layer" else F.rms_norm(total, width, weight, 1e-5)
    return norm, total


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_sum_then_the_norm(
    rng: np.random.Generator, isa: str, kind: str, shape: tuple[int, ...], dtype: Any
) -> None:
    arrays, results = data(rng, shape, dtype), []
    upstream = [dd2424.from_numpy(rng.standard_normal(shape).astype(dtype)) for _ in range(2)]
    for function in (add_norm, apart):
        leaves = tensors(arrays)
        made = function(kind, *leaves)
        dd2424.autograd.backward(list(made), upstream)
        results.append([*made, *[leaf.grad for leaf in leaves if leaf.grad is not None]])
    fused, plain = results
    assert [bits(t) for t in fused] == [bits(t) for t in plain]
    total = arrays[0].astype(np.float64) + arrays[1]
    exact = reference.layer_norm(total, 1, *arrays[2:]) if kind == "layer" else reference.rms_norm(total, 1, arrays[2])
    assert_accurate(fused[0], exact, roundings=24, scale=4.0)


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("used", ["both", "norm", "sum"])
def test_derivatives(rng: np.random.Generator, kind: str, used: str) -> None:
    leaves = tensors(data(rng, (3, 4), np.float64))

    def function(x: Any, residual: Any, weight: Any, bias: Any) -> Any:
        norm, total = add_norm(kind, x, residual, weight, bias)
        return {"both": norm * total.sin(), "norm": norm, "sum": total * total}[used]

    inputs = leaves if used != "sum" else leaves[:2]
    rest = [] if used != "sum" else [leaf.detach() for leaf in leaves[2:]]
    own: Callable[..., Any] = lambda *given: function(*given, *rest)
    if kind == "rms" and used != "sum":
        inputs, own = leaves[:3], lambda *given: function(*given, leaves[3].detach())
    assert autograd.gradcheck(own, tuple(inputs))
    assert autograd.gradgradcheck(own, tuple(inputs))


def test_the_residual_alone(rng: np.random.Generator) -> None:
    x, residual, weight, bias = tensors(data(rng, (4, 6)))
    F.add_layer_norm(x.detach(), residual, (6,), weight.detach(), bias.detach())[0].square().sum().backward()
    reached = residual.grad.clone()
    F.add_layer_norm(x, residual.detach(), (6,), weight.detach(), bias.detach())[0].square().sum().backward()
    assert bits(reached) == bits(x.grad)
    assert weight.grad is None


def test_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    arrays = data(rng, (900, 70))
    upstream = [dd2424.from_numpy(rng.standard_normal((900, 70)).astype(np.float32)) for _ in range(2)]

    def run() -> Any:
        leaves = tensors(arrays)
        made = add_norm("layer", *leaves)
        dd2424.autograd.backward(list(made), upstream)
        return [*made, *[leaf.grad for leaf in leaves]]

    same_for_any_threads(run)


def test_bfloat16_and_odd_layouts(rng: np.random.Generator, isa: str) -> None:
    x, residual, weight, bias = tensors(data(rng, (8, 6)))
    half, other = x.detach().bfloat16(), residual.detach().bfloat16()
    norm, total = F.add_layer_norm(half, other, (6,), weight, bias)
    assert norm.dtype == total.dtype == dd2424.bfloat16
    assert bits(total) == bits(half + other)
    assert bits(norm) == bits(F.layer_norm(half + other, (6,), weight, bias))
    plain = F.add_layer_norm(x, residual, (6,), weight, bias)
    assert bits(F.add_layer_norm(x.t().contiguous().t(), residual, (6,), weight, bias)) == bits(plain)


def test_one_kernel_each_way(rng: np.random.Generator) -> None:
    leaves = tensors(data(rng, (4, 6)))
    upstream, before = [dd2424.ones(4, 6), dd2424.ones(4, 6)], dd2424.kernel_count()
    made = add_norm("layer", *leaves)
    assert dd2424.kernel_count() - before == 1
    dd2424.autograd.backward(list(made), upstream)
    assert dd2424.kernel_count() - before == 3, "and a copy: two leaves share a gradient"


@pytest.mark.parametrize("module", [nn.LayerNorm, nn.RMSNorm])
def test_modules_take_a_residual(rng: np.random.Generator, module: Any) -> None:
    x, residual, *_ = tensors(data(rng, (3, 5)))
    norm = module(5)
    assert bits(norm(x, residual)) == bits((norm(x + residual), x + residual))


def test_empty_rows() -> None:
    x = dd2424.zeros(0, 4, requires_grad=True)
    norm, total = F.add_layer_norm(x, dd2424.zeros(0, 4), (4,))
    (norm + total).sum().backward()
    assert norm.shape == total.shape == x.grad.shape == (0, 4)


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "shape": ({"residual": dd2424.ones(1, 4)}, r"residual must have the input's shape \(3, 4\), got \(1, 4\)"),
    "dtype": ({"residual": dd2424.ones(3, 4).double()}, "residual must have the input's dtype"),
    "end": ({"normalized_shape": (3,)}, r"input must end in normalized_shape \(3,\), got \(3, 4\)"),
    "weight": ({"weight": dd2424.ones(3)}, r"weight must have shape normalized_shape \(4,\), got \(3,\)"),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("op", ["add_layer_norm", "add_rms_norm"])
def test_refusals(op: str, name: str) -> None:
    changes, message = REFUSALS[name]
    arguments = {"input": dd2424.ones(3, 4), "residual": dd2424.ones(3, 4), "normalized_shape": (4,), **changes}
    with pytest.raises(RuntimeError, match=f"{op}: {message}"):
        getattr(F, op)(**arguments)
