"""Recurrent modules: their shapes, options, state, and what they refuse."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn

KINDS = ["RNN", "GRU", "LSTM"]
each_kind = pytest.mark.parametrize("kind", KINDS)


def states(last: Any) -> tuple[dd2424.Tensor, ...]:
    return last if isinstance(last, tuple) else (last,)


@each_kind
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_shapes(kind, bidirectional, batch_first):
    network = getattr(nn, kind)(3, 5, 2, bidirectional=bidirectional, batch_first=batch_first)
    directions = 1 + bidirectional
    y, last = network(dd2424.randn(4, 6, 3))
    assert y.shape == (4, 6, directions * 5)
    assert all(s.shape == (2 * directions, 4 if batch_first else 6, 5) for s in states(last))
    y, last = network(dd2424.randn(4, 3))
    assert y.shape == (4, directions * 5)
    assert all(s.shape == (2 * directions, 5) for s in states(last))


@each_kind
def test_batch_first_turns_input_and_output_only(kind):
    network = getattr(nn, kind)(3, 5)
    x = dd2424.randn(4, 6, 3)
    y, last = network(x)
    network.batch_first = True
    turned, same = network(x.transpose(0, 1))
    np.testing.assert_array_equal(turned.transpose(0, 1).detach().numpy(), y.detach().numpy())
    for a, b in zip(states(last), states(same), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


@each_kind
def test_layers_and_directions_are_layers_in_turn(kind):
    deep = getattr(nn, kind)(3, 5, 2, bidirectional=True, bias=False)
    x = dd2424.randn(4, 6, 3)
    y, last = deep(x)
    got = []
    for layer in range(2):
        ys = []
        for suffix in ("", "_reverse"):
            single = getattr(nn, kind)(x.shape[-1], 5, bias=False)
            for name in ("weight_ih", "weight_hh"):
                getattr(single, f"{name}_l0").data = getattr(deep, f"{name}_l{layer}{suffix}").data
            ahead = x.flip(0) if suffix else x
            out, state = single(ahead)
            ys.append(out.flip(0) if suffix else out)
            got.append(states(state)[0][0])
        x = dd2424.cat(ys, -1)
    np.testing.assert_allclose(y.detach().numpy(), x.detach().numpy(), rtol=1e-6, atol=1e-7)
    expected = dd2424.stack(got).detach().numpy()
    np.testing.assert_allclose(states(last)[0].detach().numpy(), expected, rtol=1e-6, atol=1e-7)


def test_dropout_acts_between_layers_in_training_only():
    network = nn.GRU(3, 50, 2, dropout=0.5)
    x = dd2424.randn(4, 6, 3)
    outputs = [network(x)[0].detach().numpy() for _ in range(2)]
    assert (outputs[0] != outputs[1]).any()
    network.eval()
    assert (network(x)[0].detach().numpy() == network(x)[0].detach().numpy()).all()
    network.dropout = 1.0
    network.train()
    alone, _ = nn.GRU(3, 50, 2, dropout=0.0).eval()(x)
    assert network(x)[0].shape == alone.shape
    with pytest.warns(UserWarning, match="between layers"):
        nn.GRU(3, 5, dropout=0.5)


@pytest.mark.parametrize("dropout", [-0.1, 1.5, True, "much"])
def test_dropout_must_be_a_probability(dropout):
    with pytest.raises(ValueError, match="LSTM: dropout must be a probability"):
        nn.LSTM(3, 4, 2, dropout=dropout)


def test_projections():
    network = nn.LSTM(3, 5, 2, proj_size=2, bidirectional=True)
    y, (h, c) = network(dd2424.randn(4, 6, 3))
    assert (y.shape, h.shape, c.shape) == ((4, 6, 4), (4, 6, 2), (4, 6, 5))
    assert network.weight_hr_l1_reverse.shape == (2, 5)
    assert network.weight_ih_l1.shape == (20, 4)


@each_kind
def test_initial_values_state_and_copies(kind):
    network = getattr(nn, kind)(30, 25, 2)
    assert all(p.abs().max().item() <= 0.2 for p in network.parameters())
    assert all(p.abs().max().item() > 0.15 for p in network.parameters())
    assert [len(names) for names in network.all_weights] == [4, 4]
    network.flatten_parameters()
    other = copy.deepcopy(network)
    x = dd2424.randn(4, 6, 30)
    np.testing.assert_array_equal(other(x)[0].detach().numpy(), network(x)[0].detach().numpy())
    fresh = getattr(nn, kind)(30, 25, 2)
    fresh.load_state_dict(network.state_dict())
    np.testing.assert_array_equal(fresh(x)[0].detach().numpy(), network(x)[0].detach().numpy())


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        ((0, 4), {}, ValueError, "GRU: input_size must be greater than zero, got 0"),
        ((3, 0), {}, ValueError, "GRU: hidden_size must be greater than zero, got 0"),
        ((3, 4, 0), {}, ValueError, "GRU: num_layers must be greater than zero, got 0"),
        ((3, 4.0), {}, TypeError, "GRU: hidden_size must be an int, got 4.0"),
        ((3, 4), {"bias": 1}, TypeError, "GRU: bias must be a bool, got 1"),
        ((3, 4), {"proj_size": 2}, ValueError, "GRU: proj_size must be 0 but for an LSTM"),
    ],
)
def test_options_that_make_no_network(args, options, error, message):
    with pytest.raises(error, match=message):
        nn.GRU(*args, **options)


def test_more_options_that_make_no_network():
    with pytest.raises(ValueError, match="RNN: nonlinearity must be 'tanh' or 'relu', got 'gelu'"):
        nn.RNN(3, 4, nonlinearity="gelu")
    with pytest.raises(ValueError, match="LSTM: proj_size must be from 0 to below hidden_size 4, got 4"):
        nn.LSTM(3, 4, proj_size=4)
    with pytest.raises(ValueError, match="RNNBase: mode must be one of"):
        nn.RNNBase("QRNN", 3, 4)
    with pytest.raises(ValueError, match="proj_size must be 0 but for an LSTM"):
        nn.RNNBase("GRU", 3, 4, proj_size=2)


def refusals() -> Any:
    x, h = dd2424.ones(4, 2, 3), dd2424.ones(1, 2, 5)
    yield (dd2424.ones(4, 2, 7),), RuntimeError, r"lstm: input must have 3 features, as weight_ih \(20, 3\) has"
    yield (dd2424.ones(4),), ValueError, "LSTM: input must have 2 or 3 dimensions, got 1"
    yield (x.double(),), ValueError, "lstm: input must have the weights' dtype dd2424.float32, got dd2424.float64"
    yield (x, (dd2424.ones(1, 3, 5), h)), RuntimeError, r"lstm: hx must have shape \(1, 2, 5\), got \(1, 3, 5\)"
    yield (x, (h, dd2424.ones(2, 2, 5))), RuntimeError, r"lstm: cx must have shape \(1, 2, 5\), got \(2, 2, 5\)"
    yield (x, (h, dd2424.ones(2, 5))), RuntimeError, r"LSTM: cx must have 3 dimensions for input \(4, 2, 3\)"
    yield (x, (h.double(), h)), ValueError, "lstm: hx must have the weights' dtype"
    yield (dd2424.ones(0, 2, 3),), RuntimeError, "lstm: input must have at least one step"


@pytest.mark.parametrize(("args", "error", "message"), list(refusals()))
def test_inputs_that_do_not_fit(args, error, message):
    with pytest.raises(error, match=message):
        nn.LSTM(3, 5)(*args)


@pytest.mark.parametrize(("kind", "x"), [("LSTM", dd2424.ones(4, 2, 3)), ("LSTMCell", dd2424.ones(2, 3))])
def test_an_lstm_has_two_states(kind, x):
    module = getattr(nn, kind)(3, 5)
    h = dd2424.ones(2, 2, 5)
    for hx in (h, (h,), (h, h, h)):
        with pytest.raises(TypeError, match=f"{kind}: hx must be a pair of h and c, got (Tensor|tuple)"):
            module(x, hx)


def test_weights_that_do_not_fit():
    x = dd2424.ones(4, 2, 3)
    w = [dd2424.ones(5, 3), dd2424.ones(5, 5), dd2424.ones(5), dd2424.ones(5)]
    run = dd2424.rnn_tanh
    with pytest.raises(RuntimeError, match="rnn_tanh: params must be 4 tensors for each of 1 layers"):
        run(x, None, w[:3])
    with pytest.raises(RuntimeError, match=r"rnn_tanh: weight_hh must have shape \(5, 5\), got \(5, 6\)"):
        run(x, None, [w[0], dd2424.ones(5, 6), *w[2:]])
    with pytest.raises(RuntimeError, match=r"rnn_tanh: bias_hh must have shape \(5,\), got \(6,\)"):
        run(x, None, [*w[:3], dd2424.ones(6)])
    with pytest.raises(ValueError, match="rnn_tanh: weight_hh must have dtype"):
        run(x, None, [w[0], w[1].double(), *w[2:]])
    with pytest.raises(RuntimeError, match="rnn_tanh: batch_sizes must be positive and never grow, got 3 at step 1"):
        run(dd2424.ones(5, 3), None, w, batch_sizes=dd2424.tensor([2, 3]))
    with pytest.raises(RuntimeError, match="rnn_tanh: batch_sizes must add up to the rows of input, 5, got 4"):
        run(dd2424.ones(5, 3), None, w, batch_sizes=dd2424.tensor([2, 2]))


@each_kind
@pytest.mark.parametrize("bias", [False, True])
def test_cells_make_the_steps_of_a_layer(kind, bias):
    cell, layer = getattr(nn, f"{kind}Cell")(3, 5, bias=bias), getattr(nn, kind)(3, 5, bias=bias)
    for name, p in cell.named_parameters():
        getattr(layer, f"{name}_l0").data = p.data
    x, state = dd2424.randn(4, 2, 3), None
    for step in x:
        state = cell(step, state)
    _, last = layer(x)
    for a, b in zip(states(state), states(last), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b[0].detach().numpy(), rtol=1e-6, atol=1e-7)
    alone = states(cell(x[0, 1]))[0]
    np.testing.assert_array_equal(alone.detach().numpy(), states(cell(x[0, 1:]))[0][0].detach().numpy())


def test_cells_refuse():
    cell = nn.RNNCell(3, 5, nonlinearity="relu")
    with pytest.raises(ValueError, match="RNNCell: input must have 1 or 2 dimensions, got 3"):
        cell(dd2424.ones(4, 2, 3))
    with pytest.raises(RuntimeError, match="RNNCell: hx must have 2 dimensions"):
        cell(dd2424.ones(2, 3), dd2424.ones(5))
    with pytest.raises(RuntimeError, match="rnn_relu: input must have 3 features"):
        cell(dd2424.ones(2, 4))
    cell.nonlinearity = "gelu"
    with pytest.raises(RuntimeError, match="nonlinearity must be 'tanh' or 'relu', got 'gelu'"):
        cell(dd2424.ones(2, 3))
