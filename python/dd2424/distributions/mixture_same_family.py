"""Mixtures of distributions of one family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from dd2424 import Tensor, no_grad
from dd2424.distributions import constraints
from dd2424.distributions.categorical import Categorical
from dd2424.distributions.constraints import Constraint
from dd2424.distributions.distribution import Distribution

__all__ = ["MixtureSameFamily"]
Self = TypeVar("Self", bound="MixtureSameFamily")


class _ForEach(Constraint):
    """A value is in the support of every component."""

    def __init__(self, base: Constraint) -> None:
        self.base, self.event_dim, self.is_discrete, self.text = base, base.event_dim, base.is_discrete, base.text

    def check(self, value: Tensor) -> Tensor:
        return self.base.check(value.unsqueeze(-1 - self.event_dim)).all(-1)


class MixtureSameFamily(Distribution):
    """One of K components, drawn by `mixture_distribution`, and then a draw from that component.

        p(x) = sum over k of P(k) p_k(x)

    The components are the last batch dimension of `component_distribution`.

    Shapes: mixture batch shape (*), K classes; component batch shape (*, K), event shape (e); batch (*), event (e).
    Raises: ValueError for other types and for batch shapes that do not match.
    """

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            given = type(mixture_distribution).__name__
            raise ValueError(f"MixtureSameFamily: mixture_distribution must be a Categorical, got {given}")
        if not isinstance(component_distribution, Distribution):
            given = type(component_distribution).__name__
            raise ValueError(f"MixtureSameFamily: component_distribution must be a Distribution, got {given}")
        batch, classes = component_distribution.batch_shape, mixture_distribution.param_shape[-1]
        mixtures = tuple(mixture_distribution.batch_shape)
        if len(batch) < 1 or batch[-1] != classes or mixtures not in (tuple(batch[:-1]), ()):
            expected = (*mixtures, classes)
            raise ValueError(
                f"MixtureSameFamily: component_distribution must have batch shape {expected}, got {tuple(batch)}"
            )
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        super().__init__(batch[:-1], component_distribution.event_shape, validate_args)

    def expand(self: Self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        new = super().expand(batch_shape, _instance)
        classes = self.mixture_distribution.param_shape[-1]
        new._component_distribution = self.component_distribution.expand((*batch_shape, classes))
        new._mixture_distribution = self.mixture_distribution.expand(batch_shape)
        return new

    @property
    def mixture_distribution(self) -> Categorical:
        """Which component."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The components."""
        return self._component_distribution

    @constraints.dependent_property
    def support(self) -> Constraint:
        return _ForEach(self.component_distribution.support)

    def _weights(self) -> Tensor:
        """P(k), shaped to multiply the components' values: (*, K, 1 ... 1)."""
        probs = self.mixture_distribution.probs
        return probs.reshape((*probs.shape, *(1 for _ in self.event_shape)))

    def _average(self, values: Tensor) -> Tensor:
        return (self._weights() * values).sum(-1 - len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        return self._average(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        """The mean of the variances and the variance of the means."""
        between = self.component_distribution.mean - self.mean.unsqueeze(-1 - len(self.event_shape))
        return self._average(self.component_distribution.variance + between**2)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            dim = len(sample_shape) + len(self.batch_shape)
            every = self.component_distribution.sample(sample_shape)
            chosen = self.mixture_distribution.expand(self.batch_shape).sample(sample_shape)
            index = chosen.reshape((*chosen.shape, 1, *(1 for _ in self.event_shape)))
            index = index.expand((*every.shape[:dim], 1, *every.shape[dim + 1 :]))
            return every.gather(dim, index).squeeze(dim)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        log_probs = self.component_distribution.log_prob(value.unsqueeze(-1 - len(self.event_shape)))
        return (log_probs + self.mixture_distribution.logits).logsumexp(-1)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        shares = self.component_distribution.cdf(value.unsqueeze(-1 - len(self.event_shape)))
        return (shares * self.mixture_distribution.probs).sum(-1)

    def __repr__(self) -> str:
        return f"MixtureSameFamily({self.mixture_distribution}, {self.component_distribution})"
