"""Positions: sinusoids, rotations, ALiBi, and the modules that add them."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import autograd, nn
from dd2424.nn import functional as F


@pytest.mark.parametrize("features", [1, 2, 7, 16])
def test_sinusoidal_positions(features: int) -> None:
    t, d = np.arange(50.0)[:, None], np.arange(features)
    angles = t / 10000.0 ** ((d - d % 2) / (features + features % 2))
    expected = np.where(d % 2, np.cos(angles), np.sin(angles))
    assert_accurate(F.sinusoidal_positions(50, features), expected, roundings=1, scale=1.0)
    layer = nn.SinusoidalPositions(features, 50)
    x = dd2424.ones(3, 4, features)
    assert_accurate(layer(x, 46), np.broadcast_to(1 + expected[46:], (3, 4, features)), roundings=1, scale=1.0)
    assert not layer.state_dict()


def turned(x: np.ndarray, angles: np.ndarray, interleaved: bool) -> np.ndarray:
    half = angles.shape[-1]
    a, b = (
        (x[..., 0 : 2 * half : 2], x[..., 1 : 2 * half : 2])
        if interleaved
        else (x[..., :half], x[..., half : 2 * half])
    )
    z = (a + 1j * b) * np.exp(1j * angles)
    pair = (
        np.stack([z.real, z.imag], -1).reshape(*x.shape[:-1], -1)
        if interleaved
        else np.concatenate([z.real, z.imag], -1)
    )
    return np.concatenate([pair, x[..., 2 * half :]], -1)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("rest", [0, 3])
def test_rotary(rng: np.random.Generator, interleaved: bool, rest: int) -> None:
    x = rng.standard_normal((2, 3, 5, 8 + rest))
    angles = np.arange(5.0)[:, None] * 10000.0 ** -(np.arange(0, 8, 2) / 8)
    made = F.rotary_angles(5, 8, dtype=dd2424.float64)
    assert_accurate(made, angles, roundings=4)
    leaf = dd2424.from_numpy(x).requires_grad_()
    y = F.apply_rotary(leaf, made, interleaved)
    assert_accurate(y, turned(x, angles, interleaved), roundings=8, scale=1.0)
    assert autograd.gradcheck(lambda t: F.apply_rotary(t, made, interleaved), (leaf,))


def test_rotated_products_depend_on_distance(rng: np.random.Generator) -> None:
    layer = nn.RotaryPositions(16, 100)
    q, k = (dd2424.from_numpy(rng.standard_normal((1, 16)).astype(np.float32)) for _ in range(2))
    products = [(layer(q, at + 7) * layer(k, at)).sum().item() for at in (0, 20, 90)]
    assert products == pytest.approx([products[0]] * 3, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("heads", "expected"), [
    (0, []), (1, [-8]), (4, [-2, -4, -6, -8]), (8, [-1, -2, -3, -4, -5, -6, -7, -8]),
    (6, [-2, -4, -6, -8, -1, -3]), (3, [-4, -8, -2]),
])  # fmt: skip
def test_alibi_slopes(heads: int, expected: list[int]) -> None:
    assert F.alibi_slopes(heads).tolist() == [2.0**e for e in expected]


def test_alibi_bias_is_a_mask(rng: np.random.Generator) -> None:
    bias = nn.Alibi(2)(3, 5, offset=2)
    distance = np.abs(np.arange(3)[:, None] + 2 - np.arange(5))
    assert_accurate(bias, -np.array([2.0**-4, 2.0**-8])[:, None, None] * distance, roundings=0)
    q, k = dd2424.ones(1, 2, 3, 4), dd2424.ones(1, 2, 5, 4)
    y = F.scaled_dot_product_attention(q, k, dd2424.eye(5).expand(1, 2, 5, 5), bias)
    assert_accurate(y[0], F.softmax(bias, -1).numpy(), roundings=4)


def test_learned_positions() -> None:
    layer = nn.LearnedPositions(6, 10)
    y = layer(dd2424.zeros(2, 4, 6), offset=3)
    y.sum().backward()
    assert (y[1] == layer.weight[3:7]).all()
    assert layer.weight.grad.sum(1).tolist() == [0, 0, 0, 12, 12, 12, 12, 0, 0, 0]
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize("layer", [nn.SinusoidalPositions(4, 6), nn.LearnedPositions(4, 6), nn.RotaryPositions(4, 6)])
def test_positions_must_lie_within(layer: nn.Module) -> None:
    assert layer(dd2424.ones(6, 4)).shape == (6, 4)
    for length, offset in ((7, 0), (3, 4), (1, -1)):
        with pytest.raises(ValueError, match="positions must lie within the 6 there are"):
            layer(dd2424.ones(length, 4), offset)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="features must be even, got 5"):
        F.rotary_angles(3, 5)
    with pytest.raises(ValueError, match="angles must be at most 2 a position, got 3"):
        F.apply_rotary(dd2424.ones(2, 4), dd2424.ones(2, 3))
