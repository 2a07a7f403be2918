"""Dropout: how much is dropped, what is kept, where it is off, reproducibly for any threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import nn
from dd2424.nn import functional as F

CHANNELS = [(F.dropout1d, nn.Dropout1d, (40, 50, 3)), (F.dropout2d, nn.Dropout2d, (40, 50, 2, 3)),
            (F.dropout3d, nn.Dropout3d, (40, 50, 2, 2, 3))]  # fmt: skip
SELU_FLOOR = -1.7580993408473766


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [dd2424.float32, dd2424.float64, dd2424.bfloat16])
def test_elements_are_zero_or_scaled(isa: str, p: float, dtype: dd2424.dtype) -> None:
    x = dd2424.ones(100, 501, dtype=dtype)
    y = F.dropout(x, p).float().numpy()
    share = np.mean(y == 0)
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / y.size)
    scale = dd2424.tensor(1 / (1 - p)).to(dtype).item()
    np.testing.assert_allclose(y[y != 0], scale, rtol=1e-2 if dtype == dd2424.bfloat16 else 1e-6)


def test_rows_and_columns_are_dropped_independently() -> None:
    dropped = F.dropout(dd2424.ones(200, 200)).numpy() == 0
    for axis in (0, 1):
        assert np.abs(dropped.mean(axis) - 0.5).max() < 0.2
    repeats = np.mean(dropped[:, 1:] == dropped[:, :-1])
    assert abs(repeats - 0.5) < 0.02


def test_the_gradient_goes_where_the_value_went() -> None:
    x = dd2424.ones(1000, requires_grad=True)
    y = F.dropout(x, 0.3)
    y.sum().backward()
    assert bits(x.grad) == bits(y)
    (grad,) = dd2424.autograd.grad((F.dropout(x, 0.3) * x).sum(), [x], create_graph=True)
    grad.sum().backward()


def test_off_in_evaluation_and_for_zero() -> None:
    x = dd2424.randn(10)
    assert F.dropout(x, training=False) is x
    assert F.dropout(x, 0.0) is x
    layer = nn.Dropout(0.9).eval()
    assert layer(x) is x
    assert bits(layer.train()(dd2424.ones(1000))) != bits(dd2424.ones(1000))


def test_one_drops_all() -> None:
    x = dd2424.tensor([1.0, -2.0, math.inf], requires_grad=True)
    y = F.dropout(x, 1.0)
    y.sum().backward()
    assert y.tolist()[:2] == [0, 0]
    assert x.grad.tolist() == [0, 0, 0]
    assert not F.alpha_dropout(dd2424.ones(3), 1.0, training=True).numpy().any()


@pytest.mark.parametrize("function", [F.dropout, F.alpha_dropout])
def test_in_place(function: Any) -> None:
    x = dd2424.ones(1000)
    y = function(x, 0.5, True, True)
    assert y is x
    assert len(np.unique(x.numpy())) == 2
    leaf = dd2424.ones(5, requires_grad=True)
    z = leaf * 1
    nn.Dropout(0.5, inplace=True)(z).sum().backward()
    assert bits(leaf.grad) == bits(z)


@pytest.mark.parametrize(("function", "shape"), [(F.alpha_dropout, (30, 41)), (F.feature_alpha_dropout, (30, 41, 5))])
def test_the_gradient_of_alpha_dropout(isa: str, function: Any, shape: tuple[int, ...]) -> None:
    x, p = dd2424.zeros(*shape, requires_grad=True), 0.3
    before = dd2424.kernel_count()
    y = function(x, p, True)
    y.backward(dd2424.ones(*shape))
    assert dd2424.kernel_count() - before == 3, "a mask is drawn again, not stored; ones are the third"
    scale = ((1 - p) * (1 + p * SELU_FLOOR**2)) ** -0.5
    kept = y.detach().numpy() > 0
    assert_accurate(y, np.where(kept, -scale * p * SELU_FLOOR, scale * (1 - p) * SELU_FLOOR), roundings=2)
    assert_accurate(x.grad, np.where(kept, scale, 0), roundings=1)


@pytest.mark.parametrize(("function", "layer", "shape"), CHANNELS)
def test_whole_channels(function: Any, layer: Any, shape: tuple[int, ...]) -> None:
    y = function(dd2424.ones(*shape), 0.4).numpy().reshape(shape[0], shape[1], -1)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :, :1], y.shape))
    share = np.mean(y[:, :, 0] == 0)
    assert abs(share - 0.4) < 5 * math.sqrt(0.24 / (shape[0] * shape[1]))
    alone = layer(0.5)(dd2424.ones(*shape[1:]))
    assert alone.shape == shape[1:]
    assert layer(0.5).eval()(alone) is alone
    name = function.__name__
    with pytest.raises(
        RuntimeError, match=f"{name}: input must have {len(shape) - 1} or {len(shape)} dimensions, got 1"
    ):
        function(dd2424.ones(3))


@pytest.mark.parametrize("layer", [nn.AlphaDropout, nn.FeatureAlphaDropout])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(layer: Any, p: float) -> None:
    x = dd2424.randn(300, 200, 2)
    y = layer(p)(x).numpy()
    assert abs(y.mean()) < 0.03
    assert abs(y.var() - 1) < 0.05
    if layer is nn.FeatureAlphaDropout:
        values, counts = np.unique(y, return_counts=True)
        floor = y == values[counts.argmax()]
        np.testing.assert_array_equal(floor[..., 0], floor[..., 1])
    assert layer(p).eval()(x) is x


def test_same_bits_for_any_threads_and_seed() -> None:
    x = dd2424.ones(300_001)
    first = same_for_any_threads(lambda: F.dropout(x, 0.3))
    dd2424.manual_seed(0)
    assert bits(F.dropout(x, 0.3)) == bits(first)
    assert bits(F.dropout(x, 0.3)) != bits(first), "the next draw is another"
    dd2424.manual_seed(1)
    assert bits(F.dropout(x, 0.3)) != bits(first)


def test_what_is_dropped_does_not_depend_on_the_layout() -> None:
    x = dd2424.ones(30, 40)
    results = []
    for tensor in (x, dd2424.ones(40, 30).T, dd2424.ones(30, 80)[:, ::2]):
        dd2424.manual_seed(3)
        results.append(bits(F.dropout(tensor, 0.5).contiguous()))
    assert results[0] == results[1] == results[2]


def test_expected_value_is_the_input(rng: np.random.Generator) -> None:
    x = rng.standard_normal(50).astype(np.float32)
    total = sum(F.dropout(dd2424.from_numpy(x), 0.5).numpy().astype(np.float64) for _ in range(2000))
    np.testing.assert_allclose(total / 2000, x, atol=0.3)
    assert_accurate(F.dropout(dd2424.zeros(0, 3)), np.zeros((0, 3)))


@pytest.mark.parametrize(
    "layer", [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout]
)
@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_refusals(layer: Any, p: float) -> None:
    with pytest.raises(ValueError, match=f"{layer.__name__}: p must be between 0 and 1, got {p}"):
        layer(p)
    with pytest.raises(ValueError, match=f"dropout: p must be between 0 and 1, got {p}"):
        F.dropout(dd2424.ones(3), p)
