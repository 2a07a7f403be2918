"""What float32 approximations and fused slopes are worth where programs use them, densely."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
import dd2424.nn.functional as F
from accuracy import assert_accurate
from reference import elementwise as reference

COUNT = 100_003
EVERY = reference.UNARY | reference.ACTIVATIONS


def function(name: str):
    return getattr(F, name, None) or getattr(dd2424, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "sigmoid", "logsigmoid", "softplus", "gelu", "silu", "mish"])
def test_dense(isa: str, name: str) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-width, width, COUNT) for width in (0.01, 1, 4, 10, 20)]).astype(np.float32)
    assert_accurate(function(name)(dd2424.from_numpy(x)), EVERY[name](x.astype(np.float64)), 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_close_to_one(isa: str, name: str) -> None:
    """Below 1 a rounding of the relative error is two units in the last place: these are counted here."""
    x = np.random.default_rng(0).uniform(0.2, 4, 10 * COUNT).astype(np.float32)
    exact = EVERY[name](x.astype(np.float64))
    error = np.abs(function(name)(dd2424.from_numpy(x)).numpy() - exact)
    assert np.max(error / np.spacing(np.nextafter(exact.astype(np.float32), np.float32(0)))) <= 4


@pytest.mark.parametrize(("name", "one_from"), [("tanh", 9.0109), ("erf", 3.9192059)])
def test_never_beyond_one(isa: str, name: str, one_from: float) -> None:
    x = np.linspace(one_from * 0.9, one_from, COUNT).astype(np.float32)
    assert function(name)(dd2424.from_numpy(x)).max().item() <= 1
    far = dd2424.tensor([one_from, 1e10, 3e38, float("inf")])
    assert function(name)(far).tolist() == [1] * 4
    assert function(name)(-far).tolist() == [-1] * 4


SLOPES = ["relu", "tanh", "sigmoid", "gelu", "silu", "elu", "selu", "softplus", "logsigmoid", "hardsigmoid",
          "hardswish", "mish"]  # fmt: skip


def slopes(name: str, x: np.ndarray, dy: np.ndarray, composed: bool) -> np.ndarray:
    """The gradient by the fused kernel, or, where it shall be differentiated again, by a composition."""
    leaf = dd2424.from_numpy(x).requires_grad_()
    y = function(name)(leaf)
    (gradient,) = dd2424.autograd.grad(y, leaf, dd2424.from_numpy(dy), create_graph=composed)
    return gradient.detach().numpy()


@pytest.mark.parametrize(("dtype", "roundings"), [(np.float32, 8), (np.float64, 16)])
@pytest.mark.parametrize("name", SLOPES)
def test_fused_slopes(isa: str, rng: np.random.Generator, name: str, dtype: type, roundings: float) -> None:
    """In roundings of 2, as terms of either sign add up to that; in float64 the composition has errors too."""
    x = np.concatenate([rng.uniform(-width, width, 1001) for width in (3, 30)] + [[0, 3, -3, 100, -100, 700, -700]])
    x, dy = x.astype(dtype), rng.uniform(0.5, 2, x.size).astype(dtype)
    exact = slopes(name, x.astype(np.float64), dy.astype(np.float64), composed=True)
    assert_accurate(slopes(name, x, dy, composed=False), exact, roundings, scale=2)


@pytest.mark.parametrize("name", SLOPES)
def test_fused_slopes_at_the_ends(isa: str, name: str) -> None:
    x = np.array([np.inf, -np.inf, np.nan], np.float32)
    at_ends = {"tanh": 0, "sigmoid": 0, "logsigmoid": 0, "hardsigmoid": 0, "selu": reference.SELU_SCALE}
    below = {"logsigmoid": 1}
    high, low, nothing = slopes(name, x, np.ones_like(x), composed=False)
    assert (high, low) == pytest.approx((at_ends.get(name, 1), below.get(name, 0)))
    assert np.isnan(nothing) or name in ("relu", "hardsigmoid")
