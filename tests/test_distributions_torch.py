"""Distributions have PyTorch's arguments, values, shapes, moments, divergences and error classes."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import distributions as ours

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
theirs = torch.distributions

# fmt: off
# What each class is made of, by argument, and two values to ask about.
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "Normal": ({"loc": [0.5, -2.0], "scale": [0.7, 3.0]}, [0.1, 4.0]),
    "LogNormal": ({"loc": [0.5, -1.0], "scale": [0.7, 1.5]}, [0.1, 4.0]),
    "HalfNormal": ({"scale": [0.7, 3.0]}, [0.1, 4.0]),
    "Laplace": ({"loc": [0.5, -2.0], "scale": [0.7, 3.0]}, [0.1, 4.0]),
    "Cauchy": ({"loc": [0.5, -2.0], "scale": [0.7, 3.0]}, [0.1, 4.0]),
    "Gumbel": ({"loc": [0.5, -2.0], "scale": [0.7, 3.0]}, [0.1, 4.0]),
    "Uniform": ({"low": [0.0, -2.0], "high": [0.7, 5.0]}, [0.1, 4.0]),
    "Exponential": ({"rate": [0.7, 3.0]}, [0.1, 4.0]),
    "Gamma": ({"concentration": [0.7, 5.0], "rate": [1.5, 3.0]}, [0.1, 4.0]),
    "Chi2": ({"df": [0.7, 5.0]}, [0.1, 4.0]),
    "StudentT": ({"df": [3.5, 5.0], "loc": [0.5, -2.0], "scale": [0.7, 3.0]}, [0.1, 4.0]),
    "Beta": ({"concentration1": [0.7, 5.0], "concentration0": [1.5, 3.0]}, [0.1, 0.8]),
    "Dirichlet": ({"concentration": [[0.7, 1.5, 2.0], [0.2, 3.0, 0.1]]}, [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]),
    "Bernoulli": ({"probs": [0.3, 0.9]}, [1.0, 0.0]),
    "Binomial": ({"total_count": 5, "probs": [0.3, 0.9]}, [1.0, 5.0]),
    "Geometric": ({"probs": [0.3, 0.9]}, [1.0, 0.0]),
    "Poisson": ({"rate": [0.3, 20.0]}, [1.0, 17.0]),
    "Categorical": ({"probs": [[0.3, 0.1, 0.8], [0.0, 2.0, 1.0]]}, [2, 1]),
    "OneHotCategorical": ({"probs": [[0.3, 0.1, 0.8], [0.2, 2.0, 1.0]]}, [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
    "OneHotCategoricalStraightThrough": ({"logits": [[0.3, 0.1, 0.8], [0.2, 2.0, 1.0]]},
                                         [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
    "Multinomial": ({"total_count": 4, "probs": [[0.3, 0.1, 0.8], [0.2, 2.0, 1.0]]},
                    [[1.0, 0.0, 3.0], [2.0, 1.0, 1.0]]),
    "MultivariateNormal": ({"loc": [[0.5, -1.0], [0.0, 2.0]], "covariance_matrix": [[2.0, 0.5], [0.5, 1.0]]},
                           [[0.1, 4.0], [1.0, 2.0]]),
    "RelaxedBernoulli": ({"temperature": 0.6, "probs": [0.3, 0.9]}, [0.2, 0.7]),
    "LogitRelaxedBernoulli": ({"temperature": 0.6, "logits": [0.3, 0.9]}, [0.2, -0.7]),
    "RelaxedOneHotCategorical": ({"temperature": 0.6, "probs": [[0.3, 0.1, 0.8], [0.2, 2.0, 1.0]]},
                                 [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]),
}
# fmt: on
NAMES = list(CASES)


def find(module: Any, name: str) -> Any:
    return getattr(module.relaxed_bernoulli if name == "LogitRelaxedBernoulli" else module, name)


def pair(name: str, arguments: dict[str, Any] | None = None) -> tuple[Any, Any]:
    made = []
    for module, library in ((ours, dd2424), (theirs, torch)):
        given = {
            key: value if key == "total_count" else library.tensor(value, dtype=library.float64)
            for key, value in (arguments or CASES[name][0]).items()
        }
        made.append(find(module, name)(**given))
    return made[0], made[1]


def asked(distribution: Any, question: str, *given: Any) -> Any:
    """The answer of an attribute or method as an array, or the class of its error."""
    try:
        answer = getattr(distribution, question)
        answer = answer(*given) if callable(answer) else answer
    except NotImplementedError as error:
        return type(error).__mro__[-5:]
    return answer.detach().numpy()


def agree(mine: Any, other: Any, question: str, roundings: float = 64) -> None:
    if isinstance(other, tuple):
        assert isinstance(mine, tuple) or mine is not None, question
        return
    assert not isinstance(mine, tuple), f"{question} is missing"
    assert mine.dtype == other.dtype, question
    assert_accurate(mine, other, roundings, scale=1.0)


@pytest.mark.parametrize("name", NAMES)
def test_same_arguments_and_defaults(name: str) -> None:
    mine, other = (inspect.signature(find(module, name)).parameters for module in (ours, theirs))
    assert list(mine) == list(other)
    assert [p.default for p in mine.values()] == [p.default for p in other.values()]


@pytest.mark.parametrize("name", NAMES)
def test_same_values(name: str) -> None:
    mine, other = pair(name)
    value = np.array(CASES[name][1])
    for question in ("log_prob", "cdf"):
        agree(
            asked(mine, question, dd2424.tensor(value)),
            asked(other, question, torch.from_numpy(value.copy())),
            question,
        )
    for question in ("mean", "mode", "variance", "stddev", "entropy", "perplexity", "enumerate_support"):
        single = name == "Multinomial" and question in ("entropy", "perplexity")  # PyTorch's log n! is in float32
        agree(asked(mine, question), asked(other, question), question, 2**29 if single else 64)
    probability = np.array([0.2, 0.95])
    agree(asked(mine, "icdf", dd2424.tensor(probability)), asked(other, "icdf", torch.from_numpy(probability)), "icdf")


@pytest.mark.parametrize("name", NAMES)
def test_same_shapes_and_traits(name: str) -> None:
    mine, other = pair(name)
    wide, their_wide = mine.expand((4, 2)), other.expand((4, 2))
    for ours_, theirs_ in ((mine, other), (wide, their_wide)):
        assert tuple(ours_.batch_shape) == tuple(theirs_.batch_shape)
        assert tuple(ours_.event_shape) == tuple(theirs_.event_shape)
        drawn, reference = ours_.sample((3,)), theirs_.sample((3,))
        assert tuple(drawn.shape) == tuple(reference.shape)
        assert str(drawn.dtype).split(".")[1] == str(reference.dtype).split(".")[1]
        assert tuple(ours_.log_prob(drawn).shape) == tuple(theirs_.log_prob(reference).shape)
    assert type(wide) is type(mine)
    assert mine.has_rsample == (other.has_rsample or name == "LogitRelaxedBernoulli")  # which PyTorch forgets to say
    assert mine.has_enumerate_support == other.has_enumerate_support
    assert mine.support.event_dim == other.support.event_dim
    assert mine.support.is_discrete == other.support.is_discrete
    assert set(mine.arg_constraints) == set(other.arg_constraints)
    for key in mine.arg_constraints:
        agree(asked(mine, key), asked(other, key), key)


PAIRS = [
    "Normal", "LogNormal", "HalfNormal", "Laplace", "Cauchy", "Gumbel", "Uniform", "Exponential", "Gamma", "Beta",
    "Dirichlet", "Bernoulli", "Binomial", "Geometric", "Poisson", "Categorical", "OneHotCategorical",
    "MultivariateNormal",
]  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_same_divergences(name: str) -> None:
    mine, other = pair(name)
    arguments = {k: v if k == "total_count" else np.array(v)[::-1].tolist() for k, v in CASES[name][0].items()}
    if name == "MultivariateNormal":
        arguments["covariance_matrix"] = [[1.0, 0.2], [0.2, 3.0]]
    mine2, other2 = pair(name, arguments)
    for p, q, their_p, their_q in ((mine, mine2, other, other2), (mine, mine, other, other)):
        divergence = ours.kl_divergence(p, q)
        assert_accurate(divergence, theirs.kl_divergence(their_p, their_q).numpy(), 256, scale=1.0)


MIXED = [
    ("Uniform", "Normal"), ("Laplace", "Normal"), ("Exponential", "Normal"), ("Gamma", "Normal"),
    ("Exponential", "Gamma"), ("Gamma", "Exponential"), ("Beta", "Uniform"), ("Chi2", "Gamma"),
]  # fmt: skip


@pytest.mark.parametrize(("p", "q"), MIXED)
def test_same_divergences_across_families(p: str, q: str) -> None:
    (mine, other), (mine2, other2) = pair(p), pair(q)
    assert_accurate(ours.kl_divergence(mine, mine2), theirs.kl_divergence(other, other2).numpy(), 64, scale=1.0)


TRANSFORMS: dict[str, tuple[Any, ...]] = {
    "ExpTransform": (), "SigmoidTransform": (), "TanhTransform": (), "SoftplusTransform": (), "AbsTransform": (),
    "PowerTransform": (2.0,), "AffineTransform": (1.5, -2.0), "SoftmaxTransform": (), "StickBreakingTransform": (),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_same_transforms(name: str) -> None:
    mine, other = (getattr(m.transforms, name)(*TRANSFORMS[name]) for m in (ours, theirs))
    array = np.array([[0.3, 1.5, 0.7], [0.1, 0.4, 2.0]])
    x, their_x = dd2424.tensor(array), torch.from_numpy(array)
    y, their_y = mine(x), other(their_x)
    assert_accurate(y, their_y.numpy(), 16, scale=1.0)
    assert_accurate(mine.inv(y), other.inv(their_y).numpy(), 64, scale=1.0)
    assert mine.bijective == other.bijective
    assert (mine.domain.event_dim, mine.codomain.event_dim) == (other.domain.event_dim, other.codomain.event_dim)
    assert tuple(mine.forward_shape((2, 3))) == tuple(other.forward_shape((2, 3)))
    assert tuple(mine.inverse_shape((2, 3))) == tuple(other.inverse_shape((2, 3)))
    if mine.bijective:
        assert_accurate(mine.log_abs_det_jacobian(x, y), other.log_abs_det_jacobian(their_x, their_y).numpy(), 64, 1.0)


def composed(library: Any, module: Any) -> list[Any]:
    normal = module.Normal(library.zeros(3, dtype=library.float64), library.ones(3, dtype=library.float64))
    affine = module.AffineTransform(library.tensor([1.0, 2.0, 3.0], dtype=library.float64), -2.0)
    weights = library.tensor([0.2, 0.3, 0.5], dtype=library.float64)
    return [
        module.TransformedDistribution(normal, [affine, module.SigmoidTransform()]),
        module.TransformedDistribution(normal, module.StickBreakingTransform()),
        module.TransformedDistribution(normal, []),
        module.Independent(normal, 1),
        module.MixtureSameFamily(module.Categorical(weights), normal),
        module.TransformedDistribution(module.Normal(0.0, 1.0), [module.AffineTransform(library.zeros(2), 1.0)]),
    ]


@pytest.mark.parametrize("case", range(6))
def test_same_compositions(case: int) -> None:
    mine, other = composed(dd2424, ours)[case], composed(torch, theirs)[case]
    assert tuple(mine.batch_shape) == tuple(other.batch_shape)
    assert tuple(mine.event_shape) == tuple(other.event_shape)
    assert mine.has_rsample == other.has_rsample
    drawn = mine.sample((5,))
    assert tuple(drawn.shape) == tuple(other.sample((5,)).shape)
    value = torch.from_numpy(drawn.numpy().copy())
    for question in ("log_prob", "cdf"):
        agree(asked(mine, question, drawn), asked(other, question, value), question, 512)
    for question in ("mean", "variance", "stddev", "entropy"):
        agree(asked(mine, question), asked(other, question), question)


REFUSALS: list[Any] = [
    lambda m, t: m.Normal(t.tensor(0.0), t.tensor(-1.0)),
    lambda m, t: m.Normal(t.tensor(float("nan")), t.tensor(1.0)),
    lambda m, t: m.Normal("a", 1.0),
    lambda m, t: m.Normal(0.0, 1.0).log_prob(0.0),
    lambda m, t: m.Normal(t.zeros(3), 1.0).log_prob(t.zeros(2)),
    lambda m, t: m.Uniform(1.0, 1.0),
    lambda m, t: m.Uniform(0.0, 1.0).log_prob(t.tensor(2.0)),
    lambda m, t: m.Bernoulli(),
    lambda m, t: m.Bernoulli(0.5, 0.5),
    lambda m, t: m.Bernoulli(1.5),
    lambda m, t: m.Bernoulli(0.5).log_prob(t.tensor(0.5)),
    lambda m, t: m.Bernoulli(0.5).rsample(),
    lambda m, t: m.Geometric(0.0),
    lambda m, t: m.Categorical(t.tensor(0.5)),
    lambda m, t: m.Categorical(t.tensor([0.5, -0.5, 1.0])),
    lambda m, t: m.Categorical(t.ones(3)).log_prob(t.tensor(3)),
    lambda m, t: m.Multinomial(t.tensor([2]), t.ones(3)),
    lambda m, t: m.Multinomial(2, t.ones(3)).log_prob(t.ones(3)),
    lambda m, t: m.Binomial(t.tensor([2, 3]), t.tensor([0.5, 0.5])).enumerate_support(),
    lambda m, t: m.Dirichlet(t.tensor(1.0)),
    lambda m, t: m.Dirichlet(t.tensor([1.0, 0.0])),
    lambda m, t: m.MultivariateNormal(t.zeros(2)),
    lambda m, t: m.MultivariateNormal(t.zeros(2), t.eye(2), t.eye(2)),
    lambda m, t: m.MultivariateNormal(t.tensor(0.0), t.eye(2)),
    lambda m, t: m.MultivariateNormal(t.zeros(2), t.ones(2)),
    lambda m, t: m.MultivariateNormal(t.zeros(2), -t.eye(2)),
    lambda m, t: m.MultivariateNormal(t.zeros(2), scale_tril=t.ones(2, 2)),
    lambda m, t: m.Independent(m.Normal(0.0, 1.0), 1),
    lambda m, t: m.Independent(m.Bernoulli(t.ones(2) / 2), 1).enumerate_support(),
    lambda m, t: m.TransformedDistribution(m.Normal(0.0, 1.0), ["exp"]),
    lambda m, t: m.TransformedDistribution(m.Normal(0.0, 1.0), m.StickBreakingTransform()),
    lambda m, t: m.MixtureSameFamily(m.Normal(0.0, 1.0), m.Normal(t.zeros(2), 1.0)),
    lambda m, t: m.MixtureSameFamily(m.Categorical(t.ones(3)), m.Normal(t.zeros(2), 1.0)),
    lambda m, t: m.ExpTransform(2),
    lambda m, t: m.kl_divergence(m.Normal(0.0, 1.0), m.Categorical(t.ones(3))),
    lambda m, t: m.Distribution.set_default_validate_args("yes"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_same_error_classes(number: int) -> None:
    with pytest.raises(Exception) as other:
        REFUSALS[number](theirs, torch)
    with pytest.raises(other.type):
        REFUSALS[number](ours, dd2424)
