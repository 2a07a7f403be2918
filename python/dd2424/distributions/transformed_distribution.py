"""The distribution of a function of a random variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from dd2424 import Tensor, no_grad
from dd2424.distributions import constraints
from dd2424.distributions.constraints import Constraint
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.independent import Independent
from dd2424.distributions.transforms import ComposeTransform, Transform
from dd2424.distributions.utils import sum_rightmost

__all__ = ["TransformedDistribution"]
Self = TypeVar("Self", bound="TransformedDistribution")


class TransformedDistribution(Distribution):
    """The distribution of y = t(x), x drawn from the base, t one transform or several, the first one first.

        log p(y) = log p_base(x) - log |det dy/dx|, x = t.inv(y)

    Shapes: the base's, as the transforms change and widen them.
    Raises: ValueError for what is no transform, and for a base with too few dimensions for the transforms.
    """

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:
        self.transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        for transform in self.transforms:
            if not isinstance(transform, Transform):
                given = type(transform).__name__
                raise ValueError(f"TransformedDistribution: transforms must be Transform objects, got {given}")
        composed = ComposeTransform(self.transforms)
        x_dim, y_dim = composed.domain.event_dim, composed.codomain.event_dim
        batch, event = base_distribution.batch_shape, base_distribution.event_shape
        shape = (*batch, *event)
        if len(shape) < x_dim:
            raise ValueError(
                f"TransformedDistribution: base_distribution must have at least {x_dim} dimensions, got shape {shape}"
            )
        y_shape = composed.forward_shape(shape)
        x_shape = composed.inverse_shape(y_shape)
        if tuple(x_shape) != shape:
            base_distribution = base_distribution.expand(x_shape[: len(x_shape) - len(event)])
        if x_dim > len(event):
            base_distribution = Independent(base_distribution, x_dim - len(event))
        self.base_dist = base_distribution
        events = y_dim + max(len(event) - x_dim, 0)
        cut = len(y_shape) - events
        super().__init__(y_shape[:cut], y_shape[cut:], validate_args)

    def expand(self: Self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        new = super().expand(batch_shape, _instance)
        x_shape = ComposeTransform(self.transforms).inverse_shape((*batch_shape, *self.event_shape))
        new.base_dist = self.base_dist.expand(x_shape[: len(x_shape) - len(self.base_dist.event_shape)])
        return new

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the base has it."""
        return self.base_dist.has_rsample

    @constraints.dependent_property
    def support(self) -> Constraint:
        if not self.transforms:
            return self.base_dist.support
        last = self.transforms[-1].codomain
        extra = len(self.event_shape) - last.event_dim
        return constraints.independent(last, extra) if extra > 0 else last

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return ComposeTransform(self.transforms)(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return ComposeTransform(self.transforms)(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        dims, y = len(self.event_shape), value
        stretch: Tensor | float = 0.0
        for transform in reversed(self.transforms):
            x = transform.inv(y)
            dims += transform.domain.event_dim - transform.codomain.event_dim
            stretch = stretch + sum_rightmost(transform.log_abs_det_jacobian(x, y), dims - transform.domain.event_dim)
            y = x
        return sum_rightmost(self.base_dist.log_prob(y), dims - len(self.base_dist.event_shape)) - stretch

    def _sign(self) -> Any:
        """1 where y rises with x, else -1."""
        return ComposeTransform(self.transforms).sign

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return self._turned(self.base_dist.cdf(ComposeTransform(self.transforms).inv(value)))

    def icdf(self, value: Tensor) -> Tensor:
        return ComposeTransform(self.transforms)(self.base_dist.icdf(self._turned(value)))

    def _turned(self, probability: Tensor) -> Tensor:
        """1 - probability where the transforms turn the order round."""
        sign = self._sign()
        return probability if isinstance(sign, int) and sign == 1 else sign * (probability - 0.5) + 0.5

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_dist}, {self.transforms})"
