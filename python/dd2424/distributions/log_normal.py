"""The log-normal distribution."""

from __future__ import annotations

from dd2424 import Tensor
from dd2424.distributions import constraints
from dd2424.distributions.normal import Normal
from dd2424.distributions.transformed_distribution import TransformedDistribution
from dd2424.distributions.transforms import ExpTransform

__all__ = ["LogNormal"]


class LogNormal(TransformedDistribution):
    """exp(X) of a normal variable X with mean `loc` and standard deviation `scale`.

        p(y) = exp(-((log y - loc) / scale)^2 / 2) / (y scale sqrt(2 pi)), y > 0

    Shapes: loc and scale broadcast to the batch shape; draws are numbers.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    base_dist: Normal

    def __init__(self, loc: Tensor | float, scale: Tensor | float, validate_args: bool | None = None) -> None:
        super().__init__(Normal(loc, scale, validate_args=False), ExpTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        """The mean of the logarithm."""
        return self.base_dist.loc

    @property
    def scale(self) -> Tensor:
        """The standard deviation of the logarithm."""
        return self.base_dist.scale

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def mode(self) -> Tensor:
        return (self.loc - self.scale**2).exp()

    @property
    def variance(self) -> Tensor:
        square = self.scale**2
        return square.expm1() * (2 * self.loc + square).exp()

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() + self.loc
