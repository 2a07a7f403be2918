"""Reductions: over all elements, over some dimensions, or running along one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dd2424 import _core
from dd2424._core import Tensor, dtype
from dd2424._types import Dims
from dd2424.linalg.norm import matrix_norm, vector_norm

# fmt: off
__all__ = [
    "sum", "mean", "prod", "amax", "amin", "aminmax", "max", "min", "argmax", "argmin", "any", "all", "var", "std",
    "var_mean", "std_mean", "logsumexp", "cumsum", "cumprod", "nansum", "nanmean", "norm",
    "count_nonzero", "dist", "diff", "renorm",
]
# fmt: on


class MinMax(NamedTuple):
    """The smallest and the largest element."""

    min: Tensor
    max: Tensor


def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The sum over all elements or over `dim`, which stays with size 1 where `keepdim`. Integers sum to int64."""
    return _core.sum(input, dim, keepdim, dtype=dtype)


def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The mean over all elements or over `dim`. Raises: RuntimeError for integers."""
    return _core.mean(input, dim, keepdim, dtype=dtype)


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The product over all elements or over `dim`."""
    return _core.prod(input, dim, keepdim, dtype=dtype)


def amax(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """The largest value over `dim`; the gradient is shared evenly among equals."""
    return _core.amax(input, dim, keepdim)


def amin(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """The smallest value over `dim`; the gradient is shared evenly among equals."""
    return _core.amin(input, dim, keepdim)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """Both of `amin` and `amax`."""
    over: Any = () if dim is None else dim
    return MinMax(_core.amin(input, over, keepdim), _core.amax(input, over, keepdim))


def max(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
    """The largest element; along `dim`, (values, indices); with a tensor in place of `dim`, `maximum` of the two."""
    if isinstance(dim, Tensor):
        return _core.maximum(input, dim)
    return _core.max(input) if dim is None else _core.max(input, dim, keepdim)


def min(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
    """The smallest element; along `dim`, (values, indices); with a tensor in place of `dim`, `minimum` of the two."""
    if isinstance(dim, Tensor):
        return _core.minimum(input, dim)
    return _core.min(input) if dim is None else _core.min(input, dim, keepdim)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the largest element, the first of equals, as int64; over the flattened input without `dim`."""
    return _core.argmax(input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the smallest element, the first of equals, as int64; over the flattened input without `dim`."""
    return _core.argmin(input, dim, keepdim)


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether any element is non-zero."""
    return _core.any(input, dim, keepdim)


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether every element is non-zero."""
    return _core.all(input, dim, keepdim)


def _correction(correction: float | None, unbiased: bool | None) -> float:
    if unbiased is not None:
        return float(unbiased)
    return 1.0 if correction is None else correction


def var(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The variance: squared distances from the mean, over their number less `correction` (1 by default)."""
    return _core.var(input, dim, correction=_correction(correction, unbiased), keepdim=keepdim)


def std(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The square root of `var`."""
    return _core.std(input, dim, correction=_correction(correction, unbiased), keepdim=keepdim)


def var_mean(input: Tensor, dim: Dims = None, *, correction: float = 1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The variance and the mean."""
    return var(input, dim, keepdim=keepdim, correction=correction), mean(input, dim, keepdim)


def std_mean(input: Tensor, dim: Dims = None, *, correction: float = 1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean."""
    return std(input, dim, keepdim=keepdim, correction=correction), mean(input, dim, keepdim)


def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over `dim`, without overflow."""
    return _core.logsumexp(input, dim, keepdim)


def cumsum(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """Running sums along `dim`."""
    return _core.cumsum(input, dim, dtype=dtype)


def cumprod(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """Running products along `dim`."""
    return _core.cumprod(input, dim, dtype=dtype)


def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The sum, NaN counting as 0."""
    x = _core.where(_core.isnan(input), 0.0, input) if input.is_floating_point() else input
    return _core.sum(x, dim, keepdim, dtype=dtype)


def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The mean of the elements that are not NaN. Raises: RuntimeError for integers."""
    x = input if dtype is None else input.to(dtype)
    if not x.is_floating_point():
        raise RuntimeError(f"nanmean: input must have a floating dtype, got {x.dtype}")
    count = _core.sum(_core.logical_not(_core.isnan(x)), dim, keepdim)
    return nansum(x, dim, keepdim) / count


def norm(
    input: Tensor, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False, dtype: dtype | None = None
) -> Tensor:
    """The p-norm of the elements over `dim`: (sum |x|^p)^(1/p); "fro" is p = 2, inf and -inf the extremes."""
    if p == "nuc":
        plane = (-2, -1) if dim is None else dim
        return matrix_norm(input, "nuc", plane, keepdim, dtype=dtype)  # type: ignore[arg-type]
    order = 2.0 if p in (None, "fro") else float(p)
    return vector_norm(input, order, dim, keepdim, dtype=dtype)


def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements are not zero, as int64."""
    return _core.sum(_core.ne(input, 0), dim, False)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other."""
    return norm(input - other, p)


def diff(input: Tensor, n: int = 1, dim: int = -1) -> Tensor:
    """Differences of neighbours along `dim`, `n` times over."""
    for _ in range(n):
        length = input.shape[dim] - 1
        if length < 0:
            break
        later, earlier = input.narrow(dim, 1, length), input.narrow(dim, 0, length)
        input = _core.logical_xor(later, earlier) if input.dtype == _core.bool else later - earlier
    return input


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Every slice along `dim` whose p-norm is above `maxnorm` is scaled down to it."""
    others = [d for d in range(input.ndim) if d != dim % input.ndim]
    norms = norm(input, p, others, keepdim=True)
    return input * _core.where(norms > maxnorm, maxnorm / (norms + 1e-7), 1.0)
