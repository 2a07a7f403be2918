"""The Dirichlet distribution."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import Tensor, digamma, lgamma, softmax, xlogy
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.draws import standard_gamma
from dd2424.nn.functional import one_hot

__all__ = ["Dirichlet"]


class Dirichlet(Distribution):
    """Random probabilities of K classes, with concentrations a.

        p(x) = product of x_k^(a_k - 1) Gamma(sum of a) / product of Gamma(a_k)

    A draw is K gamma variables over their sum, taken by their logarithms, which do not vanish for small a; its gradient
    is theirs.

    Shapes: concentration (*, K) gives batch shape (*) and event shape (K,).
    Raises: ValueError for a concentration without dimensions.
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("Dirichlet: concentration must have at least 1 dimension, got 0")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Tensor:
        a = self.concentration
        above = (a - 1).clamp(min=0)
        corner = one_hot(a.argmax(-1), a.shape[-1]).to(a.dtype)
        return corner.where((a < 1).all(-1, keepdim=True), above / above.sum(-1, keepdim=True))

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, keepdim=True)
        return self.mean * (1 - self.mean) / (total + 1)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        wide = self.concentration.expand(self._extended_shape(sample_shape))
        return softmax(standard_gamma(wide, logarithm=True), -1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        a = self.concentration
        return xlogy(a - 1, value).sum(-1) + lgamma(a.sum(-1)) - lgamma(a).sum(-1)

    def entropy(self) -> Tensor:
        a = self.concentration
        total = a.sum(-1)
        log_beta = lgamma(a).sum(-1) - lgamma(total)
        return log_beta + (total - a.shape[-1]) * digamma(total) - ((a - 1) * digamma(a)).sum(-1)
