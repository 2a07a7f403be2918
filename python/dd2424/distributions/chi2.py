"""The chi-squared distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from dd2424 import Tensor
from dd2424.distributions import constraints
from dd2424.distributions.gamma import Gamma
from dd2424.distributions.utils import broadcast_all

__all__ = ["Chi2"]
Self = TypeVar("Self", bound="Chi2")


class Chi2(Gamma):
    """The sum of the squares of `df` standard normal variables: Gamma(df / 2, 1 / 2).

    Shapes: df has the batch shape; draws are numbers.
    """

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Tensor | float, validate_args: bool | None = None) -> None:
        (df,) = broadcast_all(df)
        super().__init__(df / 2, 0.5, validate_args)

    def expand(self: Self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        new = super().expand(batch_shape, _instance)
        new.concentration, new.rate = self.concentration.expand(batch_shape), self.rate.expand(batch_shape)
        return new

    @property
    def df(self) -> Tensor:
        """The degrees of freedom."""
        return self.concentration * 2
