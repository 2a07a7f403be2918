"""Functions of one tensor, element by element. Integers become the default floating dtype if results are not whole."""

from __future__ import annotations

from math import inf, pi

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._dtypes import finfo
from dd2424._types import Number

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bitwise_not",
    "ceil",
    "clamp",
    "clip",
    "cos",
    "cosh",
    "deg2rad",
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "frac",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log2",
    "logical_not",
    "logit",
    "nan_to_num",
    "neg",
    "negative",
    "positive",
    "rad2deg",
    "reciprocal",
    "round",
    "rsqrt",
    "sgn",
    "sign",
    "signbit",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "trunc",
]


def abs(input: Tensor) -> Tensor:
    """|x|, element by element."""
    return _core.abs(input)


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1 by the sign of each element."""
    return _core.sign(input)


def square(input: Tensor) -> Tensor:
    """x^2."""
    return _core.square(input)


def reciprocal(input: Tensor) -> Tensor:
    """1 / x; integers become floating-point."""
    return _core.reciprocal(input)


def sqrt(input: Tensor) -> Tensor:
    """The square root; NaN below zero."""
    return _core.sqrt(input)


def rsqrt(input: Tensor) -> Tensor:
    """1 / sqrt(x)."""
    return _core.rsqrt(input)


def exp(input: Tensor) -> Tensor:
    """e^x."""
    return _core.exp(input)


def exp2(input: Tensor) -> Tensor:
    """2^x."""
    return _core.exp2(input)


def expm1(input: Tensor) -> Tensor:
    """e^x - 1, accurate near zero."""
    return _core.expm1(input)


def log(input: Tensor) -> Tensor:
    """The natural logarithm."""
    return _core.log(input)


def log2(input: Tensor) -> Tensor:
    """The logarithm to base 2."""
    return _core.log2(input)


def log10(input: Tensor) -> Tensor:
    """The logarithm to base 10."""
    return _core.log10(input)


def log1p(input: Tensor) -> Tensor:
    """log(1 + x), accurate near zero."""
    return _core.log1p(input)


def sin(input: Tensor) -> Tensor:
    """The sine of an angle in radians."""
    return _core.sin(input)


def cos(input: Tensor) -> Tensor:
    """The cosine of an angle in radians."""
    return _core.cos(input)


def tan(input: Tensor) -> Tensor:
    """The tangent of an angle in radians."""
    return _core.tan(input)


def asin(input: Tensor) -> Tensor:
    """The angle in radians whose sine is x."""
    return _core.asin(input)


def acos(input: Tensor) -> Tensor:
    """The angle in radians whose cosine is x."""
    return _core.acos(input)


def atan(input: Tensor) -> Tensor:
    """The angle in radians whose tangent is x."""
    return _core.atan(input)


def sinh(input: Tensor) -> Tensor:
    """The hyperbolic sine."""
    return _core.sinh(input)


def cosh(input: Tensor) -> Tensor:
    """The hyperbolic cosine."""
    return _core.cosh(input)


def asinh(input: Tensor) -> Tensor:
    """The inverse of sinh."""
    return _core.asinh(input)


def acosh(input: Tensor) -> Tensor:
    """The inverse of cosh; NaN below 1."""
    return _core.acosh(input)


def atanh(input: Tensor) -> Tensor:
    """The inverse of tanh; NaN outside [-1, 1]."""
    return _core.atanh(input)


def erf(input: Tensor) -> Tensor:
    """2 / sqrt(pi) * the integral of exp(-t^2) from 0 to x."""
    return _core.erf(input)


def erfc(input: Tensor) -> Tensor:
    """1 - erf(x), accurate for large x."""
    return _core.erfc(input)


def erfinv(input: Tensor) -> Tensor:
    """The inverse of erf, on (-1, 1)."""
    return _core.erfinv(input)


def lgamma(input: Tensor) -> Tensor:
    """log |Gamma(x)|."""
    return _core.lgamma(input)


def digamma(input: Tensor) -> Tensor:
    """The derivative of lgamma."""
    return _core.digamma(input)


def floor(input: Tensor) -> Tensor:
    """The largest integer not above x."""
    return _core.floor(input)


def ceil(input: Tensor) -> Tensor:
    """The smallest integer not below x."""
    return _core.ceil(input)


def trunc(input: Tensor) -> Tensor:
    """x without its fraction: rounded towards zero."""
    return _core.trunc(input)


def frac(input: Tensor) -> Tensor:
    """x - trunc(x)."""
    return _core.frac(input)


def neg(input: Tensor) -> Tensor:
    """-x."""
    return _core.neg(input)


def bitwise_not(input: Tensor) -> Tensor:
    """Every bit flipped; the logical not of a bool."""
    return _core.bitwise_not(input)


def logical_not(input: Tensor) -> Tensor:
    """Whether the element is zero."""
    return _core.logical_not(input)


def isnan(input: Tensor) -> Tensor:
    """Whether the element is NaN."""
    return _core.isnan(input)


def isinf(input: Tensor) -> Tensor:
    """Whether the element is infinite."""
    return _core.isinf(input)


def isfinite(input: Tensor) -> Tensor:
    """Whether the element is neither infinite nor NaN."""
    return _core.isfinite(input)


def positive(input: Tensor) -> Tensor:
    """The tensor itself. Raises: RuntimeError for bool."""
    if input.dtype == _core.bool:
        raise RuntimeError("positive: input must be a number, got dd2424.bool")
    return input


def clamp(input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None) -> Tensor:
    """min(max(x, min), max); NaN stays NaN. Raises: RuntimeError where neither bound is given."""
    return _core.clamp(input, min, max)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, halves to the even one; with `decimals`, the nearest multiple of 10^-decimals."""
    if decimals == 0:
        return _core.round(input)
    scale = 10.0**decimals
    return _core.round(input * scale) / scale


def isposinf(input: Tensor) -> Tensor:
    """Whether the element is positive infinity."""
    return _core.eq(input, inf)


def isneginf(input: Tensor) -> Tensor:
    """Whether the element is negative infinity."""
    return _core.eq(input, -inf)


def isreal(input: Tensor) -> Tensor:
    """True everywhere: every dtype is real."""
    return _core.ones(input.shape, dtype=_core.bool)


def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set, as it is in -0.0."""
    if not input.is_floating_point():
        return _core.lt(input, 0)
    return _core.lt(_core.copysign(_core.ones_like(input), input), 0)


def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
    angle = input * pi
    at_zero = _core.eq(input, 0)
    return _core.where(at_zero, 1.0, _core.sin(angle) / _core.where(at_zero, 1.0, angle))


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid; with `eps`, of x clamped to [eps, 1 - eps]."""
    x = input if eps is None else _core.clamp(input, eps, 1 - eps)
    return _core.log(x / (1 - x))


def nan_to_num(input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN and the infinities replaced: by `nan`, and by default by the dtype's largest and smallest values."""
    if not input.is_floating_point():
        return input.clone()
    limits = finfo(input.dtype)
    x = _core.where(_core.isnan(input), nan, input)
    x = _core.where(_core.eq(input, inf), limits.max if posinf is None else posinf, x)
    return _core.where(_core.eq(input, -inf), limits.min if neginf is None else neginf, x)


def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians."""
    return input * (pi / 180)


def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees."""
    return input * (180 / pi)


absolute, negative, fix, clip = abs, neg, trunc, clamp
arcsin, arccos, arctan, arcsinh, arccosh, arctanh = asin, acos, atan, asinh, acosh, atanh
sgn = sign
