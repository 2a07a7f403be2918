"""The multinomial distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from dd2424 import Size, Tensor, lgamma
from dd2424.distributions import constraints
from dd2424.distributions.binomial import Binomial
from dd2424.distributions.categorical import Categorical
from dd2424.distributions.constraints import Constraint
from dd2424.distributions.distribution import Distribution
from dd2424.nn.functional import one_hot

__all__ = ["Multinomial"]
Self = TypeVar("Self", bound="Multinomial")


class Multinomial(Distribution):
    """How often each of K classes comes up in n = `total_count` draws from a `Categorical`.

        P(x) = n! / (product of x_k!) product of p_k^x_k

    Shapes: probs or logits (*, K) gives batch shape (*) and event shape (K,); total_count is one integer.
    Raises: NotImplementedError unless total_count is an int; ValueError unless one of probs and logits is given.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            given = type(total_count).__name__
            raise NotImplementedError(f"Multinomial: total_count must be one int, got {given}")
        self.total_count = total_count
        self._categorical = Categorical(probs, logits, validate_args)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args=False)
        self._validate_args = self._categorical._validate_args

    def expand(self: Self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        new = super().expand(batch_shape, _instance)
        new._categorical = self._categorical.expand(batch_shape)
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Constraint:
        return constraints.multinomial(self.total_count)

    @property
    def probs(self) -> Tensor:
        """The probabilities of the classes."""
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        """The logarithms of the probabilities."""
        return self._categorical.logits

    @property
    def param_shape(self) -> Size:
        """The shape of probs and logits."""
        return self._categorical.param_shape

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        drawn = self._categorical.sample((self.total_count, *sample_shape))
        return one_hot(drawn, self._categorical._num_events).sum(0).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        impossible = (value == 0) & (self.logits == -math.inf)
        logits = self.logits.expand(impossible.shape).masked_fill(impossible, 0.0)
        log_ways = lgamma(value.sum(-1) + 1) - lgamma(value + 1).sum(-1)
        return log_ways + (value * logits).sum(-1)

    def entropy(self) -> Tensor:
        n = self.total_count  # n H(p) - log n! + the sum over classes of E[log x_k!], each x_k being binomial
        log_ways = lgamma(self.probs.new_tensor(n + 1.0))
        counts = Binomial(n, self.probs, validate_args=False)
        values = counts.enumerate_support(expand=False)
        expected = (counts.log_prob(values).exp() * lgamma(values + 1)).sum((0, -1))
        return n * self._categorical.entropy() - log_ways + expected
