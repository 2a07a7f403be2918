"""Initial values: distributions, fans, gains, exact patterns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from dd2424.nn import init

SHAPE = (200, 300)  # (fan_out, fan_in)


def drawn(fill: Any, shape: tuple[int, ...] = SHAPE, **options: Any) -> Any:
    tensor = dd2424.empty(shape)
    assert fill(tensor, **options) is tensor
    return tensor.numpy()


def assert_uniform(values: Any, low: float, high: float) -> None:
    assert low <= values.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < values.max() <= high
    counts, _ = np.histogram(values, 20, (low, high))
    expected = values.size / 20
    assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


def assert_normal(values: Any, mean: float, std: float) -> None:
    count = values.size
    assert abs(values.mean() - mean) < 5 * std / math.sqrt(count)
    assert abs(values.std() / std - 1) < 5 / math.sqrt(2 * count)
    within = np.mean(np.abs(values - mean) < std)
    assert abs(within - 0.6827) < 5 * math.sqrt(0.22 / count)


def test_uniform_and_normal() -> None:
    assert_uniform(drawn(init.uniform_), 0, 1)
    assert_uniform(drawn(init.uniform_, a=-2, b=3), -2, 3)
    assert_normal(drawn(init.normal_), 0, 1)
    assert_normal(drawn(init.normal_, mean=2, std=0.5), 2, 0.5)


def test_truncated_normal_is_cut_and_otherwise_normal() -> None:
    values = drawn(init.trunc_normal_, mean=1.0, std=2.0, a=-1.0, b=4.0)
    assert values.min() >= -1
    assert values.max() <= 4
    grid = np.linspace(-1, 4, 10_001)
    density = np.exp(-(((grid - 1) / 2) ** 2) / 2)
    mean = (grid * density).sum() / density.sum()
    std = math.sqrt(((grid - mean) ** 2 * density).sum() / density.sum())
    assert abs(values.mean() - mean) < 5 * std / math.sqrt(values.size)
    assert abs(values.std() / std - 1) < 0.02


@pytest.mark.parametrize(
    ("shape", "fan_in", "fan_out"), [((200, 300), 300, 200), ((40, 30, 5), 150, 200), ((64, 10, 3, 5), 150, 960)]
)
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_xavier(shape: tuple[int, ...], fan_in: int, fan_out: int, gain: float) -> None:
    bound = gain * math.sqrt(6 / (fan_in + fan_out))
    assert_uniform(drawn(init.xavier_uniform_, shape, gain=gain), -bound, bound)
    assert_normal(drawn(init.xavier_normal_, shape, gain=gain), 0, bound / math.sqrt(3))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize(
    ("nonlinearity", "a", "gain"), [("relu", 0, math.sqrt(2)), ("leaky_relu", 0.5, math.sqrt(1.6)), ("tanh", 0, 5 / 3)]
)
def test_kaiming(mode: str, nonlinearity: str, a: float, gain: float) -> None:
    std = gain / math.sqrt(300 if mode == "fan_in" else 200)
    options = {"mode": mode, "nonlinearity": nonlinearity, "a": a}
    assert_normal(drawn(init.kaiming_normal_, **options), 0, std)
    assert_uniform(drawn(init.kaiming_uniform_, **options), -math.sqrt(3) * std, math.sqrt(3) * std)


def test_kaiming_keeps_the_variance_through_relu(rng: np.random.Generator) -> None:
    x = dd2424.from_numpy(rng.standard_normal((1000, 400)).astype(np.float32))
    for _ in range(5):
        x = dd2424.relu(x @ init.kaiming_normal_(dd2424.empty(400, 400), nonlinearity="relu").T)
    assert 0.5 < (x**2).mean().item() < 2


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (4, 3, 2)])
@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_orthogonal(shape: tuple[int, ...], gain: float) -> None:
    q = drawn(init.orthogonal_, shape, gain=gain).reshape(shape[0], -1).astype(np.float64)
    product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=gain**2 * 1e-6)


def test_orthogonal_draws_have_no_preferred_sign() -> None:
    signs = [np.sign(drawn(init.orthogonal_, (2, 2))[0, 0]) for _ in range(200)]
    assert abs(np.mean(signs)) < 0.4


def test_sparse() -> None:
    values = drawn(init.sparse_, (100, 50), sparsity=0.25, std=0.5)
    np.testing.assert_array_equal((values == 0).sum(0), 25)
    assert_normal(values[values != 0], 0, 0.5)


def test_exact_patterns() -> None:
    assert (drawn(init.ones_) == 1).all()
    assert (drawn(init.zeros_) == 0).all()
    assert (drawn(init.constant_, val=3.5) == 3.5).all()
    np.testing.assert_array_equal(drawn(init.eye_, (3, 5)), np.eye(3, 5))


def test_dirac_filters_pass_their_channel() -> None:
    filters = drawn(init.dirac_, (4, 2, 3, 5))
    assert filters[0, 0, 1, 2] == filters[1, 1, 1, 2] == 1
    assert filters.sum() == 2
    grouped = drawn(init.dirac_, (4, 2, 3), groups=2)
    assert grouped[0, 0, 1] == grouped[1, 1, 1] == grouped[2, 0, 1] == grouped[3, 1, 1] == 1
    assert grouped.sum() == 4


GAINS = [("linear", None, 1), ("conv2d", None, 1), ("sigmoid", None, 1), ("tanh", None, 5 / 3), ("selu", None, 0.75)]
GAINS += [("relu", None, math.sqrt(2)), ("leaky_relu", None, math.sqrt(2 / 1.0001)), ("leaky_relu", 1, 1)]


@pytest.mark.parametrize(("name", "param", "gain"), GAINS)
def test_gains(name: str, param: Any, gain: float) -> None:
    assert init.calculate_gain(name, param) == pytest.approx(gain)


@pytest.mark.parametrize(
    "name", ["uniform_", "normal_", "trunc_normal_", "xavier_normal_", "kaiming_uniform_", "orthogonal_"]
)
def test_draws_come_from_the_generator(name: str) -> None:
    fill = getattr(init, name)
    first, second = (drawn(fill, (5, 4), generator=dd2424.Generator().manual_seed(3)) for _ in range(2))
    assert bits(first) == bits(second)
    assert bits(drawn(fill, (5, 4))) != bits(drawn(fill, (5, 4)))
    dd2424.manual_seed(5)
    third = drawn(fill, (5, 4))
    dd2424.manual_seed(5)
    assert bits(drawn(fill, (5, 4))) == bits(third)


def test_parameters_are_filled_off_the_tape() -> None:
    weight = dd2424.nn.Parameter(dd2424.empty(3, 3))
    init.xavier_uniform_(weight)
    assert weight.is_leaf
    assert weight.requires_grad
    assert_accurate(init.constant_(weight, 2.0), np.full((3, 3), 2.0))


def test_empty_tensors_are_left_alone() -> None:
    for fill in (init.kaiming_uniform_, init.kaiming_normal_, init.orthogonal_):
        assert fill(dd2424.empty(0, 3)).shape == (0, 3)


def test_refusals() -> None:
    vector, matrix = dd2424.empty(3), dd2424.empty(3, 3)
    for fill in (init.xavier_uniform_, init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_):
        with pytest.raises(ValueError, match="must have 2 dimensions or more"):
            fill(vector)
    with pytest.raises(ValueError, match="Mode fan_avg not supported"):
        init.kaiming_normal_(matrix, mode="fan_avg")
    with pytest.raises(ValueError, match="Unsupported nonlinearity sine"):
        init.calculate_gain("sine")
    with pytest.raises(ValueError, match="not a valid number"):
        init.calculate_gain("leaky_relu", "x")  # type: ignore[arg-type]
    for fill in (init.eye_, lambda t: init.sparse_(t, 0.1)):
        with pytest.raises(ValueError, match="eye_: tensor must have 2 dimensions"):
            fill(vector)
    with pytest.raises(ValueError, match="3, 4 or 5 dimensions"):
        init.dirac_(matrix)
    with pytest.raises(ValueError, match="dirac_: groups must divide"):
        init.dirac_(dd2424.empty(3, 2, 1), groups=2)
    with pytest.raises(ValueError, match="2 dimensions or more"):
        init.orthogonal_(vector)
