"""Recurrent layers have PyTorch's arguments, reprs, keys, values, gradients and error classes."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

# fmt: off
CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("RNN", (3, 5), {}),
    ("RNN", (3, 5, 2, "relu"), {"bias": False}),
    ("RNN", (3, 5, 2), {"bidirectional": True, "batch_first": True}),
    ("GRU", (3, 5), {}),
    ("GRU", (3, 5, 2), {"bidirectional": True, "bias": False}),
    ("LSTM", (3, 5), {"batch_first": True}),
    ("LSTM", (3, 5, 3), {"bidirectional": True}),
    ("LSTM", (3, 5, 2), {"proj_size": 2, "bidirectional": True}),
    ("LSTM", (3, 5), {"proj_size": 2, "bias": False}),
]
CELLS = [("RNNCell", (3, 5), {}), ("RNNCell", (3, 5, False, "relu"), {}), ("GRUCell", (3, 5), {}),
         ("LSTMCell", (3, 5), {}), ("LSTMCell", (3, 5), {"bias": False})]
# fmt: on
each_case = pytest.mark.parametrize(("name", "args", "options"), CASES)


def pair(name: str, args: Any, options: Any) -> Any:
    """Ours and theirs, with the same weights."""
    ours, theirs = (getattr(library.nn, name)(*args, **options).double() for library in (dd2424, torch))
    ours.load_state_dict({k: dd2424.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def flat(value: Any) -> list[Any]:
    return [v for part in value for v in flat(part)] if isinstance(value, tuple) else [value]


def compare(ours: Any, theirs: Any) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert tuple(a.shape) == tuple(b.shape)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-11)


def run(library: Any, network: Any, *arrays: Any, lengths: Any = None) -> list[Any]:
    """Outputs, last states, and all gradients."""
    x, *state = (library.from_numpy(a.copy()).requires_grad_() for a in arrays)
    hx = (tuple(state),) if len(state) == 2 else tuple(state)
    inputs = x
    if lengths:
        inputs = library.nn.utils.rnn.pack_padded_sequence(x, lengths, network.batch_first, enforce_sorted=False)
    outputs = network(inputs, *hx)
    y = outputs[0]
    if lengths:
        y, _ = library.nn.utils.rnn.pad_packed_sequence(y, network.batch_first)
    results = [y, *flat(outputs[1])]
    sum((r * r).sum() for r in results).backward()
    return results + [t.grad for t in (x, *state, *network.parameters())]


@each_case
@pytest.mark.parametrize("has_state", [False, True])
def test_same_values_and_gradients(rng, name, args, options, has_state):
    ours, theirs = pair(name, args, options)
    x = rng.standard_normal((4, 4, 3))
    count = theirs.num_layers * (1 + theirs.bidirectional)
    features = [theirs.proj_size or 5, *([5] if name == "LSTM" else [])]
    state = [rng.standard_normal((count, 4, f)) for f in features] if has_state else []
    compare(run(dd2424, ours, x, *state), run(torch, theirs, x, *state))


@each_case
def test_same_for_packed_sequences(rng, name, args, options):
    ours, theirs = pair(name, args, options)
    x, lengths = rng.standard_normal((4, 4, 3)), [2, 4, 1, 3]
    compare(run(dd2424, ours, x, lengths=lengths), run(torch, theirs, x, lengths=lengths))


@each_case
def test_same_without_a_batch(rng, name, args, options):
    ours, theirs = pair(name, args, options)
    x = rng.standard_normal((4, 3))
    compare(run(dd2424, ours, x), run(torch, theirs, x))


@each_case
def test_same_repr_keys_and_strides(name, args, options):
    ours, theirs = pair(name, args, options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = np.zeros((4, 6, 3))
    mine, other = ours(dd2424.from_numpy(x))[0], theirs(torch.from_numpy(x))[0]
    assert mine.stride() == other.stride()


@pytest.mark.parametrize(("name", "args", "options"), CELLS)
@pytest.mark.parametrize("shape", [(4, 3), (3,)])
def test_cells(rng, name, args, options, shape):
    ours, theirs = pair(name, args, options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x, h, c = rng.standard_normal(shape), *rng.standard_normal((2, *shape[:-1], 5))
    results = []
    for library, cell in ((dd2424, ours), (torch, theirs)):
        xs, hs, cs = (library.from_numpy(a.copy()).requires_grad_() for a in (x, h, c))
        out = flat(cell(xs, (hs, cs) if name == "LSTMCell" else hs))
        sum((o * o).sum() for o in out).backward()
        results.append([*out, *(t.grad for t in (xs, hs, *cell.parameters()))])
    compare(*results)


@pytest.mark.parametrize("name", ["GRUCell", "LSTMCell", "RNNCell"])
def test_same_arguments_of_cells(name):
    ours, theirs = (inspect.signature(getattr(library.nn, name).__init__) for library in (dd2424, torch))
    assert [(p.name, p.default) for p in ours.parameters.values()] == [
        (p.name, p.default) for p in theirs.parameters.values()
    ]


def test_same_arguments_of_helpers():
    for name in ("pack_padded_sequence", "pad_packed_sequence", "pad_sequence", "pack_sequence", "unpad_sequence",
                 "unpack_sequence"):  # fmt: skip
        ours, theirs = (inspect.signature(getattr(library.nn.utils.rnn, name)) for library in (dd2424, torch))
        assert [(p.name, p.default) for p in ours.parameters.values()] == [
            (p.name, p.default) for p in theirs.parameters.values()
        ]


def wrong_calls(library: Any, network: Any) -> Any:
    ones = library.ones
    yield lambda: network(ones(4, 2, 7))
    yield lambda: network(ones(4))
    yield lambda: network(ones(4, 2, 3).double())
    yield lambda: network(ones(4, 2, 3), (ones(1, 3, 5), ones(1, 2, 5)))
    yield lambda: network(ones(4, 2, 3), (ones(1, 2, 5), ones(1, 5)))
    yield lambda: network(ones(4, 3), (ones(1, 2, 5), ones(1, 2, 5)))
    yield lambda: network(ones(0, 2, 3))
    pack = library.nn.utils.rnn.pack_padded_sequence
    yield lambda: pack(ones(4, 2, 3), [2, 3])
    yield lambda: pack(ones(4, 2, 3), [3, 0])
    yield lambda: pack(ones(4, 2, 3), [3])
    yield lambda: library.nn.utils.rnn.pad_packed_sequence(pack(ones(4, 2, 3), [3, 2]), total_length=2)


def test_same_error_classes():
    for ours, theirs in zip(wrong_calls(dd2424, nn.LSTM(3, 5)), wrong_calls(torch, torch.nn.LSTM(3, 5)), strict=True):
        with pytest.raises(Exception, match=r".") as expected:
            theirs()
        with pytest.raises(expected.type):
            ours()
