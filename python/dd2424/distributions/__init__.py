"""Probability distributions: draws, densities, moments, entropies and divergences, under PyTorch's names."""

from dd2424._lazy import lazy_getattr
from dd2424.distributions import constraints, transforms
from dd2424.distributions.bernoulli import Bernoulli
from dd2424.distributions.beta import Beta
from dd2424.distributions.binomial import Binomial
from dd2424.distributions.categorical import Categorical
from dd2424.distributions.cauchy import Cauchy
from dd2424.distributions.chi2 import Chi2
from dd2424.distributions.dirichlet import Dirichlet
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.exponential import Exponential
from dd2424.distributions.gamma import Gamma
from dd2424.distributions.geometric import Geometric
from dd2424.distributions.gumbel import Gumbel
from dd2424.distributions.half_normal import HalfNormal
from dd2424.distributions.independent import Independent
from dd2424.distributions.kl import kl_divergence, register_kl
from dd2424.distributions.laplace import Laplace
from dd2424.distributions.log_normal import LogNormal
from dd2424.distributions.mixture_same_family import MixtureSameFamily
from dd2424.distributions.multinomial import Multinomial
from dd2424.distributions.multivariate_normal import MultivariateNormal
from dd2424.distributions.normal import Normal
from dd2424.distributions.one_hot_categorical import OneHotCategorical, OneHotCategoricalStraightThrough
from dd2424.distributions.poisson import Poisson
from dd2424.distributions.relaxed_bernoulli import LogitRelaxedBernoulli, RelaxedBernoulli
from dd2424.distributions.relaxed_categorical import ExpRelaxedCategorical, RelaxedOneHotCategorical
from dd2424.distributions.studentT import StudentT
from dd2424.distributions.transformed_distribution import TransformedDistribution
from dd2424.distributions.transforms import *
from dd2424.distributions.uniform import Uniform

__all__ = [
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "Dirichlet", "Distribution", "Exponential",
    "ExpRelaxedCategorical", "Gamma", "Geometric", "Gumbel", "HalfNormal", "Independent", "Laplace", "LogNormal",
    "LogitRelaxedBernoulli", "MixtureSameFamily", "Multinomial", "MultivariateNormal", "Normal", "OneHotCategorical",
    "OneHotCategoricalStraightThrough", "Poisson", "RelaxedBernoulli", "RelaxedOneHotCategorical", "StudentT",
    "TransformedDistribution", "Uniform", "constraints", "kl_divergence", "register_kl", "transforms",
    *transforms.__all__,
]  # fmt: skip
__getattr__ = lazy_getattr("dd2424.distributions")
