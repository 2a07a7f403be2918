"""Bernoulli variables made continuous, so that draws have gradients."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import Size, Tensor
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.transformed_distribution import TransformedDistribution
from dd2424.distributions.transforms import SigmoidTransform
from dd2424.distributions.utils import (
    broadcast_all,
    clamp_probs,
    exactly_one,
    lazy_property,
    logits_to_probs,
    open_uniform,
    probs_to_logits,
)
from dd2424.nn.functional import softplus

__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]


class LogitRelaxedBernoulli(Distribution):
    """(logits + L) / temperature, L logistic: the logit of a `RelaxedBernoulli` variable.

    Shapes: probs or logits has the batch shape; temperature broadcasts with it.
    Raises: ValueError unless one of probs and logits is given.
    Source: Maddison et al., "The Concrete Distribution", arXiv:1611.00712, appendix B.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        temperature: Tensor | float,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name = exactly_one("LogitRelaxedBernoulli", probs=probs, logits=logits)
        (parameter,) = broadcast_all(probs if logits is None else logits)
        (self.temperature,) = broadcast_all(temperature)
        setattr(self, name, parameter)
        super().__init__(parameter.shape, validate_args=validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability that a draw is above 0."""
        return logits_to_probs(self.logits, is_binary=True)

    @lazy_property
    def logits(self) -> Tensor:
        """log(probs / (1 - probs))."""
        return probs_to_logits(self.probs, is_binary=True)

    @property
    def param_shape(self) -> Size:
        """The shape of probs and logits."""
        return self.batch_shape

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        u = clamp_probs(open_uniform(self._extended_shape(sample_shape), self.logits))
        return (probs_to_logits(u, is_binary=True) + self.logits) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        difference = self.logits - value * self.temperature
        return self.temperature.log() + difference - 2 * softplus(difference)


class RelaxedBernoulli(TransformedDistribution):
    """Numbers between 0 and 1 that go to 0 and 1 as the temperature goes to 0, with probability `probs` for 1.

    Shapes: probs or logits has the batch shape; temperature broadcasts with it.
    Raises: ValueError unless one of probs and logits is given.
    Source: Maddison et al., "The Concrete Distribution", arXiv:1611.00712; Jang, Gu and Poole, arXiv:1611.01144.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    base_dist: LogitRelaxedBernoulli

    def __init__(
        self,
        temperature: Tensor | float,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        exactly_one("RelaxedBernoulli", probs=probs, logits=logits)
        base = LogitRelaxedBernoulli(temperature, probs, logits, validate_args=False)
        super().__init__(base, SigmoidTransform(), validate_args)

    @property
    def temperature(self) -> Tensor:
        """How far from 0 and 1 draws are."""
        return self.base_dist.temperature

    @property
    def probs(self) -> Tensor:
        """The probability that a draw is above 1 / 2."""
        return self.base_dist.probs

    @property
    def logits(self) -> Tensor:
        """log(probs / (1 - probs))."""
        return self.base_dist.logits
