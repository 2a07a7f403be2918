"""The Poisson distribution."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import Tensor, lgamma, xlogy
from dd2424._host import beside, host_array
from dd2424.distributions import constraints, draws
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import broadcast_all

__all__ = ["Poisson"]


class Poisson(Distribution):
    """How often happens what happens `rate` times on average: P(k) = rate^k exp(-rate) / k!.

    Shapes: rate has the batch shape; draws are numbers.
    """

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Tensor | float, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        rate = self.rate.detach().expand(self._extended_shape(sample_shape)).double()
        return beside(draws.poisson(host_array(rate)), self.rate).to(self.rate.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return xlogy(value, self.rate) - self.rate - lgamma(value + 1)
