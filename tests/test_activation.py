"""Activations: forms, parameters, what happens at their bends, and softmax's accuracy."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
import dd2424.nn.functional as F
from accuracy import assert_accurate, same_for_any_threads
from reference import elementwise as reference

IN_PLACE = ["relu", "leaky_relu", "elu", "selu", "celu", "hardtanh", "rrelu"]
WITH_FLAG = [*IN_PLACE, "relu6", "silu", "mish", "hardsigmoid", "hardswish"]


@pytest.mark.parametrize("name", WITH_FLAG)
def test_in_place_forms(rng: np.random.Generator, name: str) -> None:
    x = dd2424.from_numpy(rng.normal(size=37) * 3)
    expected = getattr(F, name)(x)
    y = x.clone()
    assert getattr(F, name)(y, inplace=True) is y
    assert dd2424.equal(y, expected)
    assert y._version == 1
    if name in IN_PLACE:
        z = x.clone()
        assert getattr(F, f"{name}_")(z) is z
        assert dd2424.equal(z, expected)


def test_threshold_in_place() -> None:
    x = dd2424.tensor([0.0, 1.0, 2.0, float("nan")])
    y = F.threshold(x, 1.0, 7.0)
    np.testing.assert_array_equal(y.numpy(), np.float32([7, 7, 2, np.nan]))
    assert F.threshold_(x, 1.0, 7.0) is x
    np.testing.assert_array_equal(x.numpy(), y.numpy())


X = np.array([-30.0, -2.5, -1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0, 2.5, 30.0])
PARAMETERS = [
    ("leaky_relu", (0.3,), np.where(X > 0, X, 0.3 * X)),
    ("elu", (0.7,), np.where(X > 0, X, 0.7 * np.expm1(X))),
    ("celu", (2.0,), np.where(X > 0, X, 2 * np.expm1(X / 2))),
    ("hardtanh", (-0.5, 2.0), np.clip(X, -0.5, 2)),
    ("softplus", (2.0, 5.0), np.where(2 * X > 5, X, np.log1p(np.exp(2 * np.minimum(X, 9))) / 2)),
    ("hardshrink", (1.0,), np.where(np.abs(X) <= 1, 0, X)),
    ("softshrink", (1.0,), np.sign(X) * np.maximum(np.abs(X) - 1, 0)),
    ("rrelu", (0.2, 0.4), np.where(X > 0, X, 0.3 * X)),
    ("tanhshrink", (), X - np.tanh(X)),
    ("gelu", (), X * 0.5 * reference.erfc(-X / np.sqrt(2))),
]


@pytest.mark.parametrize(("name", "arguments", "exact"), PARAMETERS, ids=[case[0] for case in PARAMETERS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters(isa: str, name: str, arguments: tuple, exact: np.ndarray, dtype: type) -> None:
    scale = 1 if name == "tanhshrink" else 1e-30 if name == "gelu" else 0
    x = dd2424.from_numpy(X.astype(dtype))
    tolerance = 4 if dtype is np.float64 or name != "gelu" else 8
    near = np.abs(X) < 4 if name == "gelu" else np.full(X.shape, True)  # the reference loses digits further out
    assert_accurate(getattr(F, name)(x, *arguments).numpy()[near], exact[near], tolerance, scale=scale)


def test_prelu(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(2, 3, 4)), rng.uniform(0, 1, 3)
    exact = np.where(x > 0, x, x * w[:, None])
    assert_accurate(F.prelu(dd2424.from_numpy(x), dd2424.from_numpy(w)), exact, 1)
    assert_accurate(dd2424.from_numpy(x).prelu(dd2424.from_numpy(w[:1])), np.where(x > 0, x, x * w[0]), 1)
    with pytest.raises(RuntimeError, match="prelu: weight must have 1 or 3 elements, got 2"):
        F.prelu(dd2424.from_numpy(x), dd2424.ones(2))


def test_glu(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 6))
    assert_accurate(F.glu(dd2424.from_numpy(x)), x[:, :3] * reference.sigmoid(x[:, 3:]), 4)
    with pytest.raises(RuntimeError, match="glu: dim must have an even size, got 3"):
        F.glu(dd2424.from_numpy(x), 0)
    with pytest.raises(RuntimeError, match="glu: input must have a dimension"):
        F.glu(dd2424.tensor(1.0))
    with pytest.raises(RuntimeError, match="softshrink: lambd must be non-negative, got -1"):
        F.softshrink(dd2424.ones(1), -1)
    with pytest.raises(RuntimeError, match="celu: alpha must not be 0, got 0"):
        F.celu(dd2424.ones(1), 0.0)
    with pytest.raises(RuntimeError, match="gelu: approximate must be 'none' or 'tanh', got 'erf'"):
        F.gelu(dd2424.ones(1), approximate="erf")


def test_rrelu_draws_slopes_in_training() -> None:
    y = F.rrelu(-dd2424.ones(2000), 0.2, 0.4, training=True)
    assert -0.4 <= y.min().item() < -0.39
    assert -0.21 < y.max().item() <= -0.2


def test_nan_passes_through(isa: str) -> None:
    nan = dd2424.full((35,), float("nan"))
    for name in [n for n in F.__dict__ if n in reference.ACTIVATIONS] + ["relu", "tanhshrink", "sigmoid", "tanh"]:
        assert getattr(F, name)(nan).isnan().all(), name


SHAPES = [(1, 1), (3, 7), (5, 64), (4, 65), (131, 10), (2, 1031)]


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax(isa: str, rng: np.random.Generator, shape: tuple[int, ...], offset: float, dtype: type) -> None:
    """A difference d from the largest is rounded by d / 2 ULPs, which exp hands on: d reaches 30 here."""
    x = (rng.normal(size=shape) * 4 + offset).astype(dtype)
    for axis in (0, 1):
        exact = log_softmax(x.astype(np.longdouble), axis).astype(np.float64)
        t = dd2424.from_numpy(x)
        assert_accurate(F.softmax(t, axis), np.exp(exact), 20)
        assert_accurate(F.log_softmax(t, axis), exact, 4, scale=np.maximum(1, np.abs(exact)))
        assert_accurate(F.softmax(dd2424.from_numpy(np.array(x.T, order="C")).T, axis), np.exp(exact), 20)
        assert_accurate(F.softmin(-t, axis), np.exp(exact), 20)


def test_softmax_of_infinities() -> None:
    inf = float("inf")
    x = dd2424.tensor([[0.0, -inf, 0.0], [-inf, -inf, 5.0]])
    assert F.softmax(x, 1).tolist() == [[0.5, 0, 0.5], [0, 0, 1]]
    assert F.log_softmax(x, 1)[1].tolist() == [-inf, -inf, 0]
    assert F.softmax(dd2424.full((1, 3), -inf), 1).isnan().all()
    assert F.softmax(dd2424.zeros(2, 0), 1).shape == (2, 0)
    assert F.softmax(dd2424.tensor(3.0), 0).item() == 1


def test_softmax_arguments(rng: np.random.Generator) -> None:
    x = dd2424.from_numpy(rng.normal(size=(3, 4)).astype(np.float32))
    assert F.softmax(x, dim=-1, dtype=dd2424.float64).dtype == dd2424.float64
    assert dd2424.equal(F.softmax(x, 1), x.softmax(1))
    assert dd2424.equal(x.log_softmax(-1), dd2424.log_softmax(x, 1))
    with pytest.raises(IndexError, match="softmax: dim must be from -2 to 1, got 2"):
        x.softmax(2)
    with pytest.raises(RuntimeError, match="softmax: input must have a floating dtype"):
        F.softmax(dd2424.tensor([1, 2]), 0)


def test_gumbel_softmax() -> None:
    logits = dd2424.log(dd2424.tensor([0.1, 0.2, 0.7])).expand(20_000, 3).clone().requires_grad_()
    soft = F.gumbel_softmax(logits, tau=0.5)
    np.testing.assert_allclose(soft.sum(1).detach().numpy(), 1, rtol=1e-5)
    hard = F.gumbel_softmax(logits, hard=True)
    assert hard.detach().sum(1).unique().tolist() == pytest.approx([1])
    np.testing.assert_allclose(hard.detach().mean(0).numpy(), [0.1, 0.2, 0.7], atol=0.02)
    hard.select(1, 0).sum().backward()
    assert logits.grad.abs().sum().item() > 0


@pytest.mark.parametrize("name", ["gelu", "softmax", "log_softmax", "mish"])
def test_same_bits_for_any_threads(isa: str, rng: np.random.Generator, name: str) -> None:
    x = dd2424.from_numpy(rng.normal(size=(301, 257)).astype(np.float32))
    arguments = (1,) if "softmax" in name else ()
    same_for_any_threads(lambda: [getattr(F, name)(t, *arguments) for t in (x, x.T)])
