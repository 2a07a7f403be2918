"""Distributions: densities that add up to one, moments of draws, gradients, divergences, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import Tensor, distributions as D
from dd2424.autograd import gradcheck


def t(*values: Any) -> Tensor:
    return dd2424.tensor(values, dtype=dd2424.float64)


# fmt: off
# Distributions over numbers, each with ends beyond which there is nothing to see.
CONTINUOUS: dict[str, tuple[Callable[[], D.Distribution], float, float]] = {
    "Normal": (lambda: D.Normal(t(0.5), t(0.7)), -9.0, 10.0),
    "LogNormal": (lambda: D.LogNormal(t(0.1), t(0.5)), 1e-9, 60.0),
    "HalfNormal": (lambda: D.HalfNormal(t(0.7)), 0.0, 9.0),
    "Laplace": (lambda: D.Laplace(t(0.5), t(0.3)), -15.0, 16.0),
    "Gumbel": (lambda: D.Gumbel(t(0.5), t(0.3)), -2.0, 14.0),
    "Uniform": (lambda: D.Uniform(t(-1.0), t(2.0)), -1.0, 2.0 - 1e-12),
    "Exponential": (lambda: D.Exponential(t(1.5)), 0.0, 30.0),
    "Gamma": (lambda: D.Gamma(t(3.5), t(2.0)), 0.0, 40.0),
    "Chi2": (lambda: D.Chi2(t(7.0)), 0.0, 120.0),
    "StudentT": (lambda: D.StudentT(t(12.0), t(0.5), t(0.7)), -200.0, 200.0),
    "Beta": (lambda: D.Beta(t(2.5), t(3.5)), 0.0, 1.0),
    "MixtureSameFamily": (lambda: D.MixtureSameFamily(D.Categorical(t(0.3, 0.7)), D.Normal(t(-1.0, 2.0), t(0.5, 1.0))),
                          -12.0, 13.0),
}
DISCRETE: dict[str, tuple[Callable[[], D.Distribution], int]] = {  # with the last value that counts
    "Bernoulli": (lambda: D.Bernoulli(t(0.3)), 1),
    "Binomial": (lambda: D.Binomial(7, t(0.3)), 7),
    "a large Binomial": (lambda: D.Binomial(90, t(0.8)), 90),
    "Geometric": (lambda: D.Geometric(t(0.3)), 150),
    "Poisson": (lambda: D.Poisson(t(2.5)), 60),
    "a large Poisson": (lambda: D.Poisson(t(40.5)), 200),
}
# fmt: on
EVERY = {**{k: v[0] for k, v in CONTINUOUS.items()}, **{k: v[0] for k, v in DISCRETE.items()}}


def quadrature(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Points, dense at both ends, and the weights of the tanh-sinh rule."""
    x = np.linspace(-3.4, 3.4, 2001)
    inner = np.tanh(np.pi / 2 * np.sinh(x))
    weights = np.pi / 2 * np.cosh(x) / np.cosh(np.pi / 2 * np.sinh(x)) ** 2 * (x[1] - x[0])
    middle, half = (high + low) / 2, (high - low) / 2
    return np.clip(middle + half * inner, low + 1e-13, high - 1e-13), weights * half


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_density_adds_up(name: str) -> None:
    """To one, to the mean, to the variance and to the entropy: four integrals."""
    make, low, high = CONTINUOUS[name]
    p = make()
    mean = float(p.mean.reshape(()).item())
    pieces = (quadrature(low, mean), quadrature(mean, high))  # a density may have a kink at its mean
    points, weights = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    log_density = p.log_prob(dd2424.from_numpy(points).unsqueeze(-1)).reshape(-1).numpy()
    mass = np.exp(log_density) * weights
    answers = [(mass.sum(), 1.0), ((mass * points).sum(), mean)]
    answers += [((mass * (points - mean) ** 2).sum(), float(p.variance.reshape(()).item()))]
    if name != "MixtureSameFamily":
        answers += [(-(mass * log_density).sum(), float(p.entropy().item()))]
    for found, stated in answers:
        assert abs(found - stated) < 1e-8 * max(1, abs(stated))


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities_add_up(name: str) -> None:
    make, last = DISCRETE[name]
    p = make()
    values = dd2424.arange(last + 1, dtype=dd2424.float64)
    mass = np.exp(p.log_prob(values.unsqueeze(-1)).numpy()[:, 0])
    mean = float(p.mean.item())
    assert abs(mass.sum() - 1) < 1e-12
    assert abs((mass * values.numpy()).sum() - mean) < 1e-10
    assert abs((mass * (values.numpy() - mean) ** 2).sum() - float(p.variance.item())) < 1e-8
    assert mass.argmax() == int(p.mode.item())
    if "Poisson" not in name:
        terms = mass * np.log(np.maximum(mass, 1e-300))
        assert abs(terms.sum() + float(p.entropy().item())) < 1e-10


def test_probabilities_of_counts_add_up() -> None:
    p = D.Multinomial(4, t(0.2, 0.3, 0.5))
    counts = [(a, b, 4 - a - b) for a in range(5) for b in range(5 - a)]
    log_mass = p.log_prob(dd2424.tensor(counts, dtype=dd2424.float64)).numpy()
    assert_accurate(np.exp(log_mass).sum(), 1.0, 8)
    assert_accurate(p.entropy(), -(np.exp(log_mass) * log_mass).sum(), 16)


WITH_CDF = [name for name in CONTINUOUS if name not in ("StudentT", "Beta")]


@pytest.mark.parametrize("name", WITH_CDF)
def test_the_density_is_the_slope_of_the_cdf(name: str) -> None:
    p = CONTINUOUS[name][0]()
    x = t(0.31, 0.77, 1.3).requires_grad_()
    (slope,) = dd2424.autograd.grad(p.cdf(x).sum(), x)
    assert_accurate(slope, p.log_prob(x.detach()).exp().numpy(), 1e4, scale=1.0)
    if name not in ("Gamma", "Chi2", "MixtureSameFamily"):
        shares = t(0.03, 0.4, 0.6, 0.99)
        assert_accurate(p.cdf(p.icdf(shares)), shares.numpy(), 64)


@pytest.mark.parametrize("name", EVERY)
def test_draws_have_the_moments(name: str) -> None:
    """Within 5 standard errors of the mean and the variance; a seed repeats the draws, on any number of threads."""
    count = 20_000
    p = EVERY[name]()
    drawn = same_for_any_threads(lambda: p.sample((count,))).reshape(-1).numpy()
    mean, variance = float(p.mean.reshape(()).item()), float(p.variance.reshape(()).item())
    assert drawn.size == count
    assert abs(drawn.mean() - mean) < 5 * math.sqrt(variance / count)
    squares = (drawn - mean) ** 2
    assert abs(squares.mean() - variance) < 5 * squares.std() / math.sqrt(count)


def test_draws_of_vectors_have_the_moments() -> None:
    covariance = dd2424.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=dd2424.float64)
    probs = t(0.2, 0.3, 0.5)
    cases: list[D.Distribution] = [
        D.MultivariateNormal(t(1.0, -1.0), covariance), D.Dirichlet(t(0.3, 1.0, 2.5)), D.Multinomial(5, probs),
        D.OneHotCategorical(probs), D.Independent(D.Normal(t(0.0, 1.0), t(1.0, 2.0)), 1),
    ]  # fmt: skip
    for p in cases:
        drawn = p.sample((20_000,)).numpy()
        error = np.sqrt(p.variance.numpy() / 20_000)
        assert (np.abs(drawn.mean(0) - p.mean.numpy()) < 5 * error).all()
        squares = (drawn - p.mean.numpy()) ** 2
        assert (np.abs(squares.mean(0) - p.variance.numpy()) < 5 * squares.std(0) / math.sqrt(20_000) + 1e-12).all()
    drawn = cases[0].sample((20_000,)).numpy()
    assert abs(np.cov(drawn.T)[0, 1] - 0.6) < 5 * math.sqrt((2.0 * 1.0 + 0.36) / 20_000)


REPARAMETRISED: dict[str, tuple[Callable[..., D.Distribution], list[Any]]] = {
    "Normal": (D.Normal, [t(0.5, 1.0), t(0.7, 2.0)]),
    "LogNormal": (D.LogNormal, [t(0.5, 1.0), t(0.7, 0.2)]),
    "HalfNormal": (D.HalfNormal, [t(0.7, 2.0)]),
    "Laplace": (D.Laplace, [t(0.5, 1.0), t(0.7, 2.0)]),
    "Cauchy": (D.Cauchy, [t(0.5, 1.0), t(0.7, 2.0)]),
    "Gumbel": (D.Gumbel, [t(0.5, 1.0), t(0.7, 2.0)]),
    "Uniform": (D.Uniform, [t(0.5, 1.0), t(0.7, 2.0)]),
    "Exponential": (D.Exponential, [t(0.7, 2.0)]),
    "MultivariateNormal": (lambda m, a: D.MultivariateNormal(m, scale_tril=a.tril()),
                           [t(0.5, 1.0), t([1.5, 0.0], [0.3, 0.8])]),
    "RelaxedBernoulli": (D.RelaxedBernoulli, [t(0.5), t(0.3, 0.6)]),
    "RelaxedOneHotCategorical": (lambda temperature, a: D.RelaxedOneHotCategorical(temperature, logits=a),
                                 [t(0.5), t(0.3, 0.6, 0.1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", REPARAMETRISED)
def test_gradients_of_draws_and_densities(name: str) -> None:
    """By finite differences at one seed: of a draw in the parameters, of its density in both."""
    make, parameters = REPARAMETRISED[name]

    def draw(*given: Tensor) -> Tensor:
        dd2424.manual_seed(3)
        return make(*given).rsample((2,))

    leaves = [p.clone().requires_grad_() for p in parameters]
    assert gradcheck(draw, leaves)
    value = draw(*parameters)
    assert gradcheck(lambda *given: make(*given).log_prob(value), leaves)


DENSITIES: dict[str, tuple[Callable[..., D.Distribution], list[Any], Any]] = {
    "Gamma": (D.Gamma, [t(0.7, 4.0), t(1.5, 2.0)], t(0.3, 2.0)),
    "Chi2": (D.Chi2, [t(0.7, 4.0)], t(0.3, 2.0)),
    "StudentT": (D.StudentT, [t(3.7, 4.0), t(1.0, 2.0), t(1.0, 3.0)], t(0.3, 2.0)),
    "Beta": (D.Beta, [t(0.7, 4.0), t(1.5, 2.0)], t(0.3, 0.8)),
    "Dirichlet": (D.Dirichlet, [t(0.7, 4.0, 1.5)], t(0.3, 0.5, 0.2)),
    "Bernoulli": (D.Bernoulli, [t(0.3, 0.8)], t(1.0, 0.0)),
    "Geometric": (D.Geometric, [t(0.3, 0.8)], t(1.0, 0.0)),
    "Poisson": (D.Poisson, [t(0.3, 8.0)], t(1.0, 5.0)),
    "Categorical": (lambda x: D.Categorical(logits=x), [t(0.3, 8.0, 4.0)], dd2424.tensor(1)),
    "Multinomial": (lambda x: D.Multinomial(3, logits=x), [t(0.3, 1.0, 4.0)], t(1.0, 2.0, 0.0)),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_gradients_of_densities_and_entropies(name: str) -> None:
    make, parameters, value = DENSITIES[name]
    leaves = [p.clone().requires_grad_() for p in parameters]
    assert gradcheck(lambda *given: make(*given).log_prob(value), leaves)
    if name != "Poisson":
        assert gradcheck(lambda *given: make(*given).entropy(), leaves)


def test_the_gradient_of_gamma_draws_keeps_their_probability() -> None:
    """d/da P(a, z(a)) = 0 where z(a) is the draw: the slope is -(dP/da) / p(z), P's by finite differences."""
    a = t(0.05, 0.5, 1.0, 3.0, 30.0, 300.0).expand(20, 6).clone().requires_grad_()
    z = D.Gamma(a, 1.0).rsample()
    (slope,) = dd2424.autograd.grad(z.sum(), a)
    with dd2424.no_grad():
        step = 1e-4 * a
        change = (D.Gamma(a + step, 1.0).cdf(z) - D.Gamma(a - step, 1.0).cdf(z)) / (2 * step)
        expected = -change / D.Gamma(a, 1.0).log_prob(z).exp()
    assert_accurate(slope, expected.numpy(), 1e-5 / 2**-52, scale=1e-3)


def test_the_gradient_of_the_gamma_cdf() -> None:
    a, z = t(0.3, 2.0, 9.0, 5.0).requires_grad_(), t(0.7, 1.5, 14.0, 5.0).requires_grad_()
    assert gradcheck(lambda a, z: D.Gamma(a, 2.0).cdf(z), (a, z))
    ends = D.Gamma(t(0.3, 2.0), 1.0).cdf(t(0.0, math.inf))
    np.testing.assert_array_equal(ends.numpy(), [0.0, 1.0])
    whole = D.Gamma(t(1.0, 2.0), 1.0).cdf(t(1.5, 1.5))  # 1 - e^-z and 1 - (1 + z) e^-z
    assert_accurate(whole, [1 - math.exp(-1.5), 1 - 2.5 * math.exp(-1.5)], 64)


@pytest.mark.parametrize("name", ["Beta", "Dirichlet"])
def test_gradients_of_draws_on_a_simplex_are_right_on_average(name: str) -> None:
    """The mean gradient of x^2 is the gradient of E[x^2], within 5 standard errors."""
    count = 20_000
    a = t(0.8, 2.5).expand(count, 2).clone().requires_grad_()
    drawn = D.Beta(a[:, 0], a[:, 1]).rsample() if name == "Beta" else D.Dirichlet(a).rsample()[:, 0]
    (gradient,) = dd2424.autograd.grad((drawn**2).sum(), a)
    exact = t(0.8, 2.5).requires_grad_()
    total = exact.sum()
    (expected,) = dd2424.autograd.grad(exact[0] * (exact[0] + 1) / (total * (total + 1)), exact)
    error = gradient.numpy().std(0) / math.sqrt(count)
    assert (np.abs(gradient.numpy().mean(0) - expected.numpy()) < 5 * error).all()


def test_draws_of_small_concentrations_are_numbers() -> None:
    drawn = D.Dirichlet(dd2424.full((200, 3), 1e-3)).sample()
    assert bool(drawn.isfinite().all())
    assert_accurate(drawn.sum(-1), np.ones(200), 8)
    assert drawn.max(-1).values.min().item() > 0.4


def test_a_seed_repeats_draws() -> None:
    for make in EVERY.values():
        dd2424.manual_seed(5)
        first = bits(make().sample((7,)))
        assert first != bits(make().sample((7,)))
        dd2424.manual_seed(5)
        assert first == bits(make().sample((7,)))
