"""Gradients of elementwise operations, first and second, by finite differences; and at the points where they jump."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
import dd2424.nn.functional as F
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck

# Inputs are away from the places where a function bends.
UNARY = {
    "neg": (-2, 2), "abs": (0.2, 2), "sign": (0.2, 2), "square": (-2, 2), "reciprocal": (0.4, 2), "sqrt": (0.3, 2),
    "rsqrt": (0.3, 2), "exp": (-2, 2), "exp2": (-2, 2), "expm1": (-2, 2), "log": (0.3, 2), "log2": (0.3, 2),
    "log10": (0.3, 2), "log1p": (-0.5, 2), "sin": (-3, 3), "cos": (-3, 3), "tan": (-1, 1), "asin": (-0.8, 0.8),
    "acos": (-0.8, 0.8), "atan": (-2, 2), "sinh": (-2, 2), "cosh": (-2, 2), "tanh": (-2, 2), "asinh": (-2, 2),
    "acosh": (1.3, 3), "atanh": (-0.8, 0.8), "erf": (-2, 2), "erfc": (-2, 2), "erfinv": (-0.8, 0.8),
    "lgamma": (0.5, 3), "digamma": (0.5, 3), "sigmoid": (-3, 3), "floor": (0.2, 0.8), "ceil": (0.2, 0.8),
    "round": (0.1, 0.4), "trunc": (0.2, 0.8), "frac": (0.2, 0.8), "relu": (0.1, 2), "sinc": (-2, 2),
    "logit": (0.1, 0.9), "deg2rad": (-2, 2), "rad2deg": (-2, 2), "positive": (-2, 2), "nan_to_num": (-2, 2),
}  # fmt: skip
WITH_ARGUMENTS = {
    "polygamma": lambda x: dd2424.polygamma(1, x * x + 0.5),
    "mvlgamma": lambda x: dd2424.mvlgamma(x * x + 1.5, 3),
    "clamp": lambda x: dd2424.clamp(x, -1.1, 0.9),
    "clamp by tensors": lambda x: dd2424.clamp(x, x * 0.3 - 1, x * 0.2 + 0.5),
    "power 3": lambda x: x**3,
    "power 2.5": lambda x: (x * x + 0.1) ** 2.5,
    "power of a number": lambda x: 1.7**x,
    "number over": lambda x: 2.0 / (x * x + 1),
    "round to decimals": lambda x: dd2424.round(x * 0 + 0.33, decimals=1) * x,
    "masked_fill": lambda x: x.masked_fill(x.detach() > 0, 2.0),
    "where with a number": lambda x: dd2424.where(x.detach() > 0, x * x, 1.5),
    "frexp": lambda x: dd2424.frexp(x)[0],
}


def leaf(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...] = (2, 3)) -> Tensor:
    return dd2424.from_numpy(rng.uniform(low, high, shape)).requires_grad_()


@pytest.mark.parametrize("name", UNARY)
def test_unary(rng: np.random.Generator, name: str) -> None:
    x = leaf(rng, *UNARY[name])
    assert gradcheck(getattr(dd2424, name), x)
    assert gradgradcheck(getattr(dd2424, name), x)


@pytest.mark.parametrize("name", WITH_ARGUMENTS)
def test_with_arguments(rng: np.random.Generator, name: str) -> None:
    x = leaf(rng, -2, 2)
    assert gradcheck(WITH_ARGUMENTS[name], x)
    assert gradgradcheck(WITH_ARGUMENTS[name], x)


BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "atan2",
    "hypot",
    "copysign",
    "xlogy",
    "logaddexp",
    "logaddexp2",
    "remainder",
    "fmod",
    "floor_divide",
    "float_power",
    "rsub",
]
SHAPES = [((2, 3), (2, 3)), ((2, 1), (1, 3)), ((3,), ()), ((1, 2), (3, 2, 1))]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_binary(rng: np.random.Generator, name: str, shapes) -> None:
    a, b = leaf(rng, 0.6, 0.9, shapes[0]), leaf(rng, 1.1, 1.9, shapes[1])
    function = getattr(dd2424, name)
    assert gradcheck(function, (a, b))
    assert gradgradcheck(function, (a, b))


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_of_three(rng: np.random.Generator, shapes) -> None:
    a, b, c = leaf(rng, -1, 1, shapes[0]), leaf(rng, 0.5, 1, shapes[1]), leaf(rng, 0.6, 1)
    for function in (dd2424.lerp, dd2424.addcmul, dd2424.addcdiv):
        if shapes[1] != (3, 2, 1):
            assert gradcheck(function, (a, b, c))
            assert gradgradcheck(function, (a, b, c))
    condition = dd2424.tensor([True, False, True])
    assert gradcheck(lambda x, y: dd2424.where(condition, x.unsqueeze(-1), y.unsqueeze(-1)), (a, b))


ACTIVATIONS = {
    "relu6": F.relu6, "leaky_relu": lambda x: F.leaky_relu(x, 0.3), "elu": lambda x: F.elu(x, 0.7), "selu": F.selu,
    "celu": lambda x: F.celu(x, 1.3), "gelu": F.gelu, "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu, "mish": F.mish, "softplus": lambda x: F.softplus(x, 1.5, 2.0), "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish, "hardshrink": F.hardshrink, "softshrink": F.softshrink,
    "tanhshrink": F.tanhshrink, "softsign": F.softsign, "logsigmoid": F.logsigmoid, "rrelu": F.rrelu,
    "threshold": lambda x: F.threshold(x, 0.4, 0.1), "glu": lambda x: F.glu(x, 0), "sigmoid": F.sigmoid,
    "softmax": lambda x: F.softmax(x, 1), "log_softmax": lambda x: F.log_softmax(x, 0), "softmin": F.softmin,
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(rng: np.random.Generator, name: str) -> None:
    values = rng.choice([-3.4, -2.2, -0.8, -0.3, 0.2, 0.7, 1.4, 3.6], (2, 3)) + rng.uniform(-0.05, 0.05, (2, 3))
    x = dd2424.from_numpy(values).requires_grad_()
    assert gradcheck(ACTIVATIONS[name], x)
    assert gradgradcheck(ACTIVATIONS[name], x)


def test_prelu(rng: np.random.Generator) -> None:
    x = leaf(rng, -2, 2, (2, 3, 2))
    for weight in (leaf(rng, 0.1, 0.5, (1,)), leaf(rng, 0.1, 0.5, (3,))):
        assert gradcheck(F.prelu, (x, weight))
        assert gradgradcheck(F.prelu, (x, weight))


IN_PLACE = [
    "relu_", "exp_", "tanh_", "sigmoid_", "sqrt_", "clamp_", "mul_", "pow_", "add_", "log_", "sinc_", "square_",
    "reciprocal_", "lerp_", "masked_fill_", "div_", "abs_",
]  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(rng: np.random.Generator, name: str) -> None:
    arguments = {"clamp_": (0.4, 0.9), "mul_": (1.5,), "pow_": (2.5,), "add_": (2,), "div_": (3.0,)}.get(name, ())

    def write(x: Tensor, y: Tensor) -> Tensor:
        z = x * 1.0
        given = (y, 0.3) if name == "lerp_" else (y.detach() > 0.6, 2.0) if name == "masked_fill_" else arguments
        assert getattr(z, name)(*given) is z
        return z * z

    x, y = leaf(rng, 0.3, 1.2), leaf(rng, 0.3, 1.2)
    assert gradcheck(write, (x, y.detach() if name != "lerp_" else y))
    assert gradgradcheck(write, (x, y.detach() if name != "lerp_" else y))


def slope_at(function, point: float) -> float:
    x = dd2424.tensor([point], dtype=dd2424.float64, requires_grad=True)
    function(x).sum().backward()
    return x.grad.item()


INF = float("inf")
JUMPS = [
    (dd2424.relu, 0, 0),
    (dd2424.abs, 0, 0),
    (dd2424.sign, 0, 0),
    (lambda x: x.clamp(-1, 1), 1, 1),
    (lambda x: x.clamp(-1, 1), 1.5, 0),
    (F.hardtanh, 1, 0),
    (F.hardsigmoid, 3, 0),
    (F.hardswish, -3, 0),
    (F.hardswish, -INF, 0),
    (F.leaky_relu, 0, 0.01),
    (F.softplus, 50, 1),
    (lambda x: x**0, 0, 0),
    (lambda x: x**1, 0, 1),
    (lambda x: x**2, 0, 0),
    (dd2424.sinc, 0, 0),
    (dd2424.sinc, 1e-300, 0),
    (lambda x: dd2424.maximum(x, x.detach()), 2, 0.5),
    (lambda x: dd2424.xlogy(x, 0.0), 0, -INF),
    (dd2424.sqrt, 0, INF),
    (F.gelu, INF, 1),
    (F.gelu, -INF, 0),
    (F.silu, INF, 1),
    (F.silu, -INF, 0),
    (lambda x: dd2424.pow(0.0, x), 2, 0),
    (lambda x: dd2424.logaddexp(x, x), INF, 1),
    (dd2424.log, 0, INF),
    (F.softshrink, 0.5, 0),
    (F.hardshrink, 0.5, 0),
    (dd2424.tanh, INF, 0),
    (dd2424.erf, INF, 0),
]


@pytest.mark.parametrize(("function", "point", "slope"), JUMPS)
def test_slopes_at_special_points(function, point: float, slope: float) -> None:
    assert slope_at(function, point) == pytest.approx(slope, abs=1e-290)


def test_gradients_take_the_operands_dtypes() -> None:
    a = dd2424.ones(2, dtype=dd2424.float32, requires_grad=True)
    b = dd2424.ones(2, dtype=dd2424.float64, requires_grad=True)
    c = dd2424.ones(2, dtype=dd2424.bfloat16, requires_grad=True)
    (a * b + c / b).sum().backward()
    assert (a.grad.dtype, b.grad.dtype, c.grad.dtype) == (dd2424.float32, dd2424.float64, dd2424.bfloat16)
    n = dd2424.tensor([1, 2], dtype=dd2424.int64)
    assert not (n + 1).requires_grad
    assert (a * n).requires_grad
    assert not (a > b).requires_grad


def test_fused_and_composed_backward_agree(isa: str, rng: np.random.Generator) -> None:
    """With create_graph the slope is made of operations; without, of one kernel."""
    for function in (dd2424.relu, dd2424.tanh, dd2424.sigmoid, F.leaky_relu, F.gelu, F.silu, F.elu,
                     lambda x: F.gelu(x, approximate="tanh")):  # fmt: skip
        x = dd2424.from_numpy(rng.normal(size=101)).requires_grad_()
        (fused,) = dd2424.autograd.grad(function(x).sum(), x)
        (composed,) = dd2424.autograd.grad(function(x).sum(), x, create_graph=True)
        np.testing.assert_allclose(fused.numpy(), composed.detach().numpy(), rtol=1e-12, atol=1e-15)
