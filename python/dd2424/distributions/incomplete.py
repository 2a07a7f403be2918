"""The incomplete gamma function and its slope in the shape parameter, by one quadrature for all arguments.

For Gamma(a, 1) at z, t = z e^-v turns the integral below z, divided by the density, into

    P(a, z) / (z p(z)) = integral over v > 0 of exp(-a v + z (1 - e^-v)) dv                  where z <= a,
    Q(a, z) / (z p(z)) = integral over v > 0 of exp(a v - z (e^v - 1)) dv                    where z > a (t = z e^v),

and the same integrals times (log t - digamma(a)) are dP/da and dQ/da. Both integrands are smooth and only fall, so that
the trapezoidal rule after v = w exp(x - e^-x) is exact to rounding with some hundred points, for any a.

Source: Takahasi and Mori, "Double Exponential Formulas for Numerical Integration" (1974); the slope of a sample:
Figurnov, Mohamed and Mnih, "Implicit Reparameterization Gradients", arXiv:1805.08498, section 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dd2424 import Tensor, digamma, from_numpy, lgamma
from dd2424._host import beside, host_array
from dd2424.autograd.function import Context, Function, once_differentiable

__all__: list[str] = []
Array = npt.NDArray[np.float64]
_POINTS = np.linspace(-3.9, 4.5, 121)


def special(function: Any, x: Array) -> Array:
    """A special function of our tensors, of a NumPy array."""
    values: Array = function(from_numpy(np.ascontiguousarray(x))).numpy()
    return values


def integrals(a: Array, log_z: Array) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """The integrals above, without and with (log t - digamma(a)), and whether z <= a. z itself may be too small."""
    z = np.exp(log_z)
    below = z <= a
    sign = np.where(below, -1.0, 1.0)
    width = 1.0 / (np.abs(a - z) + np.sqrt(np.maximum(z, a * a / (1 + a))))  # how far the integrand reaches
    centred = log_z - special(digamma, a)
    area, moment = np.zeros_like(z), np.zeros_like(z)
    for x in _POINTS:
        v = width * np.exp(x - np.exp(-x))
        with np.errstate(over="ignore"):
            weight = np.exp(sign * a * v - z * np.expm1(sign * v)) * v * (1 + np.exp(-x))
        area += weight
        moment += weight * (centred + sign * v)
    step = _POINTS[1] - _POINTS[0]
    return area * step, moment * step, below


def log_sample_slope(a: Array, log_z: Array) -> Array:
    """d log z / da at a fixed probability P(a, z): minus dP/da over z p(z)."""
    _, moment, below = integrals(a, log_z)
    return np.where(below, -moment, moment)


class RegularizedGamma(Function):
    """Tape node of `regularized_gamma`: dP/dz is the density, dP/da minus z p(z) d log z / da."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, z: Tensor) -> Tensor:
        ctx.save_for_backward(a, z)
        wide_a, wide_z = host_array(a.double()), host_array(z.double())
        with np.errstate(divide="ignore", invalid="ignore"):
            log_z = np.log(wide_z)
            area, _, below = integrals(wide_a, np.where(wide_z > 0, log_z, -700.0))
            tail = area * np.exp(wide_a * log_z - wide_z - special(lgamma, wide_a))
        p = np.where(below, tail, 1 - tail)
        p = np.where(wide_z <= 0, 0.0, np.where(np.isinf(wide_z), 1.0, p))
        return beside(p, a).to(a.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor, Tensor]:
        a, z = ctx.saved_tensors
        density = ((a - 1) * z.log() - z - lgamma(a)).exp()
        slope = log_sample_slope(host_array(a.double()), host_array(z.detach().double().log()))
        return -dy * density * z * beside(slope, a).to(a.dtype), dy * density


def regularized_gamma(a: Tensor, z: Tensor) -> Tensor:
    """P(a, z) = integral from 0 to z of t^(a-1) e^-t dt / Gamma(a). Shapes: a and z broadcast."""
    wide, broad = a + 0 * z, z + 0 * a
    result: Tensor = RegularizedGamma.apply(wide, broad)
    return result
