"""Distributions: shapes, expansion, supports, divergences, transforms and refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import distributions as D
from dd2424.autograd import gradcheck


def t(*values: Any) -> dd2424.Tensor:
    return dd2424.tensor(values, dtype=dd2424.float64)


def test_shapes_of_a_batch_of_vectors() -> None:
    p = D.Independent(D.Normal(dd2424.zeros(2, 3, 4), 1.0), 1)
    assert (p.batch_shape, p.event_shape) == ((2, 3), (4,))
    assert p.sample((5,)).shape == (5, 2, 3, 4)
    assert p.log_prob(p.sample((5,))).shape == (5, 2, 3)
    wide = p.expand((6, 2, 3))
    assert (wide.batch_shape, wide.event_shape, wide.mean.shape) == ((6, 2, 3), (4,), (6, 2, 3, 4))
    assert D.Categorical(dd2424.ones(2, 5)).sample((0, 3)).shape == (0, 3, 2)
    assert D.Normal(0.0, 1.0).sample().shape == ()


def test_supports_are_listed() -> None:
    np.testing.assert_array_equal(D.Bernoulli(dd2424.ones(2) / 2).enumerate_support().numpy(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(D.Binomial(2, dd2424.ones(2) / 2).enumerate_support(False).numpy(), [[0], [1], [2]])
    np.testing.assert_array_equal(D.Categorical(dd2424.ones(3)).enumerate_support().numpy(), [0, 1, 2])
    assert D.OneHotCategorical(dd2424.ones(2, 3)).enumerate_support().shape == (3, 2, 3)


def test_parameters_are_computed_once_from_others() -> None:
    p = D.Bernoulli(logits=t(0.0, 2.0))
    assert "probs" not in vars(p)
    assert p.probs is p.probs
    matrix = dd2424.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=dd2424.float64)
    whole = D.MultivariateNormal(t(0.0, 0.0), precision_matrix=matrix)
    assert_accurate(whole.covariance_matrix @ matrix, np.eye(2), 16, scale=1.0)
    assert_accurate(D.MultivariateNormal(t(0.0, 0.0), matrix).precision_matrix @ matrix, np.eye(2), 16, scale=1.0)


KL: list[tuple[D.Distribution, D.Distribution]] = [
    (D.Normal(t(0.5), t(0.7)), D.Normal(t(0.0), t(1.5))),
    (D.Gamma(t(2.5), t(0.7)), D.Gamma(t(1.5), t(1.5))),
    (D.Gumbel(t(0.5), t(0.7)), D.Gumbel(t(0.0), t(1.5))),
    (D.Laplace(t(0.5), t(0.7)), D.Laplace(t(0.0), t(1.5))),
    (D.Laplace(t(0.5), t(0.7)), D.Normal(t(0.0), t(1.5))),
    (D.Dirichlet(t(0.5, 0.7, 2.0)), D.Dirichlet(t(1.5, 1.5, 1.0))),
    (D.Beta(t(2.5), t(0.7)), D.Beta(t(1.5), t(1.5))),
    (D.Poisson(t(2.5)), D.Poisson(t(4.0))),
    (D.Geometric(t(0.4)), D.Geometric(t(0.2))),
    (D.Categorical(t(0.2, 0.3, 0.5)), D.Categorical(t(0.4, 0.3, 0.3))),
    (D.LogNormal(t(0.5), t(0.7)), D.LogNormal(t(0.0), t(1.5))),
]


@pytest.mark.parametrize(("p", "q"), KL, ids=lambda x: type(x).__name__)
def test_a_divergence_is_an_average(p: D.Distribution, q: D.Distribution) -> None:
    """Of log p - log q over draws from p, within 5 standard errors."""
    drawn = p.sample((20_000,))
    terms = (p.log_prob(drawn) - q.log_prob(drawn)).reshape(-1).numpy()
    stated = float(D.kl_divergence(p, q).item())
    assert stated > 0.01
    assert abs(terms.mean() - stated) < 5 * terms.std() / np.sqrt(terms.size)
    assert abs(float(D.kl_divergence(p, p).item())) < 1e-12


def test_a_formula_of_ones_own() -> None:
    class Narrow(D.Normal):
        pass

    assert D.kl_divergence(Narrow(0.0, 1.0), D.Normal(0.0, 1.0)).item() == 0.0

    @D.register_kl(Narrow, D.Normal)
    def formula(p: Narrow, q: D.Normal) -> dd2424.Tensor:
        return p.loc + 7

    assert D.kl_divergence(Narrow(0.0, 1.0), D.Normal(0.0, 1.0)).item() == 7.0


BIJECTIONS: list[D.Transform] = [
    D.ExpTransform(), D.SigmoidTransform(), D.TanhTransform(), D.SoftplusTransform(), D.PowerTransform(1.5),
    D.AffineTransform(1.0, -2.0), D.ComposeTransform([D.AffineTransform(0.0, 0.5), D.TanhTransform()]),
]  # fmt: skip


@pytest.mark.parametrize("transform", BIJECTIONS, ids=lambda x: type(x).__name__)
def test_a_bijection_has_an_inverse_and_a_slope(transform: D.Transform) -> None:
    x = t(0.3, 0.9, 1.7).requires_grad_()
    y = transform(x)
    (slope,) = dd2424.autograd.grad(y.sum(), x)
    assert_accurate(transform.inv(y), x.detach().numpy(), 64)
    assert transform.inv.inv is transform
    assert_accurate(transform.log_abs_det_jacobian(x, y), slope.abs().log().numpy(), 64, scale=1.0)
    assert_accurate(transform.inv.log_abs_det_jacobian(y, x), -slope.abs().log().numpy(), 64, scale=1.0)
    assert bool(transform.codomain.check(y).all())
    assert gradcheck(lambda x: transform.log_abs_det_jacobian(x, transform(x)), (x,))


def test_stick_breaking_has_the_determinant_of_its_jacobian() -> None:
    transform, x = D.StickBreakingTransform(), t(0.3, -0.9, 1.7)
    y = transform(x)
    assert_accurate(transform.inv(y), x.numpy(), 64)
    assert bool(transform.codomain.check(y))
    jacobian = dd2424.autograd.functional.jacobian(lambda x: transform(x)[:-1], x)
    expected = np.log(np.abs(np.linalg.det(jacobian.numpy())))
    assert_accurate(transform.log_abs_det_jacobian(x, y), expected, 64)


def test_a_cache_finds_what_rounding_has_lost() -> None:
    x = dd2424.tensor([30.0])
    assert not bool(D.TanhTransform().inv(D.TanhTransform()(x)).isfinite())
    kept = D.TanhTransform(cache_size=1)
    assert kept.inv(kept(x)) is x


def test_a_transformed_distribution_is_the_one_of_that_name() -> None:
    p = D.TransformedDistribution(D.Normal(t(0.5), t(0.7)), [D.ExpTransform()])
    q, x = D.LogNormal(t(0.5), t(0.7)), t(0.3, 1.0, 2.5)
    assert_accurate(p.log_prob(x), q.log_prob(x).numpy(), 0)
    falling = D.TransformedDistribution(D.Normal(t(0.0), t(1.0)), D.AffineTransform(1.0, -2.0))
    same = D.Normal(t(1.0), t(2.0))
    assert_accurate(falling.cdf(x), same.cdf(x).numpy(), 8)
    assert_accurate(falling.icdf(t(0.2, 0.9)), same.icdf(t(0.2, 0.9)).numpy(), 32)
    assert_accurate(falling.log_prob(x), same.log_prob(x).numpy(), 8)


REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: D.Normal(0.0, t(1.0, -2.0)), ValueError, r"Normal: scale must be greater than 0, got -2\.0"),
    (lambda: D.LogNormal(0.0, -1.0), ValueError, r"LogNormal: scale must be greater than 0, got -1\.0"),
    (lambda: D.Normal(0.0, 1.0).log_prob(0.0), ValueError, "Normal: value must be a Tensor, got float"),
    (lambda: D.Normal(dd2424.zeros(3), 1.0).log_prob(dd2424.zeros(2)), ValueError,
     r"Normal: value must broadcast with shape \(3,\), got \(2,\)"),
    (lambda: D.Poisson(2.0).log_prob(t(1.5)), ValueError, r"Poisson: value must be an integer of at least 0, got 1\.5"),
    (lambda: D.Dirichlet(t(1.0, 1.0)).log_prob(t(1.0)), ValueError,
     r"Dirichlet: value must end in the event shape \(2,\), got \(1,\)"),
    (lambda: D.Dirichlet(t(1.0, 1.0)).log_prob(t(1.0, 1.0)), ValueError,
     "Dirichlet: value must be numbers from 0 on that add up to 1"),
    (lambda: D.Bernoulli(0.5, 0.5), ValueError, "Bernoulli: one of probs, logits must be given, got probs and logits"),
    (lambda: D.Bernoulli(0.5).rsample(), NotImplementedError, "Bernoulli: rsample is not defined"),
    (lambda: D.StudentT(2.0).cdf(t(1.0)), NotImplementedError, "StudentT: cdf is not defined"),
    (lambda: D.Uniform(t(0.0, 2.0), 1.0), ValueError, r"Uniform: low must be less than high, got 2\.0 and 1\.0"),
    (lambda: D.Multinomial(t(2.0), dd2424.ones(3)), NotImplementedError, "Multinomial: total_count must be one int"),
    (lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.Poisson(1.0)), NotImplementedError,
     "kl_divergence: p and q must be a pair with a formula, got Normal and Poisson"),
    (lambda: D.register_kl(int, D.Normal), TypeError, "register_kl: type_p must be a subclass of Distribution"),
    (lambda: D.MixtureSameFamily(D.Categorical(dd2424.ones(3)), D.Normal(dd2424.zeros(2), 1.0)), ValueError,
     r"MixtureSameFamily: component_distribution must have batch shape \(3,\), got \(2,\)"),
    (lambda: D.Independent(D.Normal(0.0, 1.0), 1), ValueError, "reinterpreted_batch_ndims must be at most 0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS)
def test_refusals(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_validation_can_be_left_out() -> None:
    assert D.Normal(0.0, -1.0, validate_args=False).scale.item() == -1.0
    D.Distribution.set_default_validate_args(False)
    try:
        assert D.Poisson(-1.0).rate.item() == -1.0
    finally:
        D.Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError, match="Poisson: rate must be at least 0"):
        D.Poisson(-1.0)


def test_one_import_is_enough() -> None:
    assert dd2424.distributions.Normal is D.Normal
    assert not hasattr(D, "Nothing")
    assert "Normal" in dir(D)
