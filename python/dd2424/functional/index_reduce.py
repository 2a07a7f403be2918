"""Indexing that reduces: several elements that go to one place become their product, mean, largest or smallest."""

from __future__ import annotations

import math
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor, dtype
from dd2424._dtypes import iinfo
from dd2424._types import Number
from dd2424.autograd.function import Context, Function
from dd2424.functional.shape import _wrap

__all__ = ["index_reduce", "scatter_reduce"]

_START = {"prod": 1, "amax": -math.inf, "amin": math.inf}


def _joined(x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool) -> Tensor:
    """x with src joined to it in row-major order; without `include_self`, places that src reaches start afresh."""
    started = x if include_self else _core.scatter(x, dim, index, _start(x.dtype, reduce))
    return _core.scatter_join(started, dim, index, src, reduce)


def _start(dtype: dtype, reduce: str) -> Number:
    if dtype.is_floating_point or reduce == "prod":
        return _START[reduce]
    limits = iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


class ScatterExtreme(Function):
    """Tape node of `scatter_reduce` for amax and amin: equal winners share the gradient evenly."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, src: Tensor, index: Tensor, dim: int, reduce: str, own: bool) -> Tensor:
        y = _joined(x, dim, index, src, reduce, own)
        ctx.save_for_backward(x, src, index, y)
        ctx.dim, ctx.own = dim, own
        return y

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, src, index, y = ctx.saved_tensors
        source = src[tuple(slice(0, size) for size in index.shape)]
        wins = (source == _core.gather(y, ctx.dim, index)).to(dy.dtype)
        reached = _core.scatter(_core.zeros_like(x), ctx.dim, index, 1.0)
        keeps = ((x == y) if ctx.own else (reached == 0)).to(dy.dtype)
        share = dy / _core.clamp(_core.scatter_add(keeps, ctx.dim, index, wins), 1)
        return share * keeps, _padded(_core.gather(share, ctx.dim, index) * wins, src), None, None, None, None


class ScatterProduct(Function):
    """Tape node of `scatter_reduce` for prod: each factor's gradient is the product of the others, also of zeros."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, src: Tensor, index: Tensor, dim: int, own: bool) -> Tensor:
        ctx.save_for_backward(x, src, index)
        ctx.dim, ctx.own = dim, own
        return _joined(x, dim, index, src, "prod", own)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, src, index = ctx.saved_tensors
        dim, source = ctx.dim, src[tuple(slice(0, size) for size in index.shape)]
        reached = _core.scatter(_core.zeros_like(x), dim, index, 1.0) != 0
        first = x if ctx.own else _core.where(reached, 1.0, x)
        zeros = _core.scatter_add((first == 0).to(x.dtype), dim, index, (source == 0).to(x.dtype))
        factors = [_core.where(f == 0, 1.0, f) for f in (first, source)]
        product = ScatterProduct.apply(factors[0], factors[1], index, dim, True)

        def others(factor: Tensor, without_zeros: Tensor, all_zeros: Tensor, total: Tensor) -> Tensor:
            alone = all_zeros - (factor == 0).to(factor.dtype)  # zeros among the others
            return _core.where(alone == 0, total / without_zeros, 0.0)

        dfirst = dy * others(first, factors[0], zeros, product)
        at = [_core.gather(t, dim, index) for t in (zeros, product, dy)]
        dsource = at[2] * others(source, factors[1], at[0], at[1])
        return dfirst if ctx.own else _core.where(reached, 0.0, dfirst), _padded(dsource, src), None, None, None


def _padded(gradient: Tensor, src: Tensor) -> Tensor:
    """What src has beyond the index's shape takes no part."""
    if gradient.shape == src.shape:
        return gradient
    whole = _core.zeros(src.shape, dtype=gradient.dtype, device=src.device)
    whole[tuple(slice(0, size) for size in gradient.shape)] = gradient
    return whole


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input with out[index[i][j]][j] joined by src[i][j] for dim 0, and so on: "sum", "prod", "mean", "amax", "amin".

    Without `include_self` the places that src reaches forget what they held.
    Raises: RuntimeError for another `reduce`, another dtype or an index out of range.
    """
    dim = _wrap(dim, input.ndim, "scatter_reduce")
    if reduce not in ("sum", "mean", *_START):
        raise RuntimeError(f'scatter_reduce: reduce must be "sum", "prod", "mean", "amax" or "amin", got "{reduce}"')
    if reduce in ("amax", "amin"):
        return _applied(ScatterExtreme, input, src, index, dim, reduce, include_self)
    if reduce == "prod":
        return _applied(ScatterProduct, input, src, index, dim, include_self)
    ones = _core.full(index.shape, 1, dtype=input.dtype, device=input.device)
    started = input if include_self else _core.scatter(input, dim, index, 0)
    total = _core.scatter_add(started, dim, index, src)
    if reduce == "sum":
        return total
    counts = _core.full(input.shape, int(include_self), dtype=input.dtype, device=input.device)
    counts = _core.clamp(_core.scatter_add(counts, dim, index, ones), 1)
    return total / counts if input.is_floating_point() else total // counts


def _applied(kind: type[Function], *arguments: Any) -> Tensor:
    result: Tensor = kind.apply(*arguments)
    return result


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input with its slices of a dimension at these indices joined by source's: "prod", "mean", "amax", "amin".

    Raises: RuntimeError for another `reduce`, or where source does not fit.
    """
    if reduce not in ("mean", *_START):
        raise RuntimeError(f'index_reduce: reduce must be "prod", "mean", "amax" or "amin", got "{reduce}"')
    dim = _wrap(dim, input.ndim, "index_reduce")
    shape = [1] * input.ndim
    shape[dim] = -1
    places = _core.broadcast_to(_core.reshape(index, shape), source.shape).contiguous()
    return scatter_reduce(input, dim, places, source, reduce, include_self=include_self)
