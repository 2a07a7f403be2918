"""Special functions of one tensor, element by element, that are rare enough to be NumPy's arithmetic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._host import beside, host_array
from dd2424.autograd.function import Context, Function
from dd2424.functional.elementwise import erfc

__all__ = ["i0", "i0e", "i1", "i1e", "ndtr"]

_FAR = 30.0  # from here on the asymptotic series is exact to the last place after 24 terms
_SERIES_TERMS, _FAR_TERMS = 80, 24


def _near(x: Any, order: int) -> Any:
    """e^-x I_n(x) = e^-x (x/2)^n sum of (x^2/4)^k / (k! (k + n)!): all terms are positive, nothing cancels."""
    quarter = x * x / 4
    total = np.ones_like(x)
    for k in range(_SERIES_TERMS, 0, -1):  # Horner's rule
        total = 1 + total * quarter / (k * (k + order))
    return np.exp(-x) * (x / 2) ** order / math.factorial(order) * total


def _far(x: Any, order: int) -> Any:
    """e^-x I_n(x) = (2 pi x)^-1/2 (1 - (4n^2 - 1) / (8x) (1 - (4n^2 - 9) / (2 8x) (1 - ...)))."""
    total = np.ones_like(x)
    for k in range(_FAR_TERMS, 0, -1):
        total = 1 - total * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k * x)
    return total / np.sqrt(2 * np.pi * x)


def _scaled_bessel(x: Any, order: int) -> Any:
    """e^-|x| I_n(x)."""
    size = np.abs(x)
    near, far = np.minimum(size, _FAR), np.maximum(size, _FAR)
    value = np.where(size < _FAR, _near(near, order), _far(far, order))
    return value if order % 2 == 0 else np.copysign(value, x)


class Bessel(Function):
    """Tape node of I_n, and of e^-|x| I_n(x) if `scaled`: 2 I_n' = I_(n-1) + I_(n+1).

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 9.6.10, 9.6.26, 9.7.1.
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor, order: int, scaled: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.order, ctx.scaled = order, scaled
        wide = host_array(x.double())
        y = _scaled_bessel(wide, order)
        if not scaled:
            with np.errstate(over="ignore", invalid="ignore"):
                half = np.exp(np.abs(wide) / 2)  # twice: I_n is finite for longer than e^x
                y = np.where(np.isinf(wide), np.copysign(half, wide if order % 2 else half), y * half * half)
        return beside(y, x).to(x.dtype)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        below, above = (Bessel.apply(x, order, ctx.scaled) for order in (abs(ctx.order - 1), ctx.order + 1))
        slope = (below + above) / 2
        if ctx.scaled:
            slope = slope - _core.sign(x) * Bessel.apply(x, ctx.order, True)
        return dy * slope, None, None


def _bessel(input: Tensor, order: int, scaled: bool) -> Tensor:
    x = input if input.is_floating_point() else input.to(_core.get_default_dtype())
    result: Tensor = Bessel.apply(x, order, scaled)
    return result


def i0(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind and order 0: sum of (x^2/4)^k / k!^2."""
    return _bessel(input, 0, False)


def i0e(input: Tensor) -> Tensor:
    """e^-|x| i0(x), which does not overflow."""
    return _bessel(input, 0, True)


def i1(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind and order 1, the slope of i0."""
    return _bessel(input, 1, False)


def i1e(input: Tensor) -> Tensor:
    """e^-|x| i1(x), which does not overflow."""
    return _bessel(input, 1, True)


def ndtr(input: Tensor) -> Tensor:
    """The standard normal distribution's share below x."""
    return erfc(input * -math.sqrt(0.5)) / 2
