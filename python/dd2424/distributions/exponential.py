"""The exponential distribution."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import Tensor, zeros_like
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import broadcast_all, open_uniform

__all__ = ["Exponential"]


class Exponential(Distribution):
    """How long one waits for what happens `rate` times a unit of time: p(x) = rate exp(-rate x), x >= 0.

    Shapes: rate has the batch shape; draws are numbers.
    """

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Tensor | float, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate

    @property
    def mode(self) -> Tensor:
        return zeros_like(self.rate)

    @property
    def variance(self) -> Tensor:
        return self.rate**-2

    @property
    def stddev(self) -> Tensor:
        return 1 / self.rate

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return -open_uniform(self._extended_shape(sample_shape), self.rate).log() / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return -(-self.rate * value).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        return -(-value).log1p() / self.rate

    def entropy(self) -> Tensor:
        return 1 - self.rate.log()
