"""The half-normal distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import Tensor, erf, erfinv, zeros_like
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import broadcast_all, standard_normal

__all__ = ["HalfNormal"]


class HalfNormal(Distribution):
    """The size |X| of a normal variable X with mean 0 and standard deviation `scale`.

        p(x) = sqrt(2 / pi) exp(-(x / scale)^2 / 2) / scale, x >= 0

    Shapes: scale has the batch shape; draws are numbers.
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale: Tensor | float, validate_args: bool | None = None) -> None:
        (self.scale,) = broadcast_all(scale)
        super().__init__(self.scale.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> Tensor:
        return zeros_like(self.scale)

    @property
    def variance(self) -> Tensor:
        return self.scale**2 * (1 - 2 / math.pi)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.scale * standard_normal(self._extended_shape(sample_shape), self.scale).abs()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        z = value / self.scale
        inside = math.log(2 / math.pi) / 2 - self.scale.log() - z * z / 2
        return inside.masked_fill(value < 0, -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return erf(value / (self.scale * math.sqrt(2)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * math.sqrt(2) * erfinv(value)

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + math.log(math.pi / 2)) / 2
