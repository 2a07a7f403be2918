"""Layers that only call one function: linear, lazy, bilinear, shapes, distances, activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from dd2424 import nn
from dd2424.nn import functional as F

# fmt: off
ACTIVATIONS: list[tuple[Any, Any]] = [
    (nn.ReLU(), F.relu), (nn.ReLU6(), F.relu6), (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
    (nn.ELU(0.5), lambda x: F.elu(x, 0.5)), (nn.SELU(), F.selu), (nn.CELU(0.5), lambda x: F.celu(x, 0.5)),
    (nn.GELU(), F.gelu), (nn.GELU("tanh"), lambda x: F.gelu(x, "tanh")), (nn.SiLU(), F.silu), (nn.Mish(), F.mish),
    (nn.Softplus(2.0), lambda x: F.softplus(x, 2.0)), (nn.Softsign(), F.softsign), (nn.Tanh(), dd2424.tanh),
    (nn.Sigmoid(), dd2424.sigmoid), (nn.LogSigmoid(), F.logsigmoid),
    (nn.Hardtanh(-0.5, 0.7), lambda x: F.hardtanh(x, -0.5, 0.7)),
    (nn.Hardtanh(min_value=-0.5, max_value=0.7), lambda x: F.hardtanh(x, -0.5, 0.7)), (nn.Hardsigmoid(), F.hardsigmoid),
    (nn.Hardswish(), F.hardswish), (nn.Hardshrink(0.3), lambda x: F.hardshrink(x, 0.3)),
    (nn.Softshrink(0.3), lambda x: F.softshrink(x, 0.3)), (nn.Tanhshrink(), F.tanhshrink),
    (nn.Threshold(0.1, 5.0), lambda x: F.threshold(x, 0.1, 5.0)), (nn.GLU(), F.glu), (nn.GLU(0), lambda x: F.glu(x, 0)),
    (nn.Softmax(1), lambda x: dd2424.softmax(x, 1)), (nn.Softmin(1), lambda x: F.softmin(x, 1)),
    (nn.LogSoftmax(0), lambda x: dd2424.log_softmax(x, 0)), (nn.Identity(1, x=2), lambda x: x),
    (nn.Flatten(0), lambda x: x.reshape((-1,))), (nn.Unflatten(1, (2, 3)), lambda x: x.reshape((4, 2, 3))),
]
# fmt: on


@pytest.mark.parametrize(("layer", "function"), ACTIVATIONS, ids=lambda v: repr(v) if isinstance(v, nn.Module) else "")
def test_the_layer_is_its_function(rng: np.random.Generator, layer: Any, function: Any) -> None:
    x = dd2424.from_numpy(rng.standard_normal((4, 6)).astype(np.float32))
    assert bits(layer(x)) == bits(function(x))


@pytest.mark.parametrize("name", ["ReLU", "ReLU6", "LeakyReLU", "ELU", "SELU", "CELU", "SiLU", "Mish", "Hardtanh",
                                  "Hardsigmoid", "Hardswish"])  # fmt: skip
def test_in_place_layers(rng: np.random.Generator, name: str) -> None:
    values = rng.standard_normal((3, 5)).astype(np.float32)
    expected = bits(getattr(nn, name)()(dd2424.from_numpy(values.copy())))
    x = dd2424.from_numpy(values.copy())
    y = getattr(nn, name)(inplace=True)(x)
    assert bits(x) == expected
    assert bits(y) == expected
    leaf = dd2424.from_numpy(values.copy()).requires_grad_()
    getattr(nn, name)(inplace=True)(leaf * 1).sum().backward()
    assert leaf.grad is not None


def test_prelu_learns_its_slopes() -> None:
    layer, x = nn.PReLU(2), dd2424.tensor([[-1.0, -2.0], [3.0, 4.0]])
    assert layer(x).tolist() == [[-0.25, -0.5], [3, 4]]
    layer(x).sum().backward()
    assert layer.weight.grad.tolist() == [-1, -2]
    assert nn.PReLU().weight.shape == (1,)


def test_rrelu_draws_in_training_only() -> None:
    layer, x = nn.RReLU(0.1, 0.3), -dd2424.ones(1000)
    y = layer(x).numpy()
    assert -0.3 <= y.min() < y.max() <= -0.1
    assert_accurate(layer.eval()(x), np.full(1000, -0.2), roundings=2)


@pytest.mark.parametrize("bias", [False, True])
def test_linear(rng: np.random.Generator, bias: bool) -> None:
    layer, x = nn.Linear(5, 3, bias), rng.standard_normal((2, 4, 5)).astype(np.float32)
    exact = x.astype(np.float64) @ layer.weight.detach().numpy().T.astype(np.float64)
    exact = exact + (layer.bias.detach().numpy() if bias else 0)
    assert_accurate(layer(dd2424.from_numpy(x)), exact, roundings=4, scale=1.0)
    bound = 1 / np.sqrt(5)
    assert all(np.abs(p.detach().numpy()).max() <= bound for p in layer.parameters())
    assert nn.Linear(2, 2, dtype=dd2424.float64).weight.dtype == dd2424.float64
    assert nn.Linear(0, 2)(dd2424.zeros(3, 0)).shape == (3, 2)
    with pytest.raises(RuntimeError, match="linear: "):
        layer(dd2424.ones(2, 4))


def test_lazy_linear() -> None:
    layer = nn.LazyLinear(3)
    assert repr(layer) == "LazyLinear(in_features=0, out_features=3, bias=True)"
    assert layer.has_uninitialized_params()
    y = layer(dd2424.ones(2, 5))
    assert y.shape == (2, 3)
    assert type(layer) is nn.Linear
    assert layer.weight.shape == (3, 5)
    assert type(layer.weight) is nn.Parameter
    assert np.abs(layer.weight.detach().numpy()).max() <= 1 / np.sqrt(5)
    assert np.abs(layer.bias.detach().numpy()).max() <= 1 / np.sqrt(5)
    other = nn.LazyLinear(3)
    other.load_state_dict(layer.state_dict())
    assert bits(other(dd2424.ones(2, 5))) == bits(y)


def test_bilinear(rng: np.random.Generator) -> None:
    layer = nn.Bilinear(3, 4, 2)
    x, y = rng.standard_normal((5, 3)).astype(np.float32), rng.standard_normal((5, 4)).astype(np.float32)
    weight, bias = (p.detach().numpy().astype(np.float64) for p in layer.parameters())
    exact = np.einsum("ni,oij,nj->no", x, weight, y) + bias
    assert_accurate(layer(dd2424.from_numpy(x), dd2424.from_numpy(y)), exact, roundings=8, scale=1.0)


def test_distances(rng: np.random.Generator) -> None:
    x, y = (rng.standard_normal((4, 6)) for _ in range(2))
    a, b = dd2424.from_numpy(x), dd2424.from_numpy(y)
    exact = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert_accurate(nn.CosineSimilarity()(a, b), exact, roundings=8, scale=1.0)
    for p in (1.0, 2.0, 3.0):
        exact = np.linalg.norm(x - y + 1e-6, p, axis=1)
        assert_accurate(nn.PairwiseDistance(p)(a, b), exact, roundings=8)
    assert nn.PairwiseDistance(keepdim=True)(a, b).shape == (4, 1)
