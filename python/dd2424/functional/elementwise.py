"""Functions of one tensor, element by element. Integers become the default floating dtype if results are not whole."""

from __future__ import annotations

from math import inf, log as _log, pi

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._dtypes import finfo
from dd2424._host import beside, host_array
from dd2424._types import Number

# fmt: off
__all__ = [
    "abs", "absolute", "angle", "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh",
    "asin", "asinh", "atan", "atanh", "bitwise_not", "ceil", "conj", "clamp", "clamp_max", "clamp_min", "clip", "cos",
    "cosh", "deg2rad", "digamma", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "fix", "floor", "frac", "frexp",
    "isfinite", "isinf", "isnan", "isneginf", "isposinf", "isreal", "lgamma", "log", "log10", "log1p", "log2",
    "logical_not", "logit", "mvlgamma", "nan_to_num", "neg", "negative", "polygamma", "positive", "rad2deg", "real",
    "reciprocal", "round", "rsqrt", "sgn", "sign", "signbit", "sin", "sinc", "sinh", "sqrt", "square", "tan", "trunc",
]
# fmt: on


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


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma. Raises: RuntimeError for a negative n.

    Source: DLMF 5.15.2 and, for the sum, 25.11.43.
    """
    return _core.polygamma(n, input)


def mvlgamma(input: Tensor, p: int) -> Tensor:
    """log of the multivariate gamma function: p (p - 1) / 4 log(pi) + the sum of lgamma(x - i / 2) over i < p.

    Raises: RuntimeError for p below 1, or where input has elements of (p - 1) / 2 or less.
    """
    if p < 1:
        raise RuntimeError(f"mvlgamma: p must be positive, got {p}")
    if _core.any(_core.le(input, (p - 1) / 2)):
        raise RuntimeError(f"mvlgamma: input must be above {(p - 1) / 2} everywhere for p {p}")
    total = _core.lgamma(input)
    for i in range(1, p):
        total = total + _core.lgamma(input - i / 2)
    return total + p * (p - 1) / 4 * _log(pi)


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


def clamp_min(input: Tensor, min: Tensor | Number) -> Tensor:
    """max(x, min); NaN stays NaN."""
    return _core.clamp(input, min, None)


def clamp_max(input: Tensor, max: Tensor | Number) -> Tensor:
    """min(x, max); NaN stays NaN."""
    return _core.clamp(input, None, max)


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
    return _core.ones(input.shape, dtype=_core.bool, device=input.device)


def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set, as it is in -0.0."""
    if not input.is_floating_point():
        return _core.lt(input, 0)
    return _core.lt(_core.copysign(_core.ones_like(input), input), 0)


def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
    if input.dtype == _core.bfloat16:
        return sinc(input.float()).to(input.dtype)
    angle = input * pi
    is_near = _core.lt(_core.abs(angle), 0.5)
    square = _core.square(_core.where(is_near, angle, 0.0))
    series = square * _SINC_SERIES[-1]
    for coefficient in _SINC_SERIES[-2::-1]:  # Taylor's, so that the derivatives are exact about 0 too
        series = (series + coefficient) * square
    return _core.where(is_near, 1 + series, _core.sin(angle) / _core.where(is_near, 1.0, angle))


_SINC_SERIES = (-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800, -1 / 1307674368000)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid; with `eps`, of x clamped to [eps, 1 - eps]."""
    x = input if input.is_floating_point() else input.to(_core.get_default_dtype())
    if eps is not None:
        x = _core.clamp(x, eps, 1 - eps)
    return _core.log(x) - _core.log1p(-x)


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


def angle(input: Tensor) -> Tensor:
    """The angle of a number in the complex plane: 0, and pi below zero."""
    x = input if input.is_floating_point() else input.to(_core.get_default_dtype())
    return _core.where(_core.isnan(x), x, _core.lt(x, 0).to(x.dtype) * pi)


def conj(input: Tensor) -> Tensor:
    """The tensor itself: every dtype is real."""
    return input


def real(input: Tensor) -> Tensor:
    """The tensor itself: every dtype is real."""
    return input


def frexp(input: Tensor) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent) with input = mantissa * 2^exponent and 0.5 <= |mantissa| < 1; the exponent is int32."""
    if not input.is_floating_point():
        raise RuntimeError(f"frexp: input must be floating-point, got {input.dtype}")
    mantissa, exponent = np.frexp(host_array(input.double()))
    powers = beside(np.asarray(exponent, np.int32), input)
    if not input.requires_grad:
        return beside(mantissa, input).to(input.dtype), powers
    return input * _core.pow(2.0, -powers.double()).to(input.dtype), powers


absolute, negative, fix, clip = abs, neg, trunc, clamp
arcsin, arccos, arctan, arcsinh, arccosh, arctanh = asin, acos, atan, asinh, acosh, atanh
sgn = sign
