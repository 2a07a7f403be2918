"""The beta distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from dd2424 import Tensor, stack
from dd2424.distributions import constraints
from dd2424.distributions.dirichlet import Dirichlet
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import broadcast_all

__all__ = ["Beta"]
Self = TypeVar("Self", bound="Beta")


class Beta(Distribution):
    """A random probability: the first number of a Dirichlet distribution over two, with concentrations a and b.

        p(x) = x^(a-1) (1-x)^(b-1) Gamma(a + b) / (Gamma(a) Gamma(b))

    Shapes: concentration1 (a) and concentration0 (b) broadcast to the batch shape; draws are numbers.
    """

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Tensor | float, concentration0: Tensor | float, validate_args: bool | None = None
    ) -> None:
        a, b = broadcast_all(concentration1, concentration0)
        self._dirichlet = Dirichlet(stack([a, b], -1), validate_args=False)
        super().__init__(a.shape, validate_args=validate_args)

    @property
    def concentration1(self) -> Tensor:
        """a: the larger it is, the closer to 1."""
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> Tensor:
        """b: the larger it is, the closer to 0."""
        return self._dirichlet.concentration[..., 1]

    def expand(self: Self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        new = super().expand(batch_shape, _instance)
        new._dirichlet = self._dirichlet.expand(batch_shape)
        return new

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> Tensor:
        return self._dirichlet.variance[..., 0]

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return self._dirichlet.log_prob(stack([value, 1 - value], -1))

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()
