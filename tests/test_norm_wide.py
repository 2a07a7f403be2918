"""Normalisation where rows are wide or many: tiles of channels, chunks of rows, results past the caches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424.nn import functional as F
from reference import norm as reference

# Channels in one tile and in two with a tail, rows in one block and in several chunks.
WIDE = [(600, 65), (513, 130), (700, 1100)]


def data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32, offset: float = 0.0) -> Any:
    return (rng.standard_normal(shape) + offset).astype(dtype)


def gradients(layer: Any, arrays: list[Any], dy: Any) -> list[Any]:
    """y, and the gradients of sum(y * dy)."""
    leaves = [dd2424.from_numpy(a).requires_grad_() for a in arrays]
    y = layer(*leaves)
    y.backward(dd2424.from_numpy(dy))
    return [y.detach(), *[leaf.grad for leaf in leaves]]


def batch_norm(x: Any, weight: Any, bias: Any) -> Any:
    return F.batch_norm(x, None, None, weight, bias, True)


@pytest.mark.parametrize("shape", WIDE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_batch_norm(rng: np.random.Generator, isa: str, shape: tuple[int, int], dtype: Any, offset: float) -> None:
    x, dy = data(rng, shape, dtype, offset), data(rng, shape, dtype)
    weight, bias = data(rng, shape[1:], dtype), data(rng, shape[1:], dtype)
    y, *found = gradients(batch_norm, [x, weight, bias], dy)
    slack = 1 if dtype is np.float32 else 8  # the reference rounds to float64 itself
    assert_accurate(y, reference.batch_norm(x, weight, bias), roundings=16 * slack, scale=1.0)
    for gradient, exact in zip(found, reference.batch_norm_gradients(x, dy, weight), strict=True):
        assert_accurate(gradient, exact, roundings=32 * slack, scale=float(np.abs(exact).max()))


def test_batch_norm_with_relu_is_batch_norm_and_relu(rng: np.random.Generator, isa: str) -> None:
    shape = (513, 130)
    x, dy, weight, bias = (data(rng, s) for s in (shape, shape, shape[1:], shape[1:]))
    fused = gradients(lambda *t: F.batch_norm(t[0], None, None, *t[1:], True, relu=True), [x, weight, bias], dy)
    apart = gradients(lambda *t: F.relu(batch_norm(*t)), [x, weight, bias], dy)
    assert [bits(t) for t in fused] == [bits(t) for t in apart]


def test_batch_norm_by_running_statistics(rng: np.random.Generator, isa: str) -> None:
    x, mean, var = data(rng, (600, 130)), data(rng, (130,)), rng.random(130, np.float32) + 0.5
    y = F.batch_norm(*map(dd2424.from_numpy, (x, mean, var)))
    assert_accurate(y, reference.batch_norm_with(x, mean, var), roundings=4, scale=1.0)


def test_an_outlier_in_the_first_row_costs_no_precision(rng: np.random.Generator, isa: str) -> None:
    x = data(rng, (600, 130))
    x[0] = 1e3
    y = F.batch_norm(dd2424.from_numpy(x), None, None, training=True)
    assert_accurate(y, reference.batch_norm(x), roundings=32, scale=1.0)
    rows = F.layer_norm(dd2424.from_numpy(x.T.copy()), (600,))
    assert_accurate(rows, reference.layer_norm(x.T, 1), roundings=32, scale=1.0)


@pytest.mark.parametrize("shape", [(3, 7), (600, 65), (40, 3000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_layer_norm_gradients(
    rng: np.random.Generator, isa: str, shape: tuple[int, int], dtype: Any, offset: float
) -> None:
    x, dy, weight, bias = data(rng, shape, dtype, offset), *(data(rng, s, dtype) for s in (shape, shape[1:], shape[1:]))
    found = gradients(lambda x, w, b: F.layer_norm(x, shape[1:], w, b), [x, weight, bias], dy)
    exact = reference.layer_norm_gradients(x, dy, weight)
    for gradient, expected in zip(found[1:], exact, strict=True):
        assert_accurate(gradient, expected, roundings=32, scale=float(np.abs(expected).max()))


@pytest.mark.parametrize("shape", [(3, 7), (600, 65), (40, 3000)])
def test_rms_norm_gradients(rng: np.random.Generator, isa: str, shape: tuple[int, int]) -> None:
    x, dy, weight = data(rng, shape), data(rng, shape), data(rng, shape[1:])
    found = gradients(lambda x, w: F.rms_norm(x, shape[1:], w, 1e-5), [x, weight], dy)
    for gradient, expected in zip(found[1:], reference.rms_norm_gradients(x, dy, weight), strict=True):
        assert_accurate(gradient, expected, roundings=32, scale=float(np.abs(expected).max()))


def test_layer_norm_of_bfloat16(rng: np.random.Generator, isa: str) -> None:
    x = dd2424.from_numpy(data(rng, (5, 70))).to(dd2424.bfloat16).requires_grad_()
    weight = dd2424.from_numpy(data(rng, (70,))).requires_grad_()
    y = F.layer_norm(x, (70,), weight)
    y.backward(dd2424.ones(5, 70, dtype=dd2424.bfloat16))
    assert y.dtype == x.grad.dtype == dd2424.bfloat16
    exact = reference.layer_norm(x.detach().float().numpy(), 1, weight.detach().numpy())
    assert np.abs(y.detach().float().numpy() - exact).max() <= 2**-8 * np.abs(exact).max()
    assert weight.grad.dtype == dd2424.float32


@pytest.mark.parametrize("large", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "rms_norm"])
def test_same_bits_for_any_threads(rng: np.random.Generator, name: str, large: bool) -> None:
    shape = (2100, 1024) if large else (700, 200)  # the large ones are written around the caches
    x, dy, weight, bias = (data(rng, s) for s in (shape, shape, shape[1:], shape[1:]))
    layers = {
        "batch_norm": batch_norm,
        "layer_norm": lambda x, w, b: F.layer_norm(x, shape[1:], w, b),
        "rms_norm": lambda x, w, b: F.rms_norm(x, shape[1:], w) + b,
    }
    same_for_any_threads(lambda: gradients(layers[name], [x, weight, bias], dy))


def test_refusals() -> None:
    x = dd2424.ones(2, 3)
    with pytest.raises(RuntimeError, match=r"layer_norm: weight must have shape normalized_shape \(3,\), got \(2,\)"):
        F.layer_norm(x, (3,), dd2424.ones(2))
    with pytest.raises(RuntimeError, match=r"layer_norm: bias must have dtype .*float32, got dd2424\.float64"):
        F.layer_norm(x, (3,), None, dd2424.ones(3, dtype=dd2424.float64))
    with pytest.raises(RuntimeError, match="layer_norm: input must end in normalized_shape"):
        F.layer_norm(x, ())
