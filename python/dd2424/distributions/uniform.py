"""The uniform distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import Tensor, rand
from dd2424.distributions import constraints
from dd2424.distributions.constraints import Constraint
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import broadcast_all

__all__ = ["Uniform"]


class Uniform(Distribution):
    """All numbers in [low, high) alike: p(x) = 1 / (high - low).

    Shapes: low and high broadcast to the batch shape; draws are numbers.
    Raises: ValueError where low is not below high.
    """

    arg_constraints = {"low": constraints.dependent, "high": constraints.dependent}
    has_rsample = True

    def __init__(self, low: Tensor | float, high: Tensor | float, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)
        if self._validate_args and not bool((self.low < self.high).all()):
            wrong = ~(self.low < self.high)
            raise ValueError(
                f"Uniform: low must be less than high, got {self.low[wrong][0].item()} and {self.high[wrong][0].item()}"
            )

    @constraints.dependent_property
    def support(self) -> Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return self._constant(math.nan, self.low)

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low) ** 2 / 12

    @property
    def stddev(self) -> Tensor:
        return (self.high - self.low) / math.sqrt(12)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        drawn = rand(self._extended_shape(sample_shape), dtype=self.low.dtype, device=self.low.device)
        return self.low + drawn * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        inside = (self.low <= value) & (value < self.high)
        return inside.to(self.low.dtype).log() - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        return self.low + value * (self.high - self.low)

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()
