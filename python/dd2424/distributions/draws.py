"""Drawing from the distributions whose inverse has no formula: by rejection, all elements at once, in float64.

Every proposal comes from the default generator, so a seed repeats the draws bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dd2424 import Tensor, float64, lgamma, rand, randn
from dd2424._host import beside, host_array
from dd2424.autograd.function import Context, Function, once_differentiable
from dd2424.distributions.incomplete import log_sample_slope, special

__all__: list[str] = []
Array = npt.NDArray[np.float64]
_FEW = 10.0  # expected counts below it are found by adding up probabilities


def _uniform(count: int) -> Array:
    """Uniform on (0, 1)."""
    drawn: Array = rand(count, dtype=float64).clamp(min=np.finfo(np.float64).tiny).numpy()
    return drawn


def _by_rejection(propose: Callable[[Array], tuple[Array, npt.NDArray[np.bool_]]], parameters: Array) -> Array:
    """One accepted proposal for each column of parameters; propose returns values and which of them are accepted."""
    result = np.empty(parameters.shape[1])
    pending = np.arange(parameters.shape[1])
    while pending.size:
        values, accepted = propose(parameters[:, pending])
        result[pending[accepted]] = values[accepted]
        pending = pending[~accepted]
    return result


def _propose_gamma(parameters: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """d v with v = (1 + x / sqrt(9 d))^3, d = a - 1/3, accepted where log u < x^2 / 2 + d (1 - v + log v)."""
    d = parameters[0] - 1 / 3
    x: Array = randn(d.size, dtype=float64).numpy()
    v = (1 + x / np.sqrt(9 * d)) ** 3
    positive = v > 0
    log_v = np.log(np.where(positive, v, 1.0))
    return d * v, positive & (np.log(_uniform(d.size)) < x * x / 2 + d * (1 - v + log_v))


def log_gamma(a: Array) -> Array:
    """log of draws from Gamma(a, 1), which for small a are themselves too small for floating point.

    With X from Gamma(a + 1, 1) and U uniform, X U^(1/a) is from Gamma(a, 1).
    Source: Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000).
    """
    flat = np.ascontiguousarray(a).reshape(1, -1)
    raised = np.where(flat < 1, flat + 1, flat)
    log_x = np.log(_by_rejection(_propose_gamma, raised))
    small = flat[0] < 1
    log_x[small] += np.log(_uniform(int(small.sum()))) / flat[0, small]
    return log_x.reshape(a.shape)


class LogGamma(Function):
    """Tape node of draws from Gamma(a, 1), or of their logarithms: the slope at a fixed probability of the draw."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, logarithm: bool) -> Tensor:
        wide = np.asarray(host_array(a.double()))
        log_z = log_gamma(wide)
        ctx.wide, ctx.log_z, ctx.logarithm = wide, log_z, logarithm
        return beside(log_z if logarithm else np.exp(log_z), a).to(a.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor, None]:
        slope = log_sample_slope(ctx.wide, ctx.log_z)
        slope = slope if ctx.logarithm else slope * np.exp(ctx.log_z)
        return dy * beside(slope, dy).to(dy.dtype), None


def standard_gamma(a: Tensor, logarithm: bool = False) -> Tensor:
    """Draws from Gamma(a, 1), or their logarithms, with a gradient in a."""
    result: Tensor = LogGamma.apply(a, logarithm)
    return result


def _by_addition(first: Array, ratio: Callable[[int], Array]) -> Array:
    """The count k at which P(0) + ... + P(k) passes a uniform number, from P(0) and P(k) / P(k - 1)."""
    left, probability, count = _uniform(first.size), first.copy(), np.zeros(first.size)
    for k in range(1, 200):
        left = left - probability
        more = left > 0
        if not more.any():
            break
        count[more] = k
        probability = probability * ratio(k)
    return count


def _propose_poisson(parameters: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    rate = parameters[0]
    spread = np.sqrt(rate)
    b = 0.931 + 2.53 * spread
    a = -0.059 + 0.02483 * b
    u = _uniform(rate.size) - 0.5
    edge = 0.5 - np.abs(u)
    with np.errstate(divide="ignore", invalid="ignore"):
        k = np.floor((2 * a / edge + b) * u + rate + 0.43)
        height = np.log(_uniform(rate.size) * (1.1239 + 1.1328 / (b - 3.4)) / (a / (edge * edge) + b))
    inside = (k >= 0) & np.isfinite(k)
    k = np.where(inside, k, 0.0)
    return k, inside & (height <= k * np.log(rate) - rate - special(lgamma, k + 1))


def poisson(rate: Array) -> Array:
    """Draws from Poisson(rate).

    Source: Hörmann, "The Transformed Rejection Method for Generating Poisson Random Variables" (1993), PTRS.
    """
    flat = np.ascontiguousarray(rate).reshape(-1)
    result = np.empty_like(flat)
    few = flat < _FEW
    result[few] = _by_addition(np.exp(-flat[few]), lambda k: flat[few] / k)
    result[~few] = _by_rejection(_propose_poisson, flat[None, ~few])
    return result.reshape(rate.shape)


def _propose_binomial(parameters: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    n, p = parameters
    spread = np.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    u = _uniform(n.size) - 0.5
    edge = 0.5 - np.abs(u)
    with np.errstate(divide="ignore", invalid="ignore"):
        k = np.floor((2 * a / edge + b) * u + n * p + 0.5)
        height = np.log(_uniform(n.size) * (2.83 + 5.1 / b) * spread / (a / (edge * edge) + b))
    inside = (k >= 0) & (k <= n)
    mode = np.floor((n + 1) * p)
    k = np.where(inside, k, mode)
    log_ways = [special(lgamma, x + 1) for x in (mode, n - mode, k, n - k)]
    ratio = log_ways[0] + log_ways[1] - log_ways[2] - log_ways[3] + (k - mode) * np.log(p / (1 - p))
    return k, inside & (height <= ratio)


def binomial(n: Array, p: Array) -> Array:
    """Draws from Binomial(n, p).

    Source: Hörmann, "The Generation of Binomial Random Variates" (1993), BTRS.
    """
    counts, chances = np.ascontiguousarray(n).reshape(-1), np.ascontiguousarray(p).reshape(-1)
    rarer = np.minimum(chances, 1 - chances)
    result = np.empty_like(counts)
    few = counts * rarer < _FEW
    some, rare = counts[few], rarer[few]
    odds = rare / (1 - rare)
    result[few] = _by_addition((1 - rare) ** some, lambda k: np.maximum(some - k + 1, 0) / k * odds)
    result[few] = np.minimum(result[few], some)
    result[~few] = _by_rejection(_propose_binomial, np.stack([counts[~few], rarer[~few]]))
    return np.where(chances > 0.5, counts - result, result).reshape(n.shape)
