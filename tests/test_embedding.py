"""Embeddings and bags of them: rows, their gradients, padding, limited norms, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd, nn
from dd2424.nn import functional as F
from reference import embedding as reference


def table_of(rng: np.random.Generator, rows: int = 7, columns: int = 5, dtype: Any = np.float32) -> Any:
    return rng.standard_normal((rows, columns)).astype(dtype)


@pytest.mark.parametrize("shape", [(), (4,), (3, 4), (2, 3, 2), (0,), (0, 3)])
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_rows_and_their_gradients(rng: np.random.Generator, isa: str, shape: tuple[int, ...], dtype: Any) -> None:
    table, indices = table_of(rng), np.asarray(rng.integers(0, 7, shape), dtype)
    weight = dd2424.from_numpy(table).requires_grad_()
    y = F.embedding(dd2424.from_numpy(indices), weight)
    np.testing.assert_array_equal(y.detach().numpy(), table[indices])
    dy = rng.standard_normal((*shape, 5)).astype(np.float32)
    y.backward(dd2424.from_numpy(dy))
    assert_accurate(weight.grad, reference.embedding_gradient(indices, 7, dy), roundings=4, scale=2.0)


@pytest.mark.parametrize("padding_idx", [0, 3, -1])
@pytest.mark.parametrize("by_frequency", [False, True])
def test_padding_and_frequency(rng: np.random.Generator, padding_idx: int, by_frequency: bool) -> None:
    table, indices = table_of(rng, dtype=np.float64), rng.integers(0, 7, (5, 6))
    weight, dy = dd2424.from_numpy(table).requires_grad_(), rng.standard_normal((5, 6, 5))
    y = F.embedding(dd2424.from_numpy(indices), weight, padding_idx, scale_grad_by_freq=by_frequency)
    np.testing.assert_array_equal(y.detach().numpy(), table[indices])
    y.backward(dd2424.from_numpy(dy))
    expected = reference.embedding_gradient(indices, 7, dy, padding_idx % 7, by_frequency)
    assert_accurate(weight.grad, expected, roundings=16, scale=4.0)


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_rows_in_use_are_limited(rng: np.random.Generator, norm_type: float) -> None:
    table, indices = table_of(rng), np.array([1, 4, 1])
    weight = nn.Parameter(dd2424.from_numpy(table.copy()))
    F.embedding(dd2424.from_numpy(indices), weight, max_norm=0.5, norm_type=norm_type)
    assert_accurate(weight, reference.renormed(table, indices, 0.5, norm_type), roundings=8)
    np.testing.assert_array_equal(weight.detach().numpy()[[0, 2, 3, 5, 6]], table[[0, 2, 3, 5, 6]])


def test_gradients(rng: np.random.Generator) -> None:
    weight = dd2424.from_numpy(table_of(rng, 4, 3, np.float64)).requires_grad_()
    indices = dd2424.tensor([0, 2, 2, 3])
    assert autograd.gradcheck(lambda w: F.embedding(indices, w), (weight,))
    assert autograd.gradgradcheck(lambda w: F.embedding(indices, w) ** 3, (weight,))


def test_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    table = table_of(rng, 500, 64)
    indices = dd2424.from_numpy(rng.integers(0, 500, 4000))
    dy = dd2424.from_numpy(rng.standard_normal((4000, 64)).astype(np.float32))

    def run() -> Any:
        weight = dd2424.from_numpy(table).requires_grad_()
        y = F.embedding(indices, weight)
        y.backward(dy)
        return y.detach(), weight.grad

    same_for_any_threads(run)


def test_odd_layouts(rng: np.random.Generator) -> None:
    table, indices = table_of(rng), rng.integers(0, 7, (3, 4))
    plain = F.embedding(dd2424.from_numpy(indices), dd2424.from_numpy(table))
    strided = F.embedding(dd2424.from_numpy(indices.T.copy()).T, dd2424.from_numpy(np.repeat(table, 2, 1))[:, ::2])
    assert bits(strided.contiguous()) == bits(plain)


def test_the_module(rng: np.random.Generator) -> None:
    layer = nn.Embedding(1000, 50, padding_idx=-1)
    assert layer.padding_idx == 999
    assert not layer.weight[999].detach().numpy().any()
    assert abs(layer.weight.detach().numpy()[:999].std() - 1) < 0.02
    y = layer(dd2424.tensor([[1, 999]]))
    assert y.shape == (1, 2, 50)
    y.sum().backward()
    assert not layer.weight.grad[999].numpy().any()
    frozen = nn.Embedding.from_pretrained(dd2424.ones(3, 2))
    assert not frozen.weight.requires_grad
    assert nn.Embedding.from_pretrained(dd2424.ones(3, 2), freeze=False).weight.requires_grad


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_bags(rng: np.random.Generator, mode: str, padding_idx: int | None) -> None:
    table, indices, starts = table_of(rng), rng.integers(0, 7, 10), [0, 3, 3, 9]
    given = dd2424.from_numpy(indices), dd2424.from_numpy(table)
    y = F.embedding_bag(*given, dd2424.tensor(starts), mode=mode, padding_idx=padding_idx)
    exact = reference.bags(indices, starts, table, mode, padding_idx=padding_idx)
    assert_accurate(y, exact, roundings=8, scale=1.0)
    ended = F.embedding_bag(
        *given, dd2424.tensor([*starts, 10]), mode=mode, padding_idx=padding_idx, include_last_offset=True
    )
    assert bits(ended) == bits(y)
    rows = F.embedding_bag(dd2424.from_numpy(indices.reshape(2, 5)), given[1], mode=mode, padding_idx=padding_idx)
    assert_accurate(rows, reference.bags(indices, [0, 5], table, mode, padding_idx=padding_idx), roundings=8, scale=1.0)


def test_weighted_bags(rng: np.random.Generator) -> None:
    table, indices, weights = table_of(rng), rng.integers(0, 7, 10), rng.standard_normal(10).astype(np.float32)
    y = F.embedding_bag(dd2424.from_numpy(indices), dd2424.from_numpy(table), dd2424.tensor([0, 4]), mode="sum",
                        per_sample_weights=dd2424.from_numpy(weights))  # fmt: skip
    assert_accurate(y, reference.bags(indices, [0, 4], table, "sum", weights), roundings=8, scale=2.0)


def test_bags_end_at_the_last_offset(rng: np.random.Generator) -> None:
    table, indices, starts = table_of(rng), rng.integers(0, 7, 10), [0, 3, 3, 7]
    for mode in ("sum", "mean", "max"):
        y = F.embedding_bag(dd2424.from_numpy(indices), dd2424.from_numpy(table), dd2424.tensor(starts), mode=mode,
                            include_last_offset=True)  # fmt: skip
        assert_accurate(y, reference.bags(indices[:7], starts[:3], table, mode), roundings=8, scale=1.0)
    empty = F.embedding_bag(dd2424.tensor([], dtype=dd2424.int64), dd2424.ones(3, 2), dd2424.tensor([0, 0]))
    assert empty.tolist() == [[0, 0], [0, 0]]


def test_gradients_of_weights_in_bags(rng: np.random.Generator) -> None:
    weight = dd2424.from_numpy(table_of(rng, 4, 3, np.float64)).requires_grad_()
    given = dd2424.from_numpy(rng.standard_normal(5)).requires_grad_()
    indices, offsets = dd2424.tensor([0, 2, 1, 3, 3]), dd2424.tensor([0, 2, 2])
    for padding_idx in (None, 3):
        bags = lambda w, g, p=padding_idx: F.embedding_bag(
            indices, w, offsets, mode="sum", per_sample_weights=g, padding_idx=p
        )
        assert autograd.gradcheck(bags, (weight, given))
        assert autograd.gradgradcheck(bags, (weight, given))


def test_scaled_gradients_of_bags(rng: np.random.Generator) -> None:
    weight = dd2424.from_numpy(table_of(rng, 4, 3, np.float64)).requires_grad_()
    F.embedding_bag(dd2424.tensor([[0, 2], [2, 2]]), weight, mode="sum", scale_grad_by_freq=True).sum().backward()
    assert_accurate(weight.grad, np.array([1.0, 0, 1, 0])[:, None] * np.ones(3), roundings=2)


def test_padding_keeps_out_what_is_not_a_number() -> None:
    weight = dd2424.ones(3, 2, requires_grad=True)
    y = F.embedding(dd2424.tensor([0, 2, 1]), weight, padding_idx=2)
    y.backward(dd2424.tensor([[1.0, 2.0], [float("nan"), float("inf")], [3.0, 4.0]]))
    assert weight.grad.tolist() == [[1, 2], [3, 4], [0, 0]]


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_large_bags_for_any_threads(isa: str, rng: np.random.Generator, mode: str) -> None:
    table, indices = table_of(rng, 300, 24), rng.integers(0, 300, 9000)
    starts = np.sort(rng.integers(0, 9000, 400))
    starts[0] = 0

    def run() -> Any:
        weight = dd2424.from_numpy(table).requires_grad_()
        y = F.embedding_bag(dd2424.from_numpy(indices), weight, dd2424.from_numpy(starts), mode=mode)
        (y * y).sum().backward()
        return y.detach(), weight.grad

    y, _ = same_for_any_threads(run)
    assert_accurate(y, reference.bags(indices, list(starts), table, mode), roundings=64, scale=8.0)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_gradients_of_bags(rng: np.random.Generator, mode: str) -> None:
    weight = dd2424.from_numpy(table_of(rng, 4, 3, np.float64)).requires_grad_()
    indices, offsets = dd2424.tensor([0, 2, 1, 3, 3]), dd2424.tensor([0, 2, 2])
    assert autograd.gradcheck(lambda w: F.embedding_bag(indices, w, offsets, mode=mode), (weight,))
    assert autograd.gradgradcheck(lambda w: F.embedding_bag(indices, w, offsets, mode=mode) ** 3, (weight,))


def test_the_bag_module() -> None:
    bag = nn.EmbeddingBag.from_pretrained(dd2424.tensor([[1.0, 2.0], [3.0, 4.0]]), mode="sum")
    assert bag(dd2424.tensor([[0, 1], [1, 1]])).tolist() == [[4, 6], [6, 8]]
    assert not bag.weight.requires_grad
    assert nn.EmbeddingBag(3, 2, padding_idx=1).weight[1].tolist() == [0, 0]


def test_one_hot(rng: np.random.Generator) -> None:
    classes = rng.integers(0, 4, (2, 3))
    y = F.one_hot(dd2424.from_numpy(classes), 5)
    assert y.dtype == dd2424.int64
    np.testing.assert_array_equal(y.numpy(), reference.one_hot(classes, 5))
    assert F.one_hot(dd2424.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(RuntimeError, match="one_hot: tensor must be non-negative, got -1"):
        F.one_hot(dd2424.tensor([-1]))
    with pytest.raises(RuntimeError, match="one_hot: tensor must be below num_classes 2, got 2"):
        F.one_hot(dd2424.tensor([2]), 2)


def test_refusals() -> None:
    weight, vector = dd2424.ones(3, 2), dd2424.tensor([0, 1])
    for bad in ([3], [-1]):
        with pytest.raises(IndexError, match="got"):
            F.embedding(dd2424.tensor(bad), weight)
    with pytest.raises(RuntimeError, match=r"embedding: input must be int64 or int32, got .*float32"):
        F.embedding(dd2424.ones(1), weight)
    with pytest.raises(RuntimeError, match=r"embedding: padding_idx must be in \[-3, 3\), got 3"):
        F.embedding(vector, weight, padding_idx=3)
    with pytest.raises(ValueError, match=r"Embedding: padding_idx must be in \[-3, 3\), got 3"):
        nn.Embedding(3, 2, padding_idx=3)
    with pytest.raises(ValueError, match=r"Embedding: _weight must be \(3, 2\), got \(2, 2\)"):
        nn.Embedding(3, 2, _weight=dd2424.ones(2, 2))
    with pytest.raises(ValueError, match="Embedding: embeddings must have 2 dimensions, got 1"):
        nn.Embedding.from_pretrained(dd2424.ones(3))
    for bad in ([3], [-1]):
        with pytest.raises(IndexError, match="embedding_bag: input must be from 0 to"):
            F.embedding_bag(dd2424.tensor(bad), weight, dd2424.tensor([0]))
    with pytest.raises(RuntimeError, match=r"embedding_bag: per_sample_weights must be dd2424\.float32, got"):
        F.embedding_bag(vector, weight, dd2424.tensor([0]), mode="sum", per_sample_weights=dd2424.ones(2).double())
    with pytest.raises(ValueError, match="embedding_bag: mode must be"):
        F.embedding_bag(vector, weight, dd2424.tensor([0]), mode="median")
    with pytest.raises(ValueError, match="embedding_bag: offsets must be a vector"):
        F.embedding_bag(vector, weight)
    with pytest.raises(ValueError, match="embedding_bag: offsets must be None"):
        F.embedding_bag(vector.reshape((1, 2)), weight, dd2424.tensor([0]))
    with pytest.raises(ValueError, match="embedding_bag: offsets must rise from 0 to at most 2, got"):
        F.embedding_bag(vector, weight, dd2424.tensor([1, 0]))
    with pytest.raises(ValueError, match="embedding_bag: input must have 1 or 2 dimensions, got 3"):
        F.embedding_bag(vector.reshape((1, 1, 2)), weight)
    with pytest.raises(NotImplementedError, match="mode must be 'sum' with per_sample_weights, got 'mean'"):
        F.embedding_bag(vector, weight, dd2424.tensor([0]), per_sample_weights=dd2424.ones(2))
