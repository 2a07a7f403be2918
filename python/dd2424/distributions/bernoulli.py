"""The Bernoulli distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import Size, Tensor, arange, bernoulli
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import broadcast_all, exactly_one, lazy_property, logits_to_probs, probs_to_logits
from dd2424.nn.functional import softplus

__all__ = ["Bernoulli"]


class Bernoulli(Distribution):
    """1 with probability `probs`, else 0; `logits` are log(probs / (1 - probs)).

        log P(x) = x logits - log(1 + exp(logits))

    Shapes: probs or logits has the batch shape; draws are numbers.
    Raises: ValueError unless one of probs and logits is given.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean
    has_enumerate_support = True

    def __init__(
        self,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name = exactly_one("Bernoulli", probs=probs, logits=logits)
        (parameter,) = broadcast_all(probs if logits is None else logits)
        setattr(self, name, parameter)
        super().__init__(parameter.shape, validate_args=validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability of 1."""
        return logits_to_probs(self.logits, is_binary=True)

    @lazy_property
    def logits(self) -> Tensor:
        """log(probs / (1 - probs))."""
        return probs_to_logits(self.probs, is_binary=True)

    @property
    def param_shape(self) -> Size:
        """The shape of probs and logits."""
        return self.batch_shape

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        likelier = (self.probs >= 0.5).to(self.probs.dtype)
        return likelier.masked_fill(self.probs == 0.5, math.nan)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return bernoulli(self.probs.detach().expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        return value * self.logits - softplus(self.logits)

    def entropy(self) -> Tensor:
        return softplus(self.logits) - self.probs * self.logits

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(arange(2, dtype=self.probs.dtype, device=self.probs.device), expand)
