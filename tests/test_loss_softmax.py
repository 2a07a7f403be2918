"""softmax, log_softmax and logsumexp: along any dimension, for any logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd
from reference import loss as reference

# Rows of up to 64 classes go a row to a lane, longer ones a vector at a time; inner dimensions go a pixel to a lane, in
# tiles of many pixels, or, of many classes, of a vector of them.
SHAPES = [
    ((1, 1), 1),
    ((3, 7), 1),
    ((21, 64), 1),
    ((5, 65), 1),
    ((3, 1000), 1),
    ((2, 3, 5, 7), 1),
    ((2, 19, 9, 50), 1),
    ((2, 300, 3, 7), 1),
    ((4, 5), 0),
    ((7,), 0),
]
LAYERS = [(dd2424.softmax, reference.softmax), (dd2424.log_softmax, reference.log_softmax)]


def logits(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32, offset: float = 0.0) -> Any:
    return (3 * rng.standard_normal(shape) + offset).astype(dtype)


@pytest.mark.parametrize(("shape", "dim"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize(("layer", "exact"), LAYERS, ids=["softmax", "log_softmax"])
def test_matches_numpy(
    rng: np.random.Generator, isa: str, layer: Any, exact: Any, shape: Any, dim: int, dtype: Any, offset: float
) -> None:
    x = logits(rng, shape, dtype, offset)
    y = layer(dd2424.from_numpy(x), dim)
    # exp turns the rounding of x - max(x), which is up to 20 here, into as many roundings of the result
    # and log_softmax is what is left of two numbers up to 10
    roundings, scale = (12, 0.0) if layer is dd2424.softmax else (8, 1.0)
    assert_accurate(y, exact(x.astype(np.float64), dim), roundings, scale)


@pytest.mark.parametrize(("layer", "exact"), LAYERS, ids=["softmax", "log_softmax"])
@pytest.mark.parametrize("classes", [10, 100])
def test_bfloat16_rounds_once(rng: np.random.Generator, isa: str, layer: Any, exact: Any, classes: int) -> None:
    x = dd2424.from_numpy(logits(rng, (5, classes))).bfloat16()
    assert_accurate(layer(x, 1), exact(x.double().numpy(), 1), roundings=1)


@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_logsumexp(rng: np.random.Generator, isa: str, shape: Any, dim: int) -> None:
    x = logits(rng, shape, np.float32, 100.0)
    y = dd2424.logsumexp(dd2424.from_numpy(x), dim, keepdim=True)
    assert_accurate(y, reference.logsumexp(x.astype(np.float64), dim), roundings=4)


@pytest.mark.parametrize("classes", [3, 100])
@pytest.mark.parametrize(("layer", "exact"), LAYERS, ids=["softmax", "log_softmax"])
def test_extreme_logits(isa: str, layer: Any, exact: Any, classes: int) -> None:
    x = np.zeros((4, classes), np.float32)
    x[0, 1], x[1, 0], x[2] = 1e38, -1e38, 88.0
    x[3, :2] = -np.inf
    assert_accurate(layer(dd2424.from_numpy(x), 1), exact(x.astype(np.float64), 1), roundings=8)
    x[0] = -np.inf
    assert np.isnan(layer(dd2424.from_numpy(x), 1).numpy()[0]).all()
    x[1, 1] = np.nan
    y = layer(dd2424.from_numpy(x), 1).numpy()
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[2]).all()


@pytest.mark.parametrize("classes", [3, 100])
def test_logsumexp_of_infinities(classes: int) -> None:
    x = np.zeros((3, classes), np.float32)
    x[0], x[1, 2] = -np.inf, np.inf
    np.testing.assert_allclose(dd2424.logsumexp(dd2424.from_numpy(x), 1).numpy(), [-np.inf, np.inf, np.log(classes)])


@pytest.mark.parametrize("shape", [(70_000, 10), (300, 1000), (3, 10, 60_000)])
@pytest.mark.parametrize(("layer", "exact"), LAYERS, ids=["softmax", "log_softmax"])
def test_same_bits_for_any_threads(rng: np.random.Generator, layer: Any, exact: Any, shape: tuple[int, ...]) -> None:
    x, dy = dd2424.from_numpy(logits(rng, shape)), dd2424.from_numpy(logits(rng, shape))

    def run() -> Any:
        leaf = x.clone().requires_grad_()
        y = layer(leaf, 1)
        y.backward(dy)
        return y, leaf.grad

    same_for_any_threads(run)


@pytest.mark.parametrize(("shape", "dim"), [((3, 5), 1), ((3, 5), 0), ((2, 3, 4), 1), ((1, 70), 1)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_gradients(rng: np.random.Generator, isa: str, name: str, shape: Any, dim: int) -> None:
    x = dd2424.from_numpy(logits(rng, shape, np.float64) / 3).requires_grad_()
    assert autograd.gradcheck(lambda x: getattr(dd2424, name)(x, dim), (x,))
    if isa == dd2424.get_isa() and x.numel() < 20:
        assert autograd.gradgradcheck(lambda x: getattr(dd2424, name)(x, dim), (x,))


def test_odd_layouts_and_empty_ones(rng: np.random.Generator) -> None:
    x = logits(rng, (6, 10))
    plain = dd2424.softmax(dd2424.from_numpy(x), 1)
    strided = dd2424.from_numpy(np.repeat(x, 2, 1))[:, ::2]
    transposed = dd2424.from_numpy(x.T.copy()).T
    assert bits(dd2424.softmax(strided, 1)) == bits(dd2424.softmax(transposed, 1).contiguous()) == bits(plain)
    assert dd2424.softmax(dd2424.zeros(0, 3), 1).shape == (0, 3)
    assert dd2424.softmax(dd2424.zeros(3, 0), 1).shape == (3, 0)
    assert dd2424.softmax(dd2424.tensor(2.0), 0).item() == 1


def test_dtype_is_converted_first() -> None:
    x = dd2424.tensor([1, 2])
    assert dd2424.softmax(x, 0, dtype=dd2424.float64).dtype == dd2424.float64
    with pytest.raises(RuntimeError, match="softmax: input must have a floating dtype"):
        dd2424.softmax(x, 0)
    with pytest.raises(IndexError, match="softmax: "):
        dd2424.softmax(dd2424.ones(2), 1)
