"""What all transforms share: inverses, caches, composition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dd2424 import Size, Tensor
from dd2424.distributions import constraints
from dd2424.distributions.constraints import Constraint
from dd2424.distributions.utils import size, sum_rightmost

__all__ = ["ComposeTransform", "IndependentTransform", "Transform", "identity_transform"]


class Transform:
    """y = t(x), with x = t.inv(y) and t.log_abs_det_jacobian(x, y) = log |dy/dx|.

    domain, codomain: where x and y lie; sign: 1 for a rising, -1 for a falling function. With cache_size 1 the last
    pair is kept, so that the x of a y that t has just made is found and not computed: exact where rounding is not.

    A subclass defines `_call`, `_inverse` and `log_abs_det_jacobian`.
    """

    bijective = False
    domain: Constraint = constraints.real
    codomain: Constraint = constraints.real

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            raise ValueError(f"{type(self).__name__}: cache_size must be 0 or 1, got {cache_size}")
        self._cache_size = cache_size
        self._last: Any = (None, None)  # x and y

    @property
    def sign(self) -> Any:
        """1 where y rises with x, -1 where it falls."""
        raise NotImplementedError(f"{type(self).__name__}: sign is not defined for this transform")

    @property
    def inv(self) -> Transform:
        """The transform from y to x."""
        return _Inverse(self)

    def with_cache(self, cache_size: int = 1) -> Transform:
        """This transform with another cache size."""
        if cache_size == self._cache_size:
            return self
        raise NotImplementedError(f"{type(self).__name__}: with_cache is not defined for this transform")

    def __call__(self, x: Tensor) -> Tensor:
        if self._cache_size == 0:
            return self._call(x)
        if self._last[0] is not x:
            self._last = (x, self._call(x))
        y: Tensor = self._last[1]
        return y

    def _inverse_of(self, y: Tensor) -> Tensor:
        if self._cache_size == 0:
            return self._inverse(y)
        if self._last[1] is not y:
            self._last = (self._inverse(y), y)
        x: Tensor = self._last[0]
        return x

    def _call(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}: _call must be defined by the subclass")

    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}: _inverse is not defined for this transform")

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |det dy/dx|, one number for each value of the domain."""
        raise NotImplementedError(f"{type(self).__name__}: log_abs_det_jacobian is not defined for this transform")

    def forward_shape(self, shape: Sequence[int]) -> Size:
        """The shape of y for x of this shape."""
        return size(shape)

    def inverse_shape(self, shape: Sequence[int]) -> Size:
        """The shape of x for y of this shape."""
        return size(shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Inverse(Transform):
    """x = t.inv(y)."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self._forward = transform
        self.domain, self.codomain, self.bijective = transform.codomain, transform.domain, transform.bijective

    @property
    def sign(self) -> Any:
        return self._forward.sign

    @property
    def inv(self) -> Transform:
        return self._forward

    def __call__(self, x: Tensor) -> Tensor:
        return self._forward._inverse_of(x)

    def _inverse_of(self, y: Tensor) -> Tensor:
        return self._forward(y)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Inverse) and self._forward == other._forward

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self._forward.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Sequence[int]) -> Size:
        return self._forward.inverse_shape(shape)

    def inverse_shape(self, shape: Sequence[int]) -> Size:
        return self._forward.forward_shape(shape)

    def __repr__(self) -> str:
        return f"{self._forward!r}.inv"


class ComposeTransform(Transform):
    """The parts one after the other, the first one first."""

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.parts = [part.with_cache(cache_size) for part in parts] if cache_size else list(parts)
        self.bijective = all(part.bijective for part in self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ComposeTransform) and self.parts == other.parts

    def _dims(self) -> tuple[int, int]:
        """The dimensions of one x and of one y."""
        need = 0
        for part in reversed(self.parts):
            need = max(part.domain.event_dim, need + part.domain.event_dim - part.codomain.event_dim)
        x_dim = y_dim = need
        for part in self.parts:
            y_dim += part.codomain.event_dim - part.domain.event_dim
        return x_dim, y_dim

    @property
    def domain(self) -> Constraint:  # type: ignore[override]
        """Where x lies."""
        return widened(self.parts[0].domain, self._dims()[0]) if self.parts else constraints.real

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]
        """Where y lies."""
        return widened(self.parts[-1].codomain, self._dims()[1]) if self.parts else constraints.real

    @property
    def sign(self) -> Any:
        return math.prod(part.sign for part in self.parts)

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self if cache_size == self._cache_size else ComposeTransform(self.parts, cache_size)

    def _call(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.inv(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        total = sum_rightmost(x * 0, self.domain.event_dim)
        dims = self.domain.event_dim
        for part in self.parts:
            y = part(x)
            total = total + sum_rightmost(part.log_abs_det_jacobian(x, y), dims - part.domain.event_dim)
            dims += part.codomain.event_dim - part.domain.event_dim
            x = y
        return total

    def forward_shape(self, shape: Sequence[int]) -> Size:
        for part in self.parts:
            shape = part.forward_shape(shape)
        return size(shape)

    def inverse_shape(self, shape: Sequence[int]) -> Size:
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return size(shape)

    def __repr__(self) -> str:
        return f"ComposeTransform({self.parts!r})"


def widened(constraint: Constraint, event_dim: int) -> Constraint:
    """The constraint, over values of event_dim dimensions."""
    extra = event_dim - constraint.event_dim
    return constraints.independent(constraint, extra) if extra else constraint


identity_transform = ComposeTransform([])


class IndependentTransform(Transform):
    """The base transform, with the last dimensions of a batch read as dimensions of one value."""

    def __init__(self, base_transform: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.base_transform = base_transform.with_cache(cache_size) if cache_size else base_transform
        self.reinterpreted_batch_ndims, self.bijective = reinterpreted_batch_ndims, base_transform.bijective
        self.domain = constraints.independent(base_transform.domain, reinterpreted_batch_ndims)
        self.codomain = constraints.independent(base_transform.codomain, reinterpreted_batch_ndims)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if cache_size == self._cache_size:
            return self
        return IndependentTransform(self.base_transform, self.reinterpreted_batch_ndims, cache_size)

    @property
    def sign(self) -> Any:
        return self.base_transform.sign

    def _call(self, x: Tensor) -> Tensor:
        return self.base_transform(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.base_transform.inv(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return sum_rightmost(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def forward_shape(self, shape: Sequence[int]) -> Size:
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape: Sequence[int]) -> Size:
        return self.base_transform.inverse_shape(shape)
