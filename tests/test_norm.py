"""Batch normalisation: the kernel against float64, its statistics, its gradients, its layouts and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd
from dd2424.nn import functional as F
from reference import norm as reference

# Odd widths reach the vector tails, long ones the chunks; (N, C) goes in columns, the rest plane by plane.
SHAPES = [(2, 1), (3, 7), (100, 50), (5, 67), (2000, 3), (2, 3, 5), (4, 2, 3, 7), (2, 5, 3, 2, 3), (3, 1, 70, 70)]


def data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32, offset: float = 0.0) -> Any:
    x = (rng.standard_normal(shape) + offset).astype(dtype)
    weight, bias, mean = (rng.standard_normal(shape[1]).astype(dtype) for _ in range(3))
    return x, weight, bias, mean, rng.uniform(0.5, 2, shape[1]).astype(dtype)


def tensors(*arrays: Any) -> list[Any]:
    return [dd2424.from_numpy(array.copy()) for array in arrays]


def statistics(x: Any) -> tuple[Any, Any]:
    axes = (0, *range(2, x.ndim))
    return x.astype(np.float64).mean(axes), x.astype(np.float64).var(axes, ddof=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_training(rng: np.random.Generator, isa: str, shape: tuple[int, ...], dtype: Any, offset: float) -> None:
    x, weight, bias, mean, var = data(rng, shape, dtype, offset)
    tensor, w, b, running_mean, running_var = tensors(x, weight, bias, mean, var)
    y = F.batch_norm(tensor, running_mean, running_var, w, b, training=True, momentum=0.3)
    assert_accurate(y, reference.batch_norm(x, weight, bias), roundings=24, scale=1.0)
    batch_mean, batch_var = statistics(x)
    expected = reference.running(mean.astype(np.float64), batch_mean, 0.3)
    assert_accurate(running_mean, expected, roundings=16, scale=1.0 + offset)
    assert_accurate(running_var, reference.running(var.astype(np.float64), batch_var, 0.3), roundings=16)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_evaluation(rng: np.random.Generator, isa: str, shape: tuple[int, ...], dtype: Any) -> None:
    x, weight, bias, mean, var = data(rng, shape, dtype)
    arguments = tensors(x, mean, var, weight, bias)
    y = F.batch_norm(*arguments)
    exact = [array.astype(np.float64) for array in (x, mean, var, weight, bias)]
    assert_accurate(y, reference.batch_norm_with(*exact), roundings=8, scale=2.0)
    assert bits(arguments[1]) == bits(mean), "running statistics stay"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("affine", [False, True])
def test_backward(rng: np.random.Generator, isa: str, shape: tuple[int, ...], offset: float, affine: bool) -> None:
    x, weight, bias, _, _ = data(rng, shape, np.float32, offset)
    dy = rng.standard_normal(shape).astype(np.float32)
    leaves = [t.requires_grad_() for t in tensors(x, weight, bias)]
    w, b = leaves[1:] if affine else (None, None)
    F.batch_norm(leaves[0], None, None, w, b, training=True).backward(dd2424.from_numpy(dy))
    dx, dweight, dbias = reference.batch_norm_gradients(x, dy, weight if affine else None)
    axes = (0, *range(2, x.ndim))
    size = np.abs(dy).max() * (np.abs(weight).max() if affine else 1.0)
    terms = size / np.sqrt((reference.centred(x, axes) ** 2).mean(axes))
    assert_accurate(leaves[0].grad, dx, roundings=8, scale=terms.max())
    if affine:
        normal = reference.batch_norm(x)
        assert_accurate(leaves[1].grad, dweight, roundings=4, scale=np.abs(dy * normal).sum(axes))
        assert_accurate(leaves[2].grad, dbias, roundings=2, scale=np.abs(dy).sum(axes))


def test_constant_channels_give_the_bias(isa: str) -> None:
    x = dd2424.full((9, 3), 1e6)
    y = F.batch_norm(x, None, None, None, dd2424.tensor([1.0, 2.0, 3.0]), training=True)
    assert y[4].tolist() == [1, 2, 3]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 4)])
def test_fused_relu(rng: np.random.Generator, isa: str, training: bool, shape: tuple[int, ...]) -> None:
    x, weight, bias, mean, var = data(rng, shape)
    results = []
    for fused in (False, True):
        leaves = [t.requires_grad_() for t in tensors(x, weight, bias)]
        y = F.batch_norm(leaves[0], *tensors(mean, var), *leaves[1:], training=training, relu=fused)
        y = y if fused else F.relu(y)
        y.sum().backward()
        results.append(bits([y, *[leaf.grad for leaf in leaves]]))
    assert results[0] == results[1]


@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 4), (2, 2, 2, 3)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_gradients(rng: np.random.Generator, shape: tuple[int, ...], training: bool, relu: bool) -> None:
    x, weight, bias, mean, var = data(rng, shape, np.float64)
    leaves = [t.requires_grad_() for t in tensors(x, weight, bias)]
    moving = [None, None] if training else tensors(mean, var)

    def function(x: Any, weight: Any, bias: Any) -> Any:
        return F.batch_norm(x, *moving, weight, bias, training=training, relu=relu)

    assert autograd.gradcheck(function, tuple(leaves))
    assert autograd.gradgradcheck(function, tuple(leaves))


@pytest.mark.parametrize("shape", [(40_000, 10), (70, 3000), (8, 16, 64, 64), (2, 3, 300, 300)])
def test_same_bits_for_any_threads(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x, weight, bias, mean, var = data(rng, shape)
    dy = dd2424.from_numpy(rng.standard_normal(shape).astype(np.float32))

    def run() -> Any:
        leaves = [t.requires_grad_() for t in tensors(x, weight, bias)]
        moving = tensors(mean, var)
        y = F.batch_norm(leaves[0], *moving, *leaves[1:], training=True)
        y.backward(dy)
        return y.detach(), *moving, *[leaf.grad for leaf in leaves]

    same_for_any_threads(run)


@pytest.mark.parametrize("parameters", [dd2424.float32, dd2424.bfloat16])
def test_bfloat16_input(rng: np.random.Generator, isa: str, parameters: dd2424.dtype) -> None:
    x, weight, bias, mean, var = tensors(*data(rng, (50, 7)))
    x = x.bfloat16().requires_grad_()
    weight, bias, mean, var = (t.to(parameters) for t in (weight, bias, mean, var))
    weight.requires_grad_()
    exact = [t.detach().double().numpy() for t in (x, weight, bias)]
    y = F.batch_norm(x, mean, var, weight, bias, training=True)
    assert y.dtype == dd2424.bfloat16
    assert_accurate(y, reference.batch_norm(*exact), roundings=1, scale=1e-3)
    assert mean.dtype == parameters
    y.sum().backward()
    assert weight.grad.dtype == parameters
    assert x.grad.dtype == dd2424.bfloat16


def test_odd_layouts(rng: np.random.Generator) -> None:
    x, weight, bias, mean, var = data(rng, (6, 5, 4))
    plain = F.batch_norm(*tensors(x, mean, var, weight, bias), training=True)
    strided = dd2424.from_numpy(np.repeat(x, 2, 2))[..., ::2]
    every = [dd2424.from_numpy(np.repeat(v, 2))[::2] for v in (mean, var, weight, bias)]
    assert bits(F.batch_norm(strided, *every, training=True)) == bits(plain)
    moved = tensors(mean)[0]
    F.batch_norm(strided, moved, tensors(var)[0], training=True)
    assert bits(every[0].contiguous()) == bits(moved), "statistics with gaps are moved too"


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_read_only_statistics_serve_evaluation_alone(name: str) -> None:
    locked = np.ones(3, np.float32)
    locked.flags.writeable = False
    given = {"running_mean": dd2424.ones(3), "running_var": dd2424.ones(3), name: dd2424.from_numpy(locked)}
    x = dd2424.arange(12.0).reshape(4, 3)
    with pytest.raises(RuntimeError, match=f"batch_norm: {name} must be writable in training, got one over read-only"):
        F.batch_norm(x, **given, training=True)
    assert all(t.tolist() == [1, 1, 1] for t in given.values())
    assert_accurate(F.batch_norm(x, **given, eps=0.0), x.numpy() - 1, roundings=1)


def test_empty_batches() -> None:
    weight = dd2424.ones(3, requires_grad=True)
    y = F.batch_norm(dd2424.zeros(0, 3), dd2424.zeros(3), dd2424.ones(3), weight)
    y.sum().backward()
    assert y.shape == (0, 3)
    assert weight.grad.tolist() == [0, 0, 0]


def test_a_step_is_one_kernel_each_way(rng: np.random.Generator) -> None:
    x, weight, bias, mean, var = tensors(*data(rng, (100, 50)))
    weight.requires_grad_(), bias.requires_grad_(), x.requires_grad_()
    dy = dd2424.ones(100, 50)
    before = dd2424.kernel_count()
    y = F.batch_norm(x, mean, var, weight, bias, training=True)
    assert dd2424.kernel_count() - before == 1
    y.backward(dy)
    assert dd2424.kernel_count() - before <= 3


INTEGERS = {"input": dd2424.ones(4, 3, dtype=dd2424.int64), "weight": None, "bias": None, "running_mean": None}
# fmt: off
REFUSALS: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ValueError, r"input must have more than one value a channel, got \(1, 3\)", {"input": dd2424.ones(1, 3)}),
    (ValueError, r"input must be \(N, C, \*\), got \(3,\)", {"input": dd2424.ones(3)}),
    (RuntimeError, r"weight must have one element per channel, 3, got shape \(2,\)", {"weight": dd2424.ones(2)}),
    (RuntimeError, "bias must have one element per channel", {"bias": dd2424.ones(3, 1)}),
    (RuntimeError, "running_mean must have one element per channel", {"running_mean": dd2424.ones(4)}),
    (RuntimeError, "weight must have dtype .*float32 or the input's", {"weight": dd2424.ones(3, dtype=dd2424.float64)}),
    (RuntimeError, "evaluation needs running_mean and running_var", {"training": False, "running_var": None}),
    (RuntimeError, "input must have a floating dtype", {**INTEGERS, "running_var": None}),
]
# fmt: on


@pytest.mark.parametrize(("error", "message", "changes"), REFUSALS)
def test_each_refusal(error: type[Exception], message: str, changes: dict[str, Any]) -> None:
    arguments = {
        "input": dd2424.ones(4, 3),
        "running_mean": dd2424.zeros(3),
        "running_var": dd2424.ones(3),
        "weight": dd2424.ones(3),
        "bias": dd2424.zeros(3),
        "training": True,
    }
    with pytest.raises(error, match="batch_norm: " + message):
        F.batch_norm(**{**arguments, **changes})
