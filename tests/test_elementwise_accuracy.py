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


NAMED = [*reference.ACTIVATIONS, "relu", "sigmoid", "tanh", "exp", "log", "erf"]
WIDTHS = (0.001, 0.1, 1, 4, 10, 20, 110)  # beyond 104 exp is 0


def dense(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-width, width, count) for width in WIDTHS] + [10 ** rng.uniform(-44, 38, count)])
    return x.astype(np.float32)


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors in units of the last place, which is that of the float32 at or below |exact|."""
    size = np.abs(exact)
    near = np.minimum(size, 2.0**127).astype(np.float32)
    place = np.spacing(np.where(near > size, np.nextafter(near, np.float32(0)), near))
    regular = np.isfinite(exact) & (size <= np.finfo(np.float32).max)
    error = np.where(regular, got, 0).astype(np.float64) - np.where(regular, exact, 0)
    return np.abs(error) / place


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_four_units_in_the_last_place(isa: str, name: str) -> None:
    """Close to 0, where values bend, and in the tails, down to denormal results."""
    x = dense(COUNT // 4 if name in ("gelu", "erf") else COUNT)
    x = x[x > 0] if name == "log" else x
    with np.errstate(over="ignore"):
        exact = EVERY[name](x.astype(np.float64))
    error = ulps(function(name)(dd2424.from_numpy(x)).numpy(), exact)
    worst = int(np.argmax(error))
    assert error[worst] <= 4, f"{error[worst]:.2f} units at {x[worst]!r}"


def test_four_units_of_tanh_gelu(isa: str) -> None:
    x = dense(10_007)
    x = x[np.abs(x) < 1e3]
    exact = reference.gelu_tanh(x.astype(np.longdouble)).astype(np.float64)
    assert ulps(F.gelu(dd2424.from_numpy(x), approximate="tanh").numpy(), exact).max() <= 4


# name: the function, and what it is below 0
PARAMETRIC = {
    "prelu": (lambda t: F.prelu(t, dd2424.tensor([0.25])), lambda x: 0.25 * x),
    "leaky_relu": (lambda t: F.leaky_relu(t, 0.25), lambda x: 0.25 * x),
    "elu": (lambda t: F.elu(t, 0.5), lambda x: 0.5 * np.expm1(x)),
    "celu": (lambda t: F.celu(t, 2.0), lambda x: 2 * np.expm1(x / 2)),
}


@pytest.mark.parametrize("name", PARAMETRIC)
def test_four_units_with_parameters(isa: str, name: str) -> None:
    x = dense(10_007)
    mine, below = PARAMETRIC[name]
    exact = np.where(x > 0, x, below(np.minimum(x, 0).astype(np.float64)))
    assert ulps(mine(dd2424.from_numpy(x)).numpy(), exact).max() <= 4


def test_five_units_of_a_gate(isa: str) -> None:
    """Its product is a rounding more."""
    x = dense(10_007)
    gated = F.glu(dd2424.from_numpy(np.stack([np.full_like(x, 1.75), x])), 0)[0]
    assert ulps(gated.numpy(), 1.75 * reference.sigmoid(x.astype(np.float64))).max() <= 5


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


SLOPES = ["relu", "tanh", "sigmoid", "gelu", "silu", "elu", "selu", "celu", "softplus", "softsign", "logsigmoid",
          "hardtanh", "hardsigmoid", "hardswish", "mish"]  # fmt: skip


def slopes(name: str, x: np.ndarray, dy: np.ndarray, composed: bool) -> np.ndarray:
    """The gradient by the fused kernel, or, where it shall be differentiated again, by a composition."""
    leaf = dd2424.from_numpy(x).requires_grad_()
    y = function(name)(leaf)
    (gradient,) = dd2424.autograd.grad(y, leaf, dd2424.from_numpy(dy), create_graph=composed)
    return gradient.detach().numpy()


@pytest.mark.parametrize(("dtype", "roundings"), [(np.float32, 4), (np.float64, 32)])
@pytest.mark.parametrize("name", SLOPES)
def test_fused_slopes(isa: str, rng: np.random.Generator, name: str, dtype: type, roundings: float) -> None:
    """In roundings of dy, for slopes cross 0; in float64 the composition has errors too."""
    x = np.concatenate([rng.uniform(-width, width, 1001) for width in (3, 30)] + [[0, 3, -3, 100, -100, 700, -700]])
    x, dy = x.astype(dtype), rng.uniform(0.5, 2, x.size).astype(dtype)
    exact = slopes(name, x.astype(np.float64), dy.astype(np.float64), composed=True)
    assert_accurate(slopes(name, x, dy, composed=False), exact, roundings, scale=dy)


# name: the slope at x < 0, in float64
TAILS = {
    "gelu": lambda x: 0.5 * reference.erfc(-x / np.sqrt(2)) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi),
    "silu": lambda x: reference.sigmoid(x) * (1 + x * reference.sigmoid(-x)),
    "elu": np.exp,
    "celu": np.exp,
    "softsign": lambda x: 1 / (1 - x) ** 2,
    "logsigmoid": lambda x: reference.sigmoid(-x),
    "softplus": reference.sigmoid,
}


@pytest.mark.parametrize("name", TAILS)
def test_slopes_in_the_tail(isa: str, name: str) -> None:
    """Far from where they cross 0, down to denormal results."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-110, -3, 10_007), rng.uniform(-15, -3, 10_007)]).astype(np.float32)
    exact = TAILS[name](x.astype(np.float64))
    assert ulps(slopes(name, x, np.ones_like(x), composed=False), exact).max() <= 4


@pytest.mark.parametrize("name", SLOPES)
def test_fused_slopes_at_the_ends(isa: str, name: str) -> None:
    x = np.array([np.inf, -np.inf, np.nan], np.float32)
    at_ends = {"selu": reference.SELU_SCALE}
    at_ends |= dict.fromkeys(["tanh", "sigmoid", "logsigmoid", "softsign", "hardtanh", "hardsigmoid"], 0)
    below = {"logsigmoid": 1}
    high, low, nothing = slopes(name, x, np.ones_like(x), composed=False)
    assert (high, low) == pytest.approx((at_ends.get(name, 1), below.get(name, 0)))
    assert np.isnan(nothing) or name in ("relu", "hardtanh", "hardsigmoid")
