"""Student's t distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import Tensor, digamma, lgamma
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.draws import standard_gamma
from dd2424.distributions.utils import broadcast_all, standard_normal

__all__ = ["StudentT"]


class StudentT(Distribution):
    """A normal variable over the root of Chi2(df) / df, stretched by `scale` and moved by `loc`.

        p(x) = Gamma((df + 1) / 2) / (Gamma(df / 2) sqrt(pi df) scale) (1 + z^2 / df)^(-(df + 1) / 2),
        z = (x - loc) / scale

    Shapes: df, loc and scale broadcast to the batch shape; draws are numbers.
    """

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        df: Tensor | float,
        loc: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc.masked_fill(self.df <= 1, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        finite = self.scale**2 * self.df / (self.df - 2)
        return finite.masked_fill(self.df <= 2, math.inf).masked_fill(self.df <= 1, math.nan)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        log_chi2 = standard_gamma((self.df / 2).expand(shape), logarithm=True) + math.log(2)
        return self.loc + self.scale * standard_normal(shape, self.df) * ((self.df.log() - log_chi2) / 2).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        z = (value - self.loc) / self.scale
        half = (self.df + 1) / 2
        log_norm = self.scale.log() + (math.pi * self.df).log() / 2 + lgamma(self.df / 2) - lgamma(half)
        return -half * (z * z / self.df).log1p() - log_norm

    def entropy(self) -> Tensor:
        half, df = (self.df + 1) / 2, self.df
        log_beta = lgamma(df / 2) + math.log(math.pi) / 2 - lgamma(half)
        return self.scale.log() + half * (digamma(half) - digamma(df / 2)) + df.log() / 2 + log_beta
