"""Reductions made of others: running sums of exponentials, areas under points, covariances."""

from __future__ import annotations

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._host import beside, host_array
from dd2424._types import Number
from dd2424.autograd.function import Context, Function
from dd2424.functional.reduce import diff

__all__ = ["logcumsumexp", "trapezoid", "trapz", "cumulative_trapezoid", "cov", "corrcoef"]


class LogCumSumExp(Function):
    """Tape node of `logcumsumexp`: dx_i = exp(x_i) * the sum over j >= i of dy_j exp(-y_j), in logarithms by sign."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, dim: int) -> Tensor:
        array = np.logaddexp.accumulate(np.atleast_1d(host_array(x.double())), axis=dim)
        y = beside(np.array(array.reshape(tuple(x.shape)), order="C"), x).to(x.dtype)
        ctx.save_for_backward(x, y)
        ctx.dim = dim
        return y

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor, None]:
        x, y = ctx.saved_tensors
        if x.ndim == 0:
            return dy, None

        def share(part: Tensor) -> Tensor:
            terms = _core.log(_core.clamp(part, 0, None)) - y
            return _core.exp(logcumsumexp(terms.flip(ctx.dim), ctx.dim).flip(ctx.dim) + x)

        return share(dy) - share(-dy), None


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log of the running sums of e^x along `dim`, without overflow. Raises: IndexError where there is no such dim."""
    ndim = max(input.ndim, 1)
    if not -ndim <= dim < ndim:
        raise IndexError(f"logcumsumexp: dim must be from {-ndim} to {ndim - 1}, got {dim}")
    x = input if input.is_floating_point() else input.to(_core.get_default_dtype())
    y: Tensor = LogCumSumExp.apply(x, dim)
    return y


def _areas(y: Tensor, x: Tensor | None, dx: Number, dim: int) -> Tensor:
    count = max(y.size(dim) - 1, 0)
    heights = y.narrow(dim, 0, count) + y.narrow(dim, y.size(dim) - count, count)
    if x is None:
        return heights * (dx / 2)
    widths = diff(x, dim=-1 if x.ndim == 1 else dim)
    if x.ndim == 1:
        widths = widths.reshape((-1,) + (1,) * (y.ndim - 1 - dim % y.ndim))
    return heights * widths / 2


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Number = 1, dim: int = -1) -> Tensor:
    """The area under y by the trapezoidal rule along `dim`, over points x, or over points dx apart."""
    return _core.sum(_areas(y, x, dx, dim), dim)


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Number = 1, dim: int = -1) -> Tensor:
    """`trapezoid` up to each point but the first."""
    return _core.cumsum(_areas(y, x, dx, dim), dim)


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """Covariances of variables in rows, observed in columns; `fweights` counts observations, `aweights` weighs them.

    Shapes: input (V, n) or (n,); output (V, V) or (). Raises: RuntimeError for more dimensions.
    """
    if input.ndim > 2:
        raise RuntimeError(f"cov: input must have at most two dimensions, got {input.ndim}")
    rows = input.reshape((1, -1)) if input.ndim < 2 else input
    if not rows.is_floating_point():
        rows = rows.to(_core.get_default_dtype())
    weights = _core.ones((rows.shape[1],), dtype=rows.dtype, device=rows.device)
    for given in (fweights, aweights):
        weights = weights if given is None else weights * given
    total = weights.sum()
    freedom = total - correction if aweights is None else total - correction * (weights * aweights).sum() / total
    centred = rows - (rows * weights).sum(1, keepdim=True) / total
    spread = (centred * weights) @ centred.T / freedom.clamp(min=0)
    return spread if input.ndim == 2 else spread.reshape(())


def corrcoef(input: Tensor) -> Tensor:
    """The correlation coefficients of variables in rows, between -1 and 1. Shapes: as `cov`."""
    covariance = cov(input)
    if covariance.ndim == 0:
        return covariance / covariance
    deviation = _core.sqrt(covariance.diagonal())
    return _core.clamp(covariance / deviation.unsqueeze(1) / deviation.unsqueeze(0), -1, 1)


trapz = trapezoid
