"""Elementwise operations in float64 or wider, one line each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def _each(function: Callable[[float], float]) -> Callable[[Any], Any]:
    return np.vectorize(function, otypes=[np.float64])


def _lgamma(x: float) -> float:
    return math.inf if math.isinf(x) or (x <= 0 and x == math.floor(x)) else math.lgamma(x)


def sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def scaled_bessel(x: Any, order: int) -> Any:
    """e^-|x| I_n(x), the mean of e^(x cos t - |x|) cos(nt) over a circle. The trapezoidal rule is exact to the last
    place once it has a few times sqrt(|x|) points."""
    t = np.arange(2000, dtype=np.longdouble) * np.arctan(np.longdouble(1)) / 250
    x = np.asarray(x, np.longdouble)[..., None]
    return (np.exp(x * np.cos(t) - np.abs(x)) * np.cos(order * t)).mean(-1)


def softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def decaying(x: Any, gate: Any) -> Any:
    """x * gate, and 0 at minus infinity, where gate is."""
    return np.where(np.isneginf(x), 0, x * gate)


erf, erfc, lgamma = _each(math.erf), _each(math.erfc), _each(_lgamma)
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

# name: f(x). Those of LONG are exact in long double too, for what is tested in float64.
LONG: dict[str, Callable[[Any], Any]] = {
    "neg": np.negative, "abs": np.abs, "square": np.square, "reciprocal": np.reciprocal, "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x), "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log,
    "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "sigmoid": sigmoid, "floor": np.floor,
    "ceil": np.ceil, "round": np.round, "trunc": np.trunc, "frac": lambda x: x - np.trunc(x),
    "relu": lambda x: np.maximum(x, 0),
}  # fmt: skip
UNARY = LONG | {"erf": erf, "erfc": erfc, "lgamma": lgamma}

LONG_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x)),
    "silu": lambda x: decaying(x, sigmoid(x)),
    "mish": lambda x: decaying(x, np.tanh(softplus(x))),
    "softplus": lambda x: np.where(x > 20, x, softplus(x)),
    "logsigmoid": lambda x: -softplus(-x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: decaying(x, np.clip(x + 3, 0, 6) / 6),
    "hardshrink": lambda x: np.where(np.abs(x) <= 0.5, 0, x),
    "softshrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
}
ACTIVATIONS = LONG_ACTIVATIONS | {"gelu": lambda x: decaying(x, 0.5 * erfc(-x / math.sqrt(2)))}


def gelu_tanh(x: Any) -> Any:
    pi = np.arctan(np.ones((), x.dtype)) * 4
    cubic = np.asarray(44715, x.dtype) / 1000000
    return decaying(x, sigmoid(2 * np.sqrt(2 / pi) * x * (1 + cubic * x * x)))


def floor_divide(a: Any, b: Any) -> Any:
    """The quotient from the exact remainder, as Python's: 1 // 0.1 is 9."""
    rest = np.fmod(a, b)
    rest = np.where((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest)
    return np.round((a - rest) / b)


# name: f(a, b)
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "floor_divide": floor_divide,
    "remainder": np.remainder, "fmod": np.fmod, "pow": np.power, "maximum": np.maximum, "minimum": np.minimum,
    "fmax": np.fmax, "fmin": np.fmin, "atan2": np.arctan2, "hypot": np.hypot, "copysign": np.copysign,
    "xlogy": lambda a, b: np.where(a == 0, 0, a * np.log(np.where(a == 0, 1, b))), "logaddexp": np.logaddexp,
    "logaddexp2": np.logaddexp2, "ldexp": lambda a, b: a * np.exp2(b),
}  # fmt: skip
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
}  # fmt: skip


def wrapped(value: int, bits: int, is_signed: bool) -> int:
    """A Python integer as one of `bits` bits."""
    value %= 1 << bits
    return value - (1 << bits) if is_signed and value >> (bits - 1) else value
