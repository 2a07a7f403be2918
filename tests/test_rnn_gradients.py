"""First and second derivatives of recurrent layers by finite differences, and what the tape keeps of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import functional as F, nn
from dd2424.autograd import gradcheck, gradgradcheck
from test_rnn import MODES, draw, each_mode


def inputs(rng: np.random.Generator, mode: str, steps: int, directions: int) -> list[dd2424.Tensor]:
    """x, h, c and the parameters of a layer with 2 units."""
    parts = [draw(rng, mode, 2, 3, 2, np.float64) for _ in range(directions)]
    x = rng.standard_normal((steps, 2, 3))
    arrays = [x, *(np.stack([p[i] for p in parts]) for i in (0, 1)), *(a for p in parts for a in p[2])]
    return [dd2424.from_numpy(a).requires_grad_() for a in arrays if not (mode != "lstm" and a is arrays[2])]


def function(mode: str, **options: Any) -> Any:
    def run(x: dd2424.Tensor, h: dd2424.Tensor, *rest: dd2424.Tensor) -> Any:
        if mode == "lstm":
            return F.lstm(x, (h, rest[0]), rest[1:], **options)
        return getattr(F, mode)(x, h, rest, **options)

    return run


@each_mode
@pytest.mark.parametrize("bidirectional", [False, True])
def test_first_derivatives(rng, mode, bidirectional):
    assert gradcheck(function(mode, bidirectional=bidirectional), inputs(rng, mode, 3, 1 + bidirectional))


@each_mode
@pytest.mark.parametrize("bidirectional", [False, True])
def test_second_derivatives(rng, mode, bidirectional):
    run = function(mode, bidirectional=bidirectional)
    assert gradgradcheck(run, inputs(rng, mode, 2, 1 + bidirectional))


@pytest.mark.parametrize("mode", ["gru", "lstm"])
def test_derivatives_of_packed_sequences(rng, mode):
    values = inputs(rng, mode, 2, 2)
    rows = dd2424.from_numpy(rng.standard_normal((3, 3))).requires_grad_()
    run = function(mode, bidirectional=True, batch_sizes=dd2424.tensor([2, 1]))
    assert gradcheck(run, (rows, *values[1:]))
    assert gradgradcheck(run, (rows, *values[1:]))


def test_derivatives_of_projections(rng):
    network = nn.LSTM(3, 4, 2, proj_size=2, bidirectional=True).double()
    x = dd2424.from_numpy(rng.standard_normal((3, 2, 3))).requires_grad_()
    assert gradcheck(lambda *t: network(t[0])[0], (x, *network.parameters()))


@each_mode
def test_first_and_composed_gradients_agree(rng, mode):
    values = inputs(rng, mode, 3, 1)
    outputs = function(mode)(*values)
    loss = sum((o * o).sum() for o in outputs)
    fused = dd2424.autograd.grad(loss, values, retain_graph=True)
    composed = dd2424.autograd.grad(loss, values, create_graph=True)
    for a, b in zip(fused, composed, strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-11, atol=1e-13)


def test_inputs_that_depend_on_each_other_are_told_apart(rng):
    values = inputs(rng, "rnn_tanh", 2, 1)
    run = lambda x, h, *w: F.rnn_tanh(x * w[0].sum(), h + x.sum(), w)
    assert gradcheck(run, values)
    assert gradgradcheck(run, values)


@pytest.mark.parametrize("mode", MODES)
def test_forward_mode(rng, mode):
    values = inputs(rng, mode, 2, 1)
    run, v = function(mode), [dd2424.from_numpy(rng.standard_normal(t.shape)) for t in values]
    _, along = dd2424.autograd.functional.jvp(lambda *t: run(*t)[0], tuple(values), tuple(v))
    step = 1e-6
    ahead, behind = (run(*(t.detach() + s * d for t, d in zip(values, v, strict=True)))[0] for s in (step, -step))
    np.testing.assert_allclose(along.numpy(), (ahead - behind).numpy() / (2 * step), rtol=1e-6, atol=1e-8)


def test_truncated_backpropagation_carries_the_state_but_no_gradient(rng):
    network = nn.LSTM(3, 4)
    x = dd2424.from_numpy(rng.standard_normal((6, 2, 3)).astype(np.float32))
    whole, _ = network(x)
    first, state = network(x[:3])
    state = tuple(s.detach() for s in state)
    second, _ = network(x[3:], state)
    np.testing.assert_array_equal(dd2424.cat([first, second]).detach().numpy(), whole.detach().numpy())
    second.sum().backward()
    weight = network.weight_hh_l0.grad
    assert weight is not None
    assert weight.numpy().any()
    assert all(s.grad is None for s in state)


def test_an_output_changed_in_place_is_refused():
    y, _ = nn.RNN(2, 3)(dd2424.ones(4, 1, 2))
    y.mul_(2)
    with pytest.raises(RuntimeError, match=r"rnn_tanh.*modified by an in-place operation"):
        y.sum().backward()


def test_a_graph_serves_once_unless_it_is_kept():
    network = nn.GRU(2, 3)
    y, _ = network(dd2424.ones(4, 1, 2))
    y.sum().backward(retain_graph=True)
    first = network.weight_hh_l0.grad.clone()
    network.zero_grad()
    y.sum().backward()
    np.testing.assert_array_equal(first.numpy(), network.weight_hh_l0.grad.numpy())
    with pytest.raises(RuntimeError, match="freed"):
        y.sum().backward()
