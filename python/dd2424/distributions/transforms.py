"""Invertible functions of random variables, with the logarithm of how much they stretch space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dd2424 import Size, Tensor, atanh, broadcast_shapes, finfo, full_like, logit, ones_like, sigmoid, softmax
from dd2424.distributions import constraints
from dd2424.distributions.transforms_base import (
    ComposeTransform,
    IndependentTransform,
    Transform,
    identity_transform,
    widened,
)
from dd2424.distributions.utils import size, sum_rightmost
from dd2424.nn.functional import logsigmoid, pad, softplus

__all__ = [
    "AbsTransform", "AffineTransform", "ComposeTransform", "ExpTransform", "IndependentTransform", "PowerTransform",
    "SigmoidTransform", "SoftmaxTransform", "SoftplusTransform", "StickBreakingTransform", "TanhTransform", "Transform",
    "identity_transform",
]  # fmt: skip


class _Fixed(Transform):
    """A transform without parameters: all of its class are equal."""

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self if cache_size == self._cache_size else type(self)(cache_size)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)


class _Rising(_Fixed):
    """A bijection of numbers that rises."""

    bijective = True
    sign = 1


class ExpTransform(_Rising):
    """y = exp(x)."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return x.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class SigmoidTransform(_Rising):
    """y = 1 / (1 + exp(-x))."""

    codomain = constraints.unit_interval

    def _call(self, x: Tensor) -> Tensor:
        limits = finfo(x.dtype)
        return sigmoid(x).clamp(limits.tiny, 1 - limits.eps)

    def _inverse(self, y: Tensor) -> Tensor:
        limits = finfo(y.dtype)
        return logit(y.clamp(limits.tiny, 1 - limits.eps))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x) - softplus(x)


class SoftplusTransform(_Rising):
    """y = log(1 + exp(x))."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return softplus(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return y + (-(-y).expm1()).log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x)


class TanhTransform(_Rising):
    """y = tanh(x)."""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _inverse(self, y: Tensor) -> Tensor:
        return atanh(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return 2 * (math.log(2.0) - x - softplus(-2 * x))


class AbsTransform(_Fixed):
    """y = |x|, of which x = y is called the inverse."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return x.abs()

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class PowerTransform(Transform):
    """y = x^exponent, of positive numbers."""

    domain, codomain, bijective = constraints.positive, constraints.positive, True

    def __init__(self, exponent: Tensor | float, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.exponent = exponent

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self if cache_size == self._cache_size else PowerTransform(self.exponent, cache_size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PowerTransform) and _same(self.exponent, other.exponent)

    @property
    def sign(self) -> Any:
        return _sign(self.exponent)

    def _call(self, x: Tensor) -> Tensor:
        return x**self.exponent

    def _inverse(self, y: Tensor) -> Tensor:
        return y ** (1 / self.exponent)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.exponent * y / x).abs().log()

    def forward_shape(self, shape: Sequence[int]) -> Size:
        return size(broadcast_shapes(tuple(shape), *_shapes(self.exponent)))

    inverse_shape = forward_shape


class AffineTransform(Transform):
    """y = loc + scale x, of values of event_dim dimensions."""

    bijective = True

    def __init__(self, loc: Tensor | float, scale: Tensor | float, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.loc, self.scale, self.event_dim = loc, scale, event_dim
        self.domain = self.codomain = widened(constraints.real, event_dim)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if cache_size == self._cache_size:
            return self
        return AffineTransform(self.loc, self.scale, self.event_dim, cache_size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AffineTransform) and _same(self.loc, other.loc) and _same(self.scale, other.scale)

    @property
    def sign(self) -> Any:
        return _sign(self.scale)

    def _call(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        scale = self.scale if isinstance(self.scale, Tensor) else full_like(x, self.scale)
        return sum_rightmost(scale.abs().log().expand(x.shape), self.event_dim)

    def forward_shape(self, shape: Sequence[int]) -> Size:
        return size(broadcast_shapes(tuple(shape), *_shapes(self.loc), *_shapes(self.scale)))

    inverse_shape = forward_shape


class SoftmaxTransform(_Fixed):
    """y = softmax(x) over the last dimension; x = log y is one of many inverses, so that no density follows."""

    domain, codomain = constraints.real_vector, constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        return softmax(x, -1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()


class StickBreakingTransform(_Fixed):
    """K - 1 numbers to K probabilities: number k = 1 ... K - 1 takes the share sigmoid(x_k - log(K - k)) of the rest.

    Source: the Stan reference manual, "Unit simplex".
    """

    domain, codomain, bijective = constraints.real_vector, constraints.simplex, True

    @staticmethod
    def _centred(x: Tensor) -> Tensor:
        """x_k - log(K - k)."""
        return x - ones_like(x).cumsum(-1).flip(-1).log()

    def _call(self, x: Tensor) -> Tensor:
        shares = sigmoid(self._centred(x))
        left = (1 - shares).cumprod(-1)
        return pad(shares, (0, 1), value=1.0) * pad(left, (1, 0), value=1.0)

    def _inverse(self, y: Tensor) -> Tensor:
        taken = y[..., :-1]
        left = (1 - taken.cumsum(-1)).clamp(min=finfo(y.dtype).tiny)
        return taken.log() - left.log() + ones_like(taken).cumsum(-1).flip(-1).log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        centred = self._centred(x)
        return (logsigmoid(centred) - centred + y[..., :-1].log()).sum(-1)  # the last is log of share times left

    def forward_shape(self, shape: Sequence[int]) -> Size:
        return size(shape[:-1], (shape[-1] + 1,))

    def inverse_shape(self, shape: Sequence[int]) -> Size:
        return size(shape[:-1], (shape[-1] - 1,))


def _same(a: Tensor | float, b: Tensor | float) -> bool:
    equal = a == b
    return bool(equal.all()) if isinstance(equal, Tensor) else equal


def _sign(value: Tensor | float) -> Any:
    return value.sign() if isinstance(value, Tensor) else (value > 0) - (value < 0)


def _shapes(value: Tensor | float) -> list[tuple[int, ...]]:
    return [tuple(value.shape)] if isinstance(value, Tensor) else []
