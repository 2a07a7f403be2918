"""The Kullback-Leibler divergence between two distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dd2424 import Tensor, digamma, lgamma, xlogy
from dd2424.distributions.bernoulli import Bernoulli
from dd2424.distributions.beta import Beta
from dd2424.distributions.binomial import Binomial
from dd2424.distributions.categorical import Categorical
from dd2424.distributions.cauchy import Cauchy
from dd2424.distributions.dirichlet import Dirichlet
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.exponential import Exponential
from dd2424.distributions.gamma import Gamma
from dd2424.distributions.geometric import Geometric
from dd2424.distributions.gumbel import Gumbel
from dd2424.distributions.half_normal import HalfNormal
from dd2424.distributions.independent import Independent
from dd2424.distributions.laplace import Laplace
from dd2424.distributions.multivariate_normal import MultivariateNormal, half_log_det, mahalanobis
from dd2424.distributions.normal import Normal
from dd2424.distributions.one_hot_categorical import OneHotCategorical
from dd2424.distributions.poisson import Poisson
from dd2424.distributions.transformed_distribution import TransformedDistribution
from dd2424.distributions.uniform import Uniform
from dd2424.distributions.utils import sum_rightmost
from dd2424.linalg import solve_triangular
from dd2424.nn.functional import softplus

__all__ = ["kl_divergence", "register_kl"]
Formula = Callable[[Any, Any], Tensor]
_FORMULAS: dict[tuple[type, type], Formula] = {}


def register_kl(type_p: type[Distribution], type_q: type[Distribution]) -> Callable[[Formula], Formula]:
    """Decorates the formula for KL(p, q) of two classes, and of their subclasses that have none of their own.

    Raises: TypeError for what is no class of distributions.
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"register_kl: {name} must be a subclass of Distribution, got {kind!r}")

    def register(formula: Formula) -> Formula:
        _FORMULAS[type_p, type_q] = formula
        return formula

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """How much p differs from q, in nats.

        KL(p, q) = E[log p(x) - log q(x)], x drawn from p

    Shapes: the batch shapes broadcast; so does the output.
    Raises: NotImplementedError for a pair without a formula.
    """
    for kind_p in type(p).__mro__:  # the nearest class of p that has a formula, then of q
        for kind_q in type(q).__mro__:
            formula = _FORMULAS.get((kind_p, kind_q))
            if formula is not None:
                return formula(p, q)
    raise NotImplementedError(
        f"kl_divergence: p and q must be a pair with a formula, got {type(p).__name__} and {type(q).__name__}"
    )


@register_kl(Normal, Normal)
def _normal_normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    return (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log()) / 2


@register_kl(HalfNormal, HalfNormal)
def _half_normal_half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    return (ratio - 1 - ratio.log()) / 2


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(f"kl_divergence: q must have event shape {tuple(p.event_shape)}, got {tuple(q.event_shape)}")
    shape = (p.scale_tril + 0 * q.scale_tril).shape
    spread = solve_triangular(q.scale_tril.expand(shape), p.scale_tril.expand(shape), upper=False)
    trace = (spread**2).sum((-2, -1))
    moved = mahalanobis(q.scale_tril, p.loc - q.loc)
    return half_log_det(q.scale_tril) - half_log_det(p.scale_tril) + (trace + moved - p.event_shape[0]) / 2


@register_kl(Bernoulli, Bernoulli)
def _bernoulli_bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    """p log(p / q) + (1 - p) log((1 - p) / (1 - q)), from the logits: -log q is softplus(-logit)."""
    ones = xlogy(p.probs, p.probs) + (p.probs * softplus(-q.logits)).masked_fill(p.probs == 0, 0.0)
    zeros = xlogy(1 - p.probs, 1 - p.probs) + ((1 - p.probs) * softplus(q.logits)).masked_fill(p.probs == 1, 0.0)
    impossible = ((q.probs == 0) & (p.probs > 0)) | ((q.probs == 1) & (p.probs < 1))
    return (ones + zeros).masked_fill(impossible, math.inf)


@register_kl(Binomial, Binomial)
def _binomial_binomial(p: Binomial, q: Binomial) -> Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("kl_divergence: total_count of p must be at least that of q, got less")
    trials = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return trials.masked_fill(p.total_count > q.total_count, math.inf)


@register_kl(Categorical, Categorical)
def _categorical_categorical(p: Categorical, q: Categorical) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    return terms.masked_fill((q.probs == 0) & (p.probs > 0), math.inf).masked_fill(p.probs == 0, 0.0).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical_categorical(p._categorical, q._categorical)


@register_kl(Poisson, Poisson)
def _poisson_poisson(p: Poisson, q: Poisson) -> Tensor:
    return xlogy(p.rate, p.rate) - xlogy(p.rate, q.rate) - (p.rate - q.rate)


@register_kl(Geometric, Geometric)
def _geometric_geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Exponential, Exponential)
def _exponential_exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Gamma, Gamma)
def _gamma_gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    return b * (p.rate / q.rate).log() + lgamma(b) - lgamma(a) + (a - b) * digamma(a) + a * (q.rate / p.rate - 1)


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Exponential, q: Gamma) -> Tensor:
    return _gamma_gamma(Gamma(p.rate * 0 + 1, p.rate), q)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Gamma, q: Exponential) -> Tensor:
    return _gamma_gamma(p, Gamma(q.rate * 0 + 1, q.rate))


@register_kl(Dirichlet, Dirichlet)
def _dirichlet_dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    logs = digamma(a) - digamma(total).unsqueeze(-1)
    return lgamma(total) - lgamma(b.sum(-1)) + (lgamma(b) - lgamma(a)).sum(-1) + ((a - b) * logs).sum(-1)


@register_kl(Beta, Beta)
def _beta_beta(p: Beta, q: Beta) -> Tensor:
    return _dirichlet_dirichlet(p._dirichlet, q._dirichlet)


@register_kl(Beta, Uniform)
def _beta_uniform(p: Beta, q: Uniform) -> Tensor:
    return (q.entropy() - p.entropy()).masked_fill((q.low > 0) | (q.high < 1), math.inf)


@register_kl(Laplace, Laplace)
def _laplace_laplace(p: Laplace, q: Laplace) -> Tensor:
    """log(s_q / s_p) + (|d| + s_p exp(-|d| / s_p)) / s_q - 1, d = loc_p - loc_q."""
    distance = (p.loc - q.loc).abs()
    return (q.scale / p.scale).log() + (distance + p.scale * (-distance / p.scale).exp()) / q.scale - 1


@register_kl(Gumbel, Gumbel)
def _gumbel_gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    """With r = s_p / s_q and d = (loc_p - loc_q) / s_q: -log r + gamma (r - 1) + exp(-d + lgamma(1 + r)) - 1 + d."""
    ratio, moved = p.scale / q.scale, (p.loc - q.loc) / q.scale
    return -ratio.log() + np.euler_gamma * (ratio - 1) + (lgamma(1 + ratio) - moved).exp() - 1 + moved


@register_kl(Cauchy, Cauchy)
def _cauchy_cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    """Chyzak and Nielsen, "A Closed-Form Formula for the KL Divergence between Cauchy Distributions" (2019)."""
    return ((p.scale + q.scale) ** 2 + (p.loc - q.loc) ** 2).log() - (4 * p.scale * q.scale).log()


@register_kl(Uniform, Uniform)
def _uniform_uniform(p: Uniform, q: Uniform) -> Tensor:
    return (q.entropy() - p.entropy()).masked_fill((q.low > p.low) | (q.high < p.high), math.inf)


@register_kl(Uniform, Normal)
@register_kl(Laplace, Normal)
@register_kl(Exponential, Normal)
@register_kl(Gamma, Normal)
def _any_normal(p: Distribution, q: Normal) -> Tensor:
    """-H(p) - E[log q]: the logarithm of a normal density is a square, and E[(x - m)^2] = Var[x] + (E[x] - m)^2."""
    squares = (p.variance + (p.mean - q.loc) ** 2) / q.variance
    return squares / 2 + q.scale.log() + math.log(2 * math.pi) / 2 - p.entropy()


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed_transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("kl_divergence: p and q must have the same transforms and event shape, got others")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), len(p.event_shape) - len(p.base_dist.event_shape))


@register_kl(Independent, Independent)
def _independent_independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("kl_divergence: reinterpreted_batch_ndims of p and q must be equal, got others")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)
