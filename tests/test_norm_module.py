"""Normalisation layers: running statistics over batches, modes, options, lazy sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from dd2424 import nn
from reference import norm as reference

LAYERS = [
    (nn.BatchNorm1d, (6, 3)),
    (nn.BatchNorm1d, (6, 3, 4)),
    (nn.BatchNorm2d, (6, 3, 2, 4)),
    (nn.BatchNorm3d, (2, 3, 2, 2, 2)),
]


def batch(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return (rng.standard_normal(shape) * 2 + 1).astype(np.float32)


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_running_statistics(
    rng: np.random.Generator, layer: Any, shape: tuple[int, ...], momentum: float | None
) -> None:
    norm, axes = layer(3, momentum=momentum), (0, *range(2, len(shape)))
    mean, var = np.zeros(3), np.ones(3)
    for step in range(1, 5):
        x = batch(rng, shape)
        y = norm(dd2424.from_numpy(x))
        assert_accurate(y, reference.batch_norm(x), roundings=16, scale=1.0)
        share = 1 / step if momentum is None else momentum
        mean = reference.running(mean, x.astype(np.float64).mean(axes), share)
        var = reference.running(var, x.astype(np.float64).var(axes, ddof=1), share)
    assert int(norm.num_batches_tracked) == 4
    assert_accurate(norm.running_mean, mean, roundings=8, scale=1.0)
    assert_accurate(norm.running_var, var, roundings=8)
    norm.eval()
    y = norm(dd2424.from_numpy(x))
    assert_accurate(y, reference.batch_norm_with(x.astype(np.float64), mean, var), roundings=16, scale=1.0)
    assert int(norm.num_batches_tracked) == 4


def test_without_affine_and_without_statistics(rng: np.random.Generator) -> None:
    norm = nn.BatchNorm1d(3, affine=False)
    assert list(norm.parameters()) == []
    assert list(norm.state_dict()) == ["running_mean", "running_var", "num_batches_tracked"]
    norm = nn.BatchNorm1d(3, track_running_stats=False).eval()
    x = batch(rng, (6, 3))
    assert_accurate(norm(dd2424.from_numpy(x)), reference.batch_norm(x), roundings=16, scale=1.0)
    assert list(norm.state_dict()) == ["weight", "bias"]
    assert list(nn.BatchNorm1d(3, bias=False).state_dict())[:2] == ["weight", "running_mean"]


def test_reset(rng: np.random.Generator) -> None:
    norm = nn.BatchNorm1d(3)
    norm(dd2424.from_numpy(batch(rng, (6, 3))))
    norm.reset_running_stats()
    assert norm.running_mean.tolist() == [0, 0, 0]
    assert norm.running_var.tolist() == [1, 1, 1]
    assert int(norm.num_batches_tracked) == 0


def test_inference_leaves_no_tape(rng: np.random.Generator) -> None:
    norm = nn.BatchNorm1d(3)
    before = bits(norm.running_mean)
    with dd2424.no_grad():
        y = norm(dd2424.from_numpy(batch(rng, (6, 3))))
    assert not y.requires_grad
    assert bits(norm.running_mean) != before, "statistics are kept all the same"


@pytest.mark.parametrize("layer", [nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d])
def test_instance_norm_layers(rng: np.random.Generator, layer: Any) -> None:
    shape = (2, 3, *(4, 3, 2)[: int(layer.__name__[-2])])
    x = batch(rng, shape)
    norm = layer(3, affine=True)
    assert_accurate(norm(dd2424.from_numpy(x)), reference.instance_norm(x), roundings=16, scale=1.0)
    assert bits(norm(dd2424.from_numpy(x[0]))) == bits(norm(dd2424.from_numpy(x))[0].clone())
    tracked = layer(3, track_running_stats=True, momentum=1.0)
    tracked(dd2424.from_numpy(x))
    axes = tuple(range(2, x.ndim))
    assert_accurate(tracked.running_mean, x.astype(np.float64).mean(axes).mean(0), roundings=8, scale=1.0)


def test_layer_norm_layers(rng: np.random.Generator) -> None:
    x = batch(rng, (4, 2, 5))
    tensor = dd2424.from_numpy(x)
    assert_accurate(nn.LayerNorm(5)(tensor), reference.layer_norm(x, 1), roundings=16, scale=1.0)
    assert_accurate(nn.LayerNorm([2, 5])(tensor), reference.layer_norm(x, 2), roundings=16, scale=1.0)
    assert_accurate(nn.RMSNorm(5, eps=0.1)(tensor), reference.rms_norm(x, 1, eps=0.1), roundings=8)
    assert_accurate(nn.GroupNorm(1, 2)(tensor), reference.group_norm(x, 1), roundings=16, scale=1.0)
    assert [name for name, _ in nn.LayerNorm(5, bias=False).named_parameters()] == ["weight"]
    assert list(nn.LayerNorm(5, elementwise_affine=False).parameters()) == []


@pytest.mark.parametrize(
    ("lazy", "shape", "plain"),
    [
        (nn.LazyBatchNorm1d, (4, 3), nn.BatchNorm1d),
        (nn.LazyBatchNorm2d, (4, 3, 2, 2), nn.BatchNorm2d),
        (nn.LazyBatchNorm3d, (4, 3, 2, 2, 2), nn.BatchNorm3d),
        (nn.LazyInstanceNorm1d, (4, 3, 5), nn.InstanceNorm1d),
        (nn.LazyInstanceNorm2d, (3, 5, 5), nn.InstanceNorm2d),
        (nn.LazyInstanceNorm3d, (3, 5, 5, 5), nn.InstanceNorm3d),
    ],
)
def test_lazy_layers_take_their_size_from_the_first_input(lazy: Any, shape: tuple[int, ...], plain: Any) -> None:
    norm = lazy()
    assert norm.has_uninitialized_params()
    x = dd2424.randn(*shape)
    y = norm(x)
    assert type(norm) is plain
    assert norm.num_features == 3
    assert norm.weight.tolist() == [1, 1, 1]
    assert not norm.has_uninitialized_params()
    assert bits(y) == bits(plain(3, affine=True, track_running_stats=True)(x))


def test_lazy_layers_take_their_size_from_a_checkpoint() -> None:
    saved = nn.BatchNorm1d(3)
    saved(dd2424.randn(5, 3))
    norm = nn.LazyBatchNorm1d()
    norm.load_state_dict(saved.state_dict())
    assert bits(norm.running_var) == bits(saved.running_var)
    x = dd2424.randn(5, 3)
    assert bits(norm.eval()(x)) == bits(saved.eval()(x))


def test_sync_batch_norm_is_batch_norm_in_one_process() -> None:
    x = dd2424.randn(4, 3, 2)
    assert bits(nn.SyncBatchNorm(3)(x)) == bits(nn.BatchNorm1d(3)(x))
    model = nn.Sequential(nn.BatchNorm1d(3))
    assert nn.SyncBatchNorm.convert_sync_batchnorm(model) is model


def test_refusals() -> None:
    with pytest.raises(ValueError, match="BatchNorm1d: input must be 2D or 3D, got 4D"):
        nn.BatchNorm1d(3)(dd2424.ones(2, 3, 1, 1))
    with pytest.raises(ValueError, match="BatchNorm2d: input must be 4D, got 2D"):
        nn.BatchNorm2d(3)(dd2424.ones(2, 3))
    with pytest.raises(ValueError, match=r"BatchNorm1d: input must have more than one value a channel in training"):
        nn.BatchNorm1d(3)(dd2424.ones(1, 3))
    with pytest.raises(RuntimeError, match="one element per channel, 4, got shape"):
        nn.BatchNorm1d(3)(dd2424.ones(2, 4))
    with pytest.raises(ValueError, match="LazyBatchNorm1d: input must be 2D or 3D, got 1D"):
        nn.LazyBatchNorm1d()(dd2424.ones(2))


@pytest.mark.parametrize("residual", [None, dd2424.full((4, 3, 2, 2), -0.5)])
def test_the_layer_adds_and_rectifies_in_one_pass(rng: np.random.Generator, residual: Any) -> None:
    x = dd2424.from_numpy(rng.standard_normal((4, 3, 2, 2)).astype(np.float32))
    fused, apart = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    for mode in (True, False):
        y = apart.train(mode)(x)
        expected = nn.functional.relu(y if residual is None else y + residual)
        assert fused.train(mode)(x, relu=True, residual=residual).tolist() == expected.tolist()
    assert [t.tolist() for t in fused.buffers()] == [t.tolist() for t in apart.buffers()]
