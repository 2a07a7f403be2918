"""The Laplace distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import Tensor, sign
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import broadcast_all, open_uniform

__all__ = ["Laplace"]


class Laplace(Distribution):
    """Exponential on both sides of `loc`.

        p(x) = exp(-|x - loc| / scale) / (2 scale)

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
        return 2 * self.scale**2

    @property
    def stddev(self) -> Tensor:
        return math.sqrt(2) * self.scale

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        waits = -open_uniform(shape, self.loc).log()  # the distance from loc, and then the side
        sides = sign(open_uniform(shape, self.loc) - 0.5)
        return self.loc + self.scale * waits * sides

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return -(value - self.loc).abs() / self.scale - (2 * self.scale).log()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        z = (value - self.loc) / self.scale
        below = (-z.abs()).exp() / 2
        return below.where(z < 0, 1 - below)

    def icdf(self, value: Tensor) -> Tensor:
        tail = value.where(value < 0.5, 1 - value)
        return self.loc + self.scale * sign(value - 0.5) * -(2 * tail).log()

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()
