"""Packed and padded sequences, and networks over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn
from dd2424.nn.utils.rnn import (
    PackedSequence,
    invert_permutation,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)

LENGTHS = [2, 5, 1, 3]


@pytest.fixture
def sequences(rng: np.random.Generator) -> list[dd2424.Tensor]:
    return [dd2424.from_numpy(rng.standard_normal((n, 3))).requires_grad_() for n in LENGTHS]


@pytest.mark.parametrize("batch_first", [False, True])
def test_there_and_back(sequences, batch_first):
    padded = pad_sequence(sequences, batch_first, -1.0)
    assert padded.shape == ((4, 5, 3) if batch_first else (5, 4, 3))
    packed = pack_padded_sequence(padded, dd2424.tensor(LENGTHS), batch_first, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [4, 3, 2, 1, 1]
    assert packed.sorted_indices.tolist() == [1, 3, 0, 2]
    assert packed.unsorted_indices.tolist() == [2, 0, 3, 1]
    again, lengths = pad_packed_sequence(packed, batch_first, -1.0)
    assert lengths.tolist() == LENGTHS
    np.testing.assert_array_equal(again.detach().numpy(), padded.detach().numpy())
    longer, _ = pad_packed_sequence(packed, batch_first, total_length=7)
    assert longer.shape == ((4, 7, 3) if batch_first else (7, 4, 3))
    assert not longer.detach().numpy().take([5, 6], 1 if batch_first else 0).any()
    for part, same in zip(sequences, unpad_sequence(padded, lengths, batch_first), strict=True):
        np.testing.assert_array_equal(part.detach().numpy(), same.detach().numpy())


def test_gradients_reach_the_sequences(sequences):
    packed = pack_sequence(sequences, enforce_sorted=False)
    for part, same in zip(sequences, unpack_sequence(packed), strict=True):
        np.testing.assert_array_equal(part.detach().numpy(), same.detach().numpy())
    (packed.data * 2).sum().backward()
    assert all((part.grad.numpy() == 2).all() for part in sequences)


def test_padding_at_the_left(sequences):
    padded = pad_sequence(sequences, True, padding_side="left").detach().numpy()
    assert not padded[2, :4].any()
    np.testing.assert_array_equal(padded[2, 4:], sequences[2].detach().numpy())


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_network_runs_each_sequence_to_its_end(sequences, kind):
    network = getattr(nn, kind)(3, 4, 2, bidirectional=True).double()
    packed, last = network(pack_sequence(sequences, enforce_sorted=False))
    assert isinstance(packed, PackedSequence)
    outputs = unpack_sequence(packed)
    for i, part in enumerate(sequences):
        y, own = network(part)
        np.testing.assert_allclose(outputs[i].detach().numpy(), y.detach().numpy(), rtol=1e-12, atol=1e-14)
        for a, b in zip(*(s if isinstance(s, tuple) else (s,) for s in (last, own)), strict=True):
            np.testing.assert_allclose(a[:, i].detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_a_given_state_belongs_to_its_sequence(sequences):
    network = nn.GRU(3, 4).double()
    h = dd2424.from_numpy(np.random.default_rng(0).standard_normal((1, 4, 4)))
    _, last = network(pack_sequence(sequences, enforce_sorted=False), h)
    for i, part in enumerate(sequences):
        _, own = network(part, h[:, i])
        np.testing.assert_allclose(last[:, i].detach().numpy(), own.detach().numpy(), rtol=1e-12)


def test_conversions():
    packed = pack_sequence([dd2424.ones(2, 3), dd2424.ones(1, 3)])
    assert packed.sorted_indices is None
    assert packed.unsorted_indices is None
    kinds = ("double", "float", "half", "long", "int")
    converted = [*(getattr(packed, kind)() for kind in kinds), packed.to(dd2424.bfloat16)]
    names = [str(c.data.dtype).split(".")[-1] for c in converted]
    assert names == ["float64", "float32", "float16", "int64", "int32", "bfloat16"]
    assert packed.cpu().batch_sizes.tolist() == [2, 1]
    assert not packed.is_cuda
    assert not packed.is_pinned()
    assert invert_permutation(None) is None


def refusals() -> Any:
    x = dd2424.ones(4, 2, 3)
    yield (x, [2, 3]), "lengths must be sorted in decreasing order while enforce_sorted is True"
    yield (x, [5, 3]), "lengths must be at most the 4 steps of input, got 5"
    yield (x, [3, 0]), "lengths must be greater than 0"
    yield (x, [3]), "lengths must be one for each of 2 sequences"
    yield (x, [3.5, 2.0]), "lengths must be integers, got float64"
    yield (dd2424.ones(4), [3]), "input must have at least 2 dimensions"


@pytest.mark.parametrize(("args", "message"), list(refusals()))
def test_packing_refuses(args, message):
    with pytest.raises(RuntimeError, match=f"pack_padded_sequence: {message}"):
        pack_padded_sequence(*args)


def test_padding_refuses():
    with pytest.raises(RuntimeError, match="pad_sequence: sequences must be an iterable"):
        pad_sequence(3)
    with pytest.raises(RuntimeError, match="pad_sequence: sequences must not be empty"):
        pad_sequence([])
    with pytest.raises(RuntimeError, match="padding_side must be 'right' or 'left'"):
        pad_sequence([dd2424.ones(2)], padding_side="top")
    with pytest.raises(RuntimeError, match="sequences must have the same features"):
        pad_sequence([dd2424.ones(2, 3), dd2424.ones(2, 4)])
    with pytest.raises(ValueError, match="total_length must be at least 2"):
        pad_packed_sequence(pack_sequence([dd2424.ones(2, 3)]), total_length=1)
