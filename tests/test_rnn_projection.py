"""LSTMs whose output is projected: against the reference, in both directions, for any thread count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import same_for_any_threads
from dd2424 import functional as F
from dd2424.autograd import gradcheck, gradgradcheck
from reference import rnn as reference
from test_rnn import compare, leaves

# steps, batch, inputs, hidden, outputs: one step, one row, few rows, rows that are packed, rows that share cache sets
SIZES = [(1, 2, 3, 5, 2), (4, 1, 3, 100, 33), (3, 2, 4, 21, 20), (9, 17, 6, 33, 18), (2, 15, 3, 256, 64)]


def draw(rng: np.random.Generator, batch: int, inputs: int, hidden: int, outputs: int, dtype: Any = np.float32) -> Any:
    """h, c and w."""
    shapes = ((4 * hidden, inputs), (4 * hidden, outputs), (4 * hidden,), (4 * hidden,), (outputs, hidden))
    states = [rng.uniform(-1, 1, (batch, n)).astype(dtype) for n in (outputs, hidden)]
    return *states, [rng.uniform(-1, 1, shape).astype(dtype) * dtype(hidden**-0.5) for shape in shapes]


def run(x: Any, h: Any, c: Any, w: Any, **options: Any) -> Any:
    y, *last = F.lstm(x, (h.unsqueeze(0), c.unsqueeze(0)), w, **options)
    return y, [state.squeeze(0) for state in last]


@pytest.mark.parametrize(("steps", "batch", "inputs", "hidden", "outputs"), SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer_forward_and_backward(isa, rng, steps, batch, inputs, hidden, outputs, dtype):
    h, c, w = draw(rng, batch, inputs, hidden, outputs, dtype)
    x, dy = (rng.standard_normal((steps, batch, n)).astype(dtype) for n in (inputs, outputs))
    dhn, dcn = (rng.standard_normal((batch, n)).astype(dtype) for n in (outputs, hidden))
    t = leaves(x, h, c, *w)
    y, last = run(t[0], t[1], t[2], t[3:])
    sequences = [x[:, i].astype(np.float64) for i in range(batch)]
    wide = [a.astype(np.float64) for a in (h, c, *w)]
    ys, hn, cn = reference.layer("lstm", sequences, wide[0], wide[1], wide[2:])
    compare([y, *last], [np.stack(ys, 1), hn, cn], 16)
    dd2424.autograd.backward([y, *last], [dd2424.from_numpy(g) for g in (dy, dhn, dcn)])
    dys = [dy[:, i] for i in range(batch)]
    dx, dh, dc, dw = reference.gradients("lstm", sequences, wide[0], wide[1], wide[2:], dys, dhn, dcn)
    compare([v.grad for v in t], [np.stack(dx, 1), dh, dc, *dw], 32)


def test_packed_sequences_backwards(isa, rng):
    lengths, inputs, hidden, outputs = [5, 5, 3, 1], 4, 19, 6
    h, c, w = draw(rng, 4, inputs, hidden, outputs, np.float64)
    xs, dys = ([rng.standard_normal((n, features)) for n in lengths] for features in (inputs, outputs))
    pack = lambda parts: np.concatenate([[p[t] for p in parts if t < len(p)] for t in range(5)])
    sizes = dd2424.tensor([sum(n > t for n in lengths) for t in range(5)])
    t = leaves(pack(xs), h, c, *w)
    other = [v.detach() for v in t[3:]]  # that direction is not looked at
    hx = (t[1].expand((2, 4, outputs)), t[2].expand((2, 4, hidden)))
    y, *last = F.lstm(t[0], hx, [*other, *t[3:]], bidirectional=True, batch_sizes=sizes)
    y, last = y[:, outputs:], [state[-1] for state in last]
    ys, hn, cn = reference.layer("lstm", xs, h, c, w, True)
    compare([y, *last], [pack(ys), hn, cn], 16)
    dhn, dcn = rng.standard_normal((4, outputs)), rng.standard_normal((4, hidden))
    dd2424.autograd.backward([y, *last], [dd2424.from_numpy(g) for g in (pack(dys), dhn, dcn)])
    dx, dh, dc, dw = reference.gradients("lstm", xs, h, c, w, dys, dhn, dcn, True)
    compare([v.grad for v in t], [pack(dx), dh, dc, *dw], 32)


@pytest.mark.parametrize(("steps", "batch", "hidden", "outputs"), [(3, 33, 40, 20), (2, 2, 400, 100), (3, 1, 130, 70)])
def test_same_bits_for_any_threads(rng, steps, batch, hidden, outputs):
    h, c, w = draw(rng, batch, 20, hidden, outputs)
    x = rng.standard_normal((steps, batch, 20)).astype(np.float32)

    def pass_() -> Any:
        t = leaves(x, h, c, *w)
        y, last = run(t[0], t[1], t[2], t[3:])
        (y.square().sum() + sum(state.sum() for state in last)).backward()
        return [y.detach(), *(v.grad for v in t)]

    same_for_any_threads(pass_)


def test_the_kernel_agrees_with_its_operations(rng):
    arrays = draw(rng, 3, 4, 7, 5, np.float64)
    t = leaves(rng.standard_normal((4, 3, 4)), arrays[0], arrays[1], *arrays[2])
    y, last = run(t[0], t[1], t[2], t[3:])
    loss = sum((o * o).sum() for o in (y, *last))
    kernel = dd2424.autograd.grad(loss, t, retain_graph=True)
    composed = dd2424.autograd.grad(loss, t, create_graph=True)
    for a, b in zip(kernel, composed, strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-11, atol=1e-13)


def test_derivatives_by_finite_differences(rng):
    arrays = draw(rng, 2, 3, 4, 2, np.float64)
    t = leaves(rng.standard_normal((3, 2, 3)), arrays[0], arrays[1], *arrays[2])
    function = lambda x, h, c, *w: run(x, h, c, w)[0]
    assert gradcheck(function, t)
    assert gradgradcheck(function, t)


def test_bfloat16_is_rounded_once(rng):
    h, c, w = draw(rng, 2, 3, 8, 4)
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    narrow = [dd2424.from_numpy(a).bfloat16() for a in (x, h, c, *w)]
    wide = [a.float() for a in narrow]
    y, exact = (run(v[0], v[1], v[2], v[3:])[0] for v in (narrow, wide))
    assert y.dtype == dd2424.bfloat16
    np.testing.assert_array_equal(y.float().numpy(), exact.bfloat16().float().numpy())
