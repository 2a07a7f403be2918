"""Functions of two tensors, or of a tensor and a number, element by element, with broadcasting and type promotion."""

from __future__ import annotations

from math import log as _log
from typing import Any, TypeAlias

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._host import beside, host_array
from dd2424._types import Number

# fmt: off
__all__ = [
    "add", "sub", "mul", "div", "subtract", "multiply", "divide", "true_divide", "floor_divide", "remainder", "fmod",
    "rsub", "pow", "float_power", "maximum", "minimum", "fmax", "fmin", "atan2", "arctan2", "hypot", "copysign",
    "xlogy", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift",
    "eq", "ne", "lt", "le", "gt", "ge", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "where", "lerp", "addcmul", "addcdiv", "heaviside", "logaddexp",
    "logaddexp2", "ldexp", "nextafter", "gcd", "lcm", "isclose", "allclose", "equal",
]
# fmt: on
Operand: TypeAlias = Tensor | Number


def add(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """input + alpha * other."""
    return _core.add(input, other, alpha=alpha)


def sub(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """input - alpha * other. Raises: RuntimeError for bool."""
    return _core.sub(input, other, alpha=alpha)


def mul(input: Operand, other: Operand) -> Tensor:
    """input * other."""
    return _core.mul(input, other)


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, rounded towards zero ("trunc") or down ("floor") if asked. Integers divide to floats unrounded."""
    return _core.div(input, other, rounding_mode=rounding_mode)


def floor_divide(input: Operand, other: Operand) -> Tensor:
    """floor(input / other), Python's //."""
    return _core.floor_divide(input, other)


def remainder(input: Operand, other: Operand) -> Tensor:
    """Python's %: the result has the divisor's sign."""
    return _core.remainder(input, other)


def fmod(input: Operand, other: Operand) -> Tensor:
    """C's fmod: the result has the dividend's sign."""
    return _core.fmod(input, other)


def rsub(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """other - alpha * input."""
    return _core.sub(other, input, alpha=alpha)


def pow(input: Operand, exponent: Operand) -> Tensor:
    """input to the power of exponent. Raises: RuntimeError for integers to negative powers."""
    return _core.pow(input, exponent)


def float_power(input: Operand, exponent: Operand) -> Tensor:
    """The power in float64."""
    return _core.pow(_as_double(input), _as_double(exponent))


def _as_double(x: Operand) -> Operand:
    return x.double() if isinstance(x, Tensor) else float(x)


def _as_floats(name: str, input: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    if not isinstance(input, Tensor) or not isinstance(other, Tensor):
        raise TypeError(f"{name}: input and other must be tensors, got {type(input).__name__}, {type(other).__name__}")
    kind = _core.result_type(input, other)
    if not kind.is_floating_point:
        kind = _core.get_default_dtype()
    return input.to(kind), other.to(kind)


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of two; NaN where either is NaN."""
    return _core.maximum(input, other)


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of two; NaN where either is NaN."""
    return _core.minimum(input, other)


def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger of two; a NaN loses."""
    return _core.fmax(input, other)


def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of two; a NaN loses."""
    return _core.fmin(input, other)


def atan2(input: Tensor, other: Tensor) -> Tensor:
    """The angle in radians of the point (x = other, y = input), in [-pi, pi]."""
    return _core.atan2(input, other)


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(input^2 + other^2) without overflow."""
    return _core.hypot(input, other)


def copysign(input: Tensor, other: Operand) -> Tensor:
    """|input| with other's sign."""
    return _core.copysign(input, other)


def xlogy(input: Operand, other: Operand) -> Tensor:
    """input * log(other), and 0 where input is 0."""
    return _core.xlogy(input, other)


def bitwise_and(input: Operand, other: Operand) -> Tensor:
    """Bits set in both, of integers or bools."""
    return _core.bitwise_and(input, other)


def bitwise_or(input: Operand, other: Operand) -> Tensor:
    """Bits set in either, of integers or bools."""
    return _core.bitwise_or(input, other)


def bitwise_xor(input: Operand, other: Operand) -> Tensor:
    """Bits set in one of the two, of integers or bools."""
    return _core.bitwise_xor(input, other)


def bitwise_left_shift(input: Operand, other: Operand) -> Tensor:
    """input << other, of integers."""
    return _core.bitwise_left_shift(input, other)


def bitwise_right_shift(input: Operand, other: Operand) -> Tensor:
    """input >> other, of integers; the sign stays."""
    return _core.bitwise_right_shift(input, other)


def eq(input: Operand, other: Operand) -> Tensor:
    """input == other, as bool."""
    return _core.eq(input, other)


def ne(input: Operand, other: Operand) -> Tensor:
    """input != other, as bool."""
    return _core.ne(input, other)


def lt(input: Operand, other: Operand) -> Tensor:
    """input < other, as bool."""
    return _core.lt(input, other)


def le(input: Operand, other: Operand) -> Tensor:
    """input <= other, as bool."""
    return _core.le(input, other)


def gt(input: Operand, other: Operand) -> Tensor:
    """input > other, as bool."""
    return _core.gt(input, other)


def ge(input: Operand, other: Operand) -> Tensor:
    """input >= other, as bool."""
    return _core.ge(input, other)


def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Whether both are non-zero."""
    return _core.logical_and(input, other)


def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Whether either is non-zero."""
    return _core.logical_or(input, other)


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Whether exactly one is non-zero."""
    return _core.logical_xor(input, other)


def where(condition: Tensor, input: Operand | None = None, other: Operand | None = None) -> Tensor | tuple[Tensor, ...]:
    """condition ? input : other; with the condition alone, the indices of its non-zero elements, by dimension."""
    if input is None and other is None:
        return tuple(_core.nonzero(condition).unbind(1))
    if input is None or other is None:
        raise TypeError("where: input and other must both be given, got one of them")
    return _core.where(condition, input, other)


def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """input + weight * (end - input): exactly `end` where the weight is 1."""
    back = input - end
    if not isinstance(weight, Tensor):
        return input - weight * back if -0.5 < weight < 0.5 else back * (1 - weight) + end
    return _core.where(_core.abs(weight) < 0.5, input - weight * back, back * (1 - weight) + end)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return _core.add(input, tensor1 * tensor2, alpha=value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    return _core.add(input, tensor1 / tensor2, alpha=value)


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below zero, 1 above, `values` at zero. Raises: RuntimeError where the dtypes differ."""
    if input.dtype != values.dtype:
        raise RuntimeError(f"heaviside: values must have input's dtype {input.dtype}, got {values.dtype}")
    return _core.where(input == 0, values, (input > 0).to(values.dtype))


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(e^input + e^other), without overflow."""
    a, b = _as_floats("logaddexp", input, other)
    return _core.maximum(a, b) + _core.log1p(_core.exp(_gap(a, b)))


def _gap(a: Tensor, b: Tensor) -> Tensor:
    """-|a - b|, and 0 for equal infinities."""
    return -_core.abs(_core.where(_core.eq(a, b) & _core.isinf(a), 0.0, a - b))


def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2^input + 2^other), without overflow."""
    a, b = _as_floats("logaddexp2", input, other)
    return _core.maximum(a, b) + _core.log1p(_core.exp2(_gap(a, b))) * (1 / _log(2))


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2^other."""
    if isinstance(other, Tensor) and input.is_floating_point() and not other.is_floating_point():
        other = other.to(input.dtype)
    return input * _core.pow(2.0, other)


def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The number of the dtype next to input, towards other. Raises: RuntimeError for other dtypes than floats."""
    kind = _core.result_type(input, other)
    if kind not in (_core.float32, _core.float64):
        raise RuntimeError(f"nextafter: operands must be float32 or float64, got {kind}")
    a, b = (host_array(x.to(kind)) for x in (input, other))
    return beside(np.nextafter(a, b), input)


def _whole(name: str, function: Any, input: Tensor, other: Tensor) -> Tensor:
    kind = _core.result_type(input, other)
    if kind.is_floating_point or kind == _core.bool:
        raise NotImplementedError(f"{name}: operands must have integer dtypes, got {kind}")
    return beside(function(host_array(input.to(kind)), host_array(other.to(kind))), input)


def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor of integers, not negative."""
    return _whole("gcd", np.gcd, input, other)


def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple of integers, not negative."""
    return _whole("lcm", np.lcm, input, other)


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """|input - other| <= atol + rtol * |other|, or equal; two NaN are close where `equal_nan`."""
    close = _core.eq(input, other)
    if input.is_floating_point():
        distance = _core.abs(input - other)
        within = _core.le(distance, atol + rtol * _core.abs(other))
        close = close | (within & _core.isfinite(input) & _core.isfinite(other))
    else:
        distance = _core.abs(input.double() - other.double())
        close = close | _core.le(distance, atol + rtol * _core.abs(other.double()))
    return close | (_core.isnan(input) & _core.isnan(other)) if equal_nan else close


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether every pair is close; see `isclose`."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shape and all elements are the same."""
    return input.shape == other.shape and bool(_core.eq(input, other).all())


subtract, multiply, divide, true_divide, arctan2 = sub, mul, div, div, atan2
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge
