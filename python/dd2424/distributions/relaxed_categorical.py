"""One-hot vectors made continuous, so that draws have gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from dd2424 import Size, Tensor
from dd2424.distributions import constraints
from dd2424.distributions.categorical import Categorical
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.transformed_distribution import TransformedDistribution
from dd2424.distributions.transforms import ExpTransform
from dd2424.distributions.utils import broadcast_all, clamp_probs, exactly_one, open_uniform

__all__ = ["ExpRelaxedCategorical", "RelaxedOneHotCategorical"]
Self = TypeVar("Self", bound="ExpRelaxedCategorical")


class ExpRelaxedCategorical(Distribution):
    """log softmax((logits + G) / temperature), G from Gumbel: the logarithm of a `RelaxedOneHotCategorical` vector.

    Shapes: probs or logits (*, K) gives batch shape (*) and event shape (K,); temperature is one number.
    Raises: ValueError unless one of probs and logits is given, with at least one dimension.
    Source: Maddison et al., "The Concrete Distribution", arXiv:1611.00712, appendix C.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        temperature: Tensor | float,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._categorical = Categorical(probs, logits, validate_args)
        (self.temperature,) = broadcast_all(temperature)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args=False)
        self._validate_args = self._categorical._validate_args

    def expand(self: Self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        new = super().expand(batch_shape, _instance)
        new._categorical = self._categorical.expand(batch_shape)
        return new

    @property
    def probs(self) -> Tensor:
        """The probabilities of the classes."""
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        """Their logarithms."""
        return self._categorical.logits

    @property
    def param_shape(self) -> Size:
        """The shape of probs and logits."""
        return self._categorical.param_shape

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        u = clamp_probs(open_uniform(self._extended_shape(sample_shape), self.logits))
        scores = (self.logits - (-u.log()).log()) / self.temperature
        return scores - scores.logsumexp(-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        others = self._event_shape[-1] - 1
        score = self.logits - value * self.temperature
        normalised = (score - score.logsumexp(-1, keepdim=True)).sum(-1)
        return normalised + math.lgamma(others + 1) + others * self.temperature.log()


class RelaxedOneHotCategorical(TransformedDistribution):
    """Probability vectors that go to one-hot vectors as the temperature goes to 0.

    Shapes: probs or logits (*, K) gives batch shape (*) and event shape (K,); temperature is one number.
    Raises: ValueError unless one of probs and logits is given, with at least one dimension.
    Source: Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", arXiv:1611.01144.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex
    base_dist: ExpRelaxedCategorical

    def __init__(
        self,
        temperature: Tensor | float,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        exactly_one("RelaxedOneHotCategorical", probs=probs, logits=logits)
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=False)
        super().__init__(base, ExpTransform(), validate_args)

    @property
    def temperature(self) -> Tensor:
        """How far from one-hot draws are."""
        return self.base_dist.temperature

    @property
    def probs(self) -> Tensor:
        """The probabilities of the classes."""
        return self.base_dist.probs

    @property
    def logits(self) -> Tensor:
        """Their logarithms."""
        return self.base_dist.logits
