"""Normalisation of samples: layer, group, instance, root mean square, neighbouring channels, vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd, nn
from dd2424.nn import functional as F
from reference import norm as reference


def data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32, offset: float = 0.0) -> Any:
    return (rng.standard_normal(shape) + offset).astype(dtype)


@pytest.mark.parametrize(("shape", "dims"), [((1, 1), 1), ((3, 7), 1), ((5, 16), 1), ((200, 257), 1), ((2, 3, 4), 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_layer_norm(
    rng: np.random.Generator, isa: str, shape: tuple[int, ...], dims: int, dtype: Any, offset: float
) -> None:
    x, weight, bias = data(rng, shape, dtype, offset), data(rng, shape[-dims:], dtype), data(rng, shape[-dims:], dtype)
    y = F.layer_norm(*[dd2424.from_numpy(a) for a in (x,)], shape[-dims:], *map(dd2424.from_numpy, (weight, bias)))
    exact = reference.layer_norm(x, dims, weight.astype(np.float64), bias.astype(np.float64))
    assert_accurate(y, exact, roundings=16, scale=1.0)


@pytest.mark.parametrize(("shape", "dims"), [((1, 1), 1), ((3, 7), 1), ((20, 257), 1), ((2, 3, 4), 2)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_rms_norm(rng: np.random.Generator, isa: str, shape: tuple[int, ...], dims: int, offset: float) -> None:
    x, weight = data(rng, shape, np.float32, offset), data(rng, shape[-dims:])
    y = F.rms_norm(dd2424.from_numpy(x), shape[-dims:], dd2424.from_numpy(weight), eps=1e-5)
    assert_accurate(y, reference.rms_norm(x, dims, weight.astype(np.float64)), roundings=8)
    default = F.rms_norm(dd2424.from_numpy(x), shape[-dims:])
    assert_accurate(default, reference.rms_norm(x, dims, eps=float(np.finfo(np.float32).eps)), roundings=8)


@pytest.mark.parametrize(("shape", "groups"), [((2, 6), 3), ((2, 6, 5), 2), ((3, 4, 3, 5), 1), ((2, 4, 2, 3, 2), 4)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_group_norm(rng: np.random.Generator, isa: str, shape: tuple[int, ...], groups: int, offset: float) -> None:
    x, weight, bias = data(rng, shape, np.float32, offset), data(rng, (shape[1],)), data(rng, (shape[1],))
    y = F.group_norm(dd2424.from_numpy(x), groups, dd2424.from_numpy(weight), dd2424.from_numpy(bias))
    assert_accurate(y, reference.group_norm(x, groups, weight, bias), roundings=16, scale=1.0)


@pytest.mark.parametrize("shape", [(2, 3, 5), (3, 4, 3, 5), (2, 2, 2, 3, 2)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_instance_norm(rng: np.random.Generator, isa: str, shape: tuple[int, ...], offset: float) -> None:
    x, weight, bias = data(rng, shape, np.float32, offset), data(rng, (shape[1],)), data(rng, (shape[1],))
    mean, var = np.zeros(shape[1], np.float32), np.ones(shape[1], np.float32)
    moving = [dd2424.from_numpy(mean.copy()), dd2424.from_numpy(var.copy())]
    y = F.instance_norm(dd2424.from_numpy(x), *moving, dd2424.from_numpy(weight), dd2424.from_numpy(bias))
    assert_accurate(y, reference.instance_norm(x, weight, bias), roundings=16, scale=1.0)
    axes, exact = tuple(range(2, x.ndim)), x.astype(np.float64)
    assert_accurate(moving[0], 0.1 * exact.mean(axes).mean(0), roundings=4, scale=1.0)
    if offset == 0:
        assert_accurate(moving[1], 0.9 + 0.1 * exact.var(axes, ddof=1).mean(0), roundings=8)
    by_running = F.instance_norm(dd2424.from_numpy(x), *map(dd2424.from_numpy, (mean, var)), use_input_stats=False)
    assert_accurate(by_running, x / np.sqrt(1 + 1e-5), roundings=4)


# Of one pixel, channels last in effect; of fewer pixels than a tile, and of more.
@pytest.mark.parametrize("shape", [(2, 6, 1), (2, 6, 3), (2, 7, 9, 11), (3, 20, 4, 5)])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("channels_last", [False, True])
def test_local_response_norm(
    rng: np.random.Generator, isa: str, shape: tuple[int, ...], size: int, channels_last: bool
) -> None:
    x, dy, options = data(rng, shape), data(rng, shape), {"alpha": 0.5, "beta": 0.75, "k": 2.0}
    layout = dd2424.channels_last if channels_last and len(shape) == 4 else dd2424.contiguous_format
    tensor = dd2424.from_numpy(x).contiguous(memory_format=layout).requires_grad_()
    y = nn.LocalResponseNorm(size, **options)(tensor)
    y.backward(dd2424.from_numpy(dy))
    assert_accurate(y, reference.local_response_norm(x, size, **options), roundings=8)
    gradient = reference.local_response_norm_gradient(x, dy, size, **options)
    assert_accurate(tensor.grad, gradient, roundings=16, scale=1.0)
    assert y.stride() == tensor.grad.stride() == tensor.stride()


def test_local_response_norm_is_one_kernel_each_way(rng: np.random.Generator) -> None:
    arrays = data(rng, (4, 30, 20, 21)), data(rng, (4, 30, 20, 21))

    def run() -> Any:
        x, dy = map(dd2424.from_numpy, arrays)
        before = dd2424.kernel_count()
        y = F.local_response_norm(x.requires_grad_(), 5)
        y.backward(dy)
        assert dd2424.kernel_count() - before == 2
        return [y.detach(), x.grad]

    same_for_any_threads(run)
    assert F.local_response_norm(dd2424.zeros(0, 3, 2), 5).shape == (0, 3, 2)
    y = F.local_response_norm(dd2424.ones(1, 1, 1).bfloat16(), 1, 3.0)
    assert_accurate(y, np.full((1, 1, 1), 2**-1.5), roundings=1)


def test_refusals_of_local_response_norm() -> None:
    with pytest.raises(ValueError, match=r"local_response_norm: input must be \(N, C, \*\), got \(2, 3\)"):
        F.local_response_norm(dd2424.ones(2, 3), 2)
    with pytest.raises(RuntimeError, match="local_response_norm: size must be at least 1, got 0"):
        F.local_response_norm(dd2424.ones(2, 3, 4), 0)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
def test_normalize(rng: np.random.Generator, p: float) -> None:
    x = data(rng, (4, 5, 3))
    x[1] = 0  # a vector of nothing stays one
    expected = x / np.maximum(np.linalg.norm(x.astype(np.float64), p, 1, keepdims=True), 1e-12)
    assert_accurate(F.normalize(dd2424.from_numpy(x), p), expected, roundings=8)


FUNCTIONS = [
    lambda x: F.layer_norm(x, (3,), dd2424.tensor([1.0, 2.0, -1.0], dtype=x.dtype)),
    lambda x: F.layer_norm(x, (4, 3)),
    lambda x: F.rms_norm(x, (3,), eps=0.1),
    lambda x: F.group_norm(x, 2, dd2424.tensor([1.0, 2.0, -1.0, 0.5], dtype=x.dtype)),
    lambda x: F.instance_norm(x),
    lambda x: F.local_response_norm(x, 3, alpha=0.5),
    lambda x: F.normalize(x, dim=-1),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients(rng: np.random.Generator, function: Any) -> None:
    x = dd2424.from_numpy(rng.standard_normal((2, 4, 3))).requires_grad_()
    assert autograd.gradcheck(function, (x,))
    assert autograd.gradgradcheck(function, (x,))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_odd_layouts_and_empty_ones(rng: np.random.Generator, function: Any) -> None:
    x = data(rng, (2, 4, 3))
    strided = dd2424.from_numpy(np.repeat(x, 2, 2))[..., ::2]
    assert bits(function(strided).contiguous()) == bits(function(dd2424.from_numpy(x)))
    assert function(dd2424.zeros(0, 4, 3)).shape == (0, 4, 3)


def test_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    x, dy = (dd2424.from_numpy(data(rng, (300, 512))) for _ in range(2))
    weight = dd2424.from_numpy(data(rng, (512,)))

    def run() -> Any:
        leaves = [t.clone().requires_grad_() for t in (x, weight)]
        y = F.layer_norm(leaves[0], (512,), leaves[1])
        y.backward(dy)
        return y.detach(), *[leaf.grad for leaf in leaves]

    same_for_any_threads(run)


def test_refusals() -> None:
    x = dd2424.ones(2, 6, 3)
    with pytest.raises(RuntimeError, match=r"layer_norm: input must end in normalized_shape \(4,\), got \(2, 6, 3\)"):
        F.layer_norm(x, (4,))
    with pytest.raises(RuntimeError, match="rms_norm: input must end in normalized_shape"):
        F.rms_norm(x, (3, 3))
    with pytest.raises(RuntimeError, match="group_norm: num_groups must divide the 6 channels of input, got 4"):
        F.group_norm(x, 4)
    with pytest.raises(ValueError, match="GroupNorm: num_channels must be divisible by num_groups 4, got 6"):
        nn.GroupNorm(4, 6)
    with pytest.raises(ValueError, match="instance_norm: input must have more than one position"):
        F.instance_norm(dd2424.ones(2, 3, 1))
