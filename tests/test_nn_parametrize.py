"""Parametrized tensors: weight norm, spectral norm, functions of one's own; new and old forms."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from dd2424 import Tensor, nn
from dd2424.nn import utils
from dd2424.nn.utils import parametrizations, parametrize


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).T

    def right_inverse(self, x: Tensor) -> Tensor:
        return x.triu()


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def test_a_function_of_ones_own() -> None:
    layer = nn.Linear(3, 3)
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    weight = layer.weight.detach().numpy()
    np.testing.assert_array_equal(weight, weight.T)
    assert parametrize.is_parametrized(layer)
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert [name for name, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]
    layer(dd2424.ones(1, 3)).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None
    layer.weight = dd2424.ones(3, 3)
    assert layer.weight.tolist() == [[1] * 3] * 3
    assert layer.parametrizations.weight.original.tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1]]


def test_functions_are_chained_and_removed() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Double())
    parametrize.register_parametrization(layer, "weight", Double())
    assert bits(layer.weight) == bits(4 * before)
    with pytest.raises(RuntimeError, match="Double must have a right_inverse"):
        layer.weight = before
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert bits(layer.weight) == bits(before)
    assert type(layer) is nn.Linear
    assert isinstance(layer.weight, nn.Parameter)
    assert not parametrize.is_parametrized(layer)


def test_values_are_cached_where_asked() -> None:
    layer = nn.Linear(2, 2)
    parametrize.register_parametrization(layer, "weight", Double())
    assert layer.weight is not layer.weight
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert layer.weight is not layer.weight


def test_refusals_of_parametrizations() -> None:
    class Wider(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return dd2424.cat([x, x])

    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="tensor_name must be a parameter or buffer of Linear, got 'w'"):
        parametrize.register_parametrization(layer, "w", Double())
    with pytest.raises(ValueError, match=r"must keep weight's dtype and shape .*float32 \(2, 2\), got .* \(4, 2\)"):
        parametrize.register_parametrization(layer, "weight", Wider())
    parametrize.register_parametrization(layer, "weight", Wider(), unsafe=True)
    assert layer.weight.shape == (4, 2)
    with pytest.raises(ValueError, match="tensor_name must be parametrized, got 'bias'"):
        parametrize.remove_parametrizations(layer, "bias")


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(rng: np.random.Generator, dim: int | None) -> None:
    values = rng.standard_normal((4, 3)).astype(np.float32)
    x = dd2424.from_numpy(rng.standard_normal((2, 3)).astype(np.float32))
    for make, g, v in (
        (parametrizations.weight_norm, "parametrizations.weight.original0", "parametrizations.weight.original1"),
        (utils.weight_norm, "weight_g", "weight_v"),
    ):
        layer = nn.Linear(3, 4)
        with dd2424.no_grad():
            layer.weight.copy_(dd2424.from_numpy(values))
        plain = layer(x)
        make(layer, "weight", dim)
        assert_accurate(layer(x), plain.detach().numpy().astype(np.float64), roundings=8, scale=2.0)
        state = dict(layer.named_parameters())
        with dd2424.no_grad():
            state[v].mul_(3)  # only the direction counts
            state[g].mul_(2)  # the length doubles the weight
        layer(x)
        assert_accurate(layer.weight, 2 * values.astype(np.float64), roundings=8)
        layer(x).sum().backward()
        assert state[g].grad is not None
        assert state[v].grad is not None


def test_weight_norms_gradient_is_across_the_direction(rng: np.random.Generator) -> None:
    layer = parametrizations.weight_norm(nn.Linear(3, 4))
    (layer(dd2424.from_numpy(rng.standard_normal((5, 3)).astype(np.float32))) ** 2).sum().backward()
    v = layer.parametrizations.weight.original1
    along = (v.detach() * v.grad).sum(1)
    assert_accurate(along, np.zeros(4), roundings=32, scale=float((v.detach() * v.grad).abs().max()))


@pytest.mark.parametrize("make", [parametrizations.spectral_norm, utils.spectral_norm])
def test_spectral_norm(rng: np.random.Generator, make: Any) -> None:
    layer = nn.Linear(6, 4)
    values = rng.standard_normal((4, 6)).astype(np.float32)
    with dd2424.no_grad():
        layer.weight.copy_(dd2424.from_numpy(values))
    make(layer)
    x = dd2424.ones(1, 6)
    for _ in range(60):
        layer(x)
    weight = layer.weight.detach().numpy()
    assert np.linalg.svd(weight)[1][0] == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(weight, values / np.linalg.svd(values)[1][0], atol=1e-4)
    layer.eval()
    assert bits(layer(x)) == bits(layer(x)), "in evaluation the iteration rests"
    layer.train()
    layer(x).sum().backward()


def test_old_forms_are_removed() -> None:
    x = dd2424.ones(1, 3)
    for make, remove in (
        (utils.weight_norm, utils.remove_weight_norm),
        (utils.spectral_norm, utils.remove_spectral_norm),
    ):
        layer = make(nn.Linear(3, 2)).eval()
        before = layer(x)
        assert remove(layer) is layer
        assert sorted(name for name, _ in layer.named_parameters()) == ["bias", "weight"]
        assert_accurate(layer(x), before.detach().numpy().astype(np.float64), roundings=4, scale=1.0)
        with pytest.raises(ValueError, match="name must be a tensor so hooked of Linear, got 'weight'"):
            remove(layer)
        with pytest.raises(ValueError, match="name must be a parameter of Linear, got 'w'"):
            make(layer, "w")


def test_state_survives_copies_and_checkpoints() -> None:
    layer = parametrizations.spectral_norm(parametrizations.weight_norm(nn.Linear(3, 2)), "bias")
    other = copy.deepcopy(layer).eval()
    assert bits(other.weight) == bits(layer.eval().weight)
    fresh = parametrizations.spectral_norm(parametrizations.weight_norm(nn.Linear(3, 2)), "bias").eval()
    fresh.load_state_dict(layer.state_dict())
    assert bits(fresh(dd2424.ones(1, 3))) == bits(layer(dd2424.ones(1, 3)))


def test_refusals_of_norms() -> None:
    with pytest.raises(ValueError, match="n_power_iterations must be positive, got 0"):
        parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(ValueError, match="n_power_iterations must be positive, got 0"):
        utils.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(ValueError, match="name must be a tensor of Linear, got 'w'"):
        parametrizations.spectral_norm(nn.Linear(2, 2), "w")
    with pytest.raises(IndexError, match="dim must be of weight's 2 dimensions, got 2"):
        parametrizations.spectral_norm(nn.Linear(2, 2), dim=2)
