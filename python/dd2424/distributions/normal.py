"""The normal distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import Tensor, erfc, erfinv
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import broadcast_all, standard_normal

__all__ = ["Normal"]


class Normal(Distribution):
    """The normal distribution with mean `loc` and standard deviation `scale`.

        p(x) = exp(-((x - loc) / scale)^2 / 2) / (scale sqrt(2 pi))

    Shapes: loc and scale broadcast to the batch shape; draws are numbers.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Tensor | float, scale: Tensor | float, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale**2

    @property
    def stddev(self) -> Tensor:
        return self.scale

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.loc + self.scale * standard_normal(self._extended_shape(sample_shape), self.loc)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        z = (value - self.loc) / self.scale
        return -(z * z) / 2 - self.scale.log() - math.log(2 * math.pi) / 2

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return erfc((self.loc - value) / (self.scale * math.sqrt(2))) / 2  # exact in the lower tail too

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * math.sqrt(2) * erfinv(2 * value - 1)

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + math.log(2 * math.pi)) / 2
