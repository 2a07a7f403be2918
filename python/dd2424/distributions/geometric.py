"""The geometric distribution."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import Tensor, no_grad, zeros_like
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import (
    broadcast_all,
    exactly_one,
    lazy_property,
    logits_to_probs,
    open_uniform,
    probs_to_logits,
)
from dd2424.nn.functional import softplus

__all__ = ["Geometric"]


class Geometric(Distribution):
    """How many trials fail before the first that succeeds, which each does with probability p = `probs`.

        P(k) = (1 - p)^k p, k = 0, 1, ...

    Shapes: probs or logits has the batch shape; draws are numbers.
    Raises: ValueError unless one of probs and logits is given, and for a probability of 0.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(
        self,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name = exactly_one("Geometric", probs=probs, logits=logits)
        (parameter,) = broadcast_all(probs if logits is None else logits)
        setattr(self, name, parameter)
        super().__init__(parameter.shape, validate_args=validate_args)
        if self._validate_args and probs is not None:
            self._check("probs", parameter, constraints.positive)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability of success."""
        return logits_to_probs(self.logits, is_binary=True)

    @lazy_property
    def logits(self) -> Tensor:
        """log(probs / (1 - probs))."""
        return probs_to_logits(self.probs, is_binary=True)

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            waits = open_uniform(self._extended_shape(sample_shape), self.probs).log()
            return (waits / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        log_failure = (-self.probs).log1p()
        failures = (value * log_failure).masked_fill(value == 0, 0.0)  # also where failure is impossible
        return failures + self.probs.log()

    def entropy(self) -> Tensor:
        return (softplus(self.logits) - self.probs * self.logits) / self.probs
