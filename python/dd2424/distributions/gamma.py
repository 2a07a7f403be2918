"""The gamma distribution."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import Tensor, digamma, finfo, lgamma, xlogy
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.draws import standard_gamma
from dd2424.distributions.incomplete import regularized_gamma
from dd2424.distributions.utils import broadcast_all

__all__ = ["Gamma"]


class Gamma(Distribution):
    """The sum of `concentration` exponential waiting times; the concentration a need not be whole.

        p(x) = rate^a x^(a-1) exp(-rate x) / Gamma(a)

    Draws have gradients in both parameters, at a fixed probability of the draw.

    Shapes: concentration and rate broadcast to the batch shape; draws are numbers.
    Source: Marsaglia and Tsang (2000) for draws; Figurnov et al., arXiv:1805.08498, for their gradients.
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Tensor | float, rate: Tensor | float, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate**2

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        drawn = standard_gamma(self.concentration.expand(self._extended_shape(sample_shape))) / self.rate
        return drawn.clamp(min=finfo(drawn.dtype).tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        a, rate = self.concentration, self.rate
        return xlogy(a, rate) + xlogy(a - 1, value) - rate * value - lgamma(a)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return regularized_gamma(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + lgamma(a) + (1 - a) * digamma(a)
