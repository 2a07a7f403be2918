"""The categorical distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import Size, Tensor, arange, broadcast_tensors, finfo, multinomial
from dd2424.distributions import constraints
from dd2424.distributions.constraints import Constraint
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import exactly_one, lazy_property, logits_to_probs, probs_to_logits, size

__all__ = ["Categorical"]


class Categorical(Distribution):
    """One of K classes, 0 ... K - 1, in proportion to `probs`, or to exp(logits).

        log P(k) = logits_k - log(sum of exp(logits))

    The attributes probs and logits are normalised: probs add up to 1, and logits are their logarithms.

    Shapes: probs or logits (*, K) gives batch shape (*); draws are integers (int64).
    Raises: ValueError unless one of probs and logits is given, with at least one dimension.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        name = exactly_one("Categorical", probs=probs, logits=logits)
        parameter = probs if probs is not None else logits
        if parameter is None or parameter.ndim < 1:
            raise ValueError(f"Categorical: {name} must have at least 1 dimension, got 0")
        self._num_events = parameter.shape[-1]
        if name == "probs":
            self.probs = parameter / parameter.sum(-1, keepdim=True)
        else:
            self.logits = parameter - parameter.logsumexp(-1, keepdim=True)
        super().__init__(parameter.shape[:-1], validate_args=validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """The probabilities of the classes."""
        return logits_to_probs(self.logits)

    @lazy_property
    def logits(self) -> Tensor:
        """The logarithms of the probabilities."""
        return probs_to_logits(self.probs)

    @property
    def param_shape(self) -> Size:
        """The shape of probs and logits."""
        return size(self.batch_shape, (self._num_events,))

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        return self._constant(math.nan, self.probs)

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return self._constant(math.nan, self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        count = size(sample_shape).numel()
        if count == 0 or self.batch_shape.numel() == 0:
            return arange(0, device=self.probs.device).reshape(self._extended_shape(sample_shape))
        drawn = multinomial(self.probs.detach().reshape((-1, self._num_events)), count, replacement=True)
        return drawn.T.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        index, logits = broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, index[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        finite = self.logits.clamp(min=finfo(self.logits.dtype).min)
        return -(self.probs * finite).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(arange(self._num_events, device=self.probs.device), expand)
