"""Recurrent layers against a loop over sequences and steps in float64, at every ISA level and any thread count."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, same_for_any_threads
from dd2424 import functional as F
from reference import rnn as reference

MODES = list(reference.GATES)
# steps, batch, inputs, hidden: tails of vectors and of tiles, one row, more rows than a tile has, many in all, and rows
# of gates that would share cache sets
SIZES = [
    (1, 1, 1, 1), (3, 2, 5, 7), (4, 1, 3, 100), (2, 3, 4, 130), (3, 17, 6, 33), (1, 5, 4, 9), (8, 18, 5, 20),
    (9, 15, 3, 64), (1, 2, 3, 256),
]  # fmt: skip
each_mode = pytest.mark.parametrize("mode", MODES)


def draw(rng: np.random.Generator, mode: str, batch: int, inputs: int, hidden: int, dtype: Any = np.float32) -> Any:
    """h, c and w."""
    sums, scale = reference.GATES[mode] * hidden, 1 / np.sqrt(hidden)
    shapes = ((batch, hidden), (batch, hidden), (sums, inputs), (sums, hidden), (sums,), (sums,))
    h, c, *w = (
        rng.uniform(-1, 1, shape).astype(dtype) * dtype(scale if i > 1 else 1) for i, shape in enumerate(shapes)
    )
    return h, c, w


def run(mode: str, x: Any, h: Any, c: Any, w: Any, **options: Any) -> Any:
    """y, and the last h and c, each of a single layer in one direction."""
    hx = (h.unsqueeze(0), c.unsqueeze(0)) if mode == "lstm" else h.unsqueeze(0)
    y, *last = getattr(F, mode)(x, hx, w, **options)
    return y, [state.squeeze(0) for state in last]


def leaves(*arrays: Any) -> Any:
    return [dd2424.from_numpy(a.copy()).requires_grad_() for a in arrays]


def compare(actual: Any, expected: Any, roundings: float) -> None:
    """Errors are measured by the largest element: sums over steps cancel."""
    for a, e in zip(actual, expected, strict=True):
        assert_accurate(a, np.asarray(e), roundings, scale=np.abs(e).max(initial=1e-30))


@each_mode
@pytest.mark.parametrize(("steps", "batch", "inputs", "hidden"), SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer_forward_and_backward(isa, rng, mode, steps, batch, inputs, hidden, dtype):
    h, c, w = draw(rng, mode, batch, inputs, hidden, dtype)
    x, dy = (rng.standard_normal((steps, batch, n)).astype(dtype) for n in (inputs, hidden))
    dhn, dcn = rng.standard_normal((2, batch, hidden)).astype(dtype)
    t = leaves(x, h, c, *w)
    y, last = run(mode, t[0], t[1], t[2], t[3:])
    by_sequence = [x[:, i].astype(np.float64) for i in range(batch)]
    wide = [a.astype(np.float64) for a in (h, c, *w)]
    ys, hn, cn = reference.layer(mode, by_sequence, wide[0], wide[1], wide[2:])
    states = 2 if mode == "lstm" else 1
    compare([y, *last], [np.stack(ys, 1), hn, cn][: 1 + states], 16)
    dd2424.autograd.backward([y, *last], [dd2424.from_numpy(g) for g in (dy, dhn, dcn)[: 1 + states]])
    dx, dh, dc, dw = reference.gradients(
        mode, by_sequence, wide[0], wide[1], wide[2:], [dy[:, i] for i in range(batch)], dhn, dcn
    )
    expected = [np.stack(dx, 1), dh, *([dc] if states == 2 else []), *dw]
    compare([v.grad for v in t if v.grad is not None], expected, 32)


@each_mode
@pytest.mark.parametrize("reverse", [False, True])
def test_packed_sequences_in_both_directions(isa, rng, mode, reverse):
    lengths, inputs, hidden = [5, 5, 3, 1], 4, 19
    h, c, w = draw(rng, mode, 4, inputs, hidden, np.float64)
    other = draw(rng, mode, 4, inputs, hidden, np.float64)[2]
    xs, dys = ([rng.standard_normal((n, features)) for n in lengths] for features in (inputs, hidden))
    pack = lambda parts: np.concatenate([[p[t] for p in parts if t < len(p)] for t in range(5)])
    sizes = dd2424.tensor([sum(n > t for n in lengths) for t in range(5)])
    t = leaves(pack(xs), h, c, *w)
    both = [*map(dd2424.from_numpy, other), *t[3:]] if reverse else t[3:]  # the other direction is not looked at
    hx = [v.expand((1 + reverse, 4, hidden)) for v in t[1:3]]
    y, *last = getattr(F, mode)(t[0], hx if mode == "lstm" else hx[0], both, bidirectional=reverse, batch_sizes=sizes)
    y, last = y[:, hidden:] if reverse else y, [state[-1] for state in last]
    ys, hn, cn = reference.layer(mode, xs, h, c, w, reverse)
    compare([y, *last], [pack(ys), hn, cn][: 1 + len(last)], 16)
    dhn, dcn = rng.standard_normal((2, 4, hidden))
    dd2424.autograd.backward([y, *last], [dd2424.from_numpy(g) for g in (pack(dys), dhn, dcn)[: 1 + len(last)]])
    dx, dh, dc, dw = reference.gradients(mode, xs, h, c, w, dys, dhn, dcn, reverse)
    expected = [pack(dx), dh, *([dc] if len(last) == 2 else []), *dw]
    compare([v.grad for v in t if v.grad is not None], expected, 32)


@pytest.mark.parametrize("mode", ["gru", "lstm", "rnn_tanh"])
@pytest.mark.parametrize(("steps", "batch", "hidden"), [(3, 33, 40), (2, 2, 400), (3, 1, 50), (3, 1, 130)])
def test_same_bits_for_any_threads(rng, mode, steps, batch, hidden):
    h, c, w = draw(rng, mode, batch, 20, hidden)
    x = rng.standard_normal((steps, batch, 20)).astype(np.float32)

    def pass_() -> Any:
        t = leaves(x, h, c, *w)
        y, last = run(mode, t[0], t[1], t[2], t[3:])
        (y.square().sum() + sum(state.sum() for state in last)).backward()
        return [y.detach(), *(v.grad for v in t if v.grad is not None)]

    same_for_any_threads(pass_)


@each_mode
def test_bfloat16_is_rounded_once(rng, mode):
    h, c, w = draw(rng, mode, 2, 3, 8, np.float32)
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    args = [dd2424.from_numpy(a).bfloat16().requires_grad_() for a in (x, h, c, *w)]
    wide = [a.detach().float().requires_grad_() for a in args]
    y, exact = (run(mode, t[0], t[1], t[2], t[3:])[0] for t in (args, wide))
    assert y.dtype == dd2424.bfloat16
    assert_accurate(y, exact.detach().numpy(), 1, scale=1.0)
    (y.sum() + exact.sum()).backward()
    for half, single in zip(args, wide, strict=True):
        assert (half.grad is None) == (single.grad is None)
        if half.grad is not None:
            assert_accurate(half.grad, single.grad.numpy(), 2)


@each_mode
@pytest.mark.parametrize("batch", [2, 40])  # few rows, and as many as are gathered for one product
def test_a_gradient_does_not_depend_on_which_others_are_wanted(rng, mode, batch):
    h, c, w = draw(rng, mode, batch, 3, 5)
    x = rng.standard_normal((4, batch, 3)).astype(np.float32)
    t = [dd2424.from_numpy(a) for a in (x, h, c, *w)]
    t[4].requires_grad_()
    y, _ = run(mode, t[0], t[1], t[2], t[3:])
    (alone,) = dd2424.autograd.grad(y.sum(), [t[4]], retain_graph=True)
    for v in (t[0], t[1], *t[3:]):
        v.requires_grad_()
    y, _ = run(mode, t[0], t[1], t[2], t[3:])
    together = dd2424.autograd.grad(y.sum(), [t[0], t[1], *t[3:]])
    np.testing.assert_array_equal(alone.numpy(), together[3].numpy())


def test_strided_inputs_and_weights(rng):
    h, c, w = draw(rng, "lstm", 2, 3, 5)
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    plain = run("lstm", *map(dd2424.from_numpy, (x, h, c)), [dd2424.from_numpy(a) for a in w])
    strided = lambda a: dd2424.from_numpy(np.repeat(a, 2, -1))[..., ::2]
    turned = lambda a: dd2424.from_numpy(np.ascontiguousarray(a.T)).T
    y, last = run("lstm", strided(x), strided(h), turned(c), [turned(a) for a in w])
    for a, b in zip([y, *last], [plain[0], *plain[1]], strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects a page by Linux's numbers")
@each_mode
@pytest.mark.parametrize("hidden", [1, 3, 15, 17, 33, 100])
def test_weights_are_not_read_beyond_their_end(isa, rng, mode, hidden):
    h, c, w = draw(rng, mode, 1, 2, hidden)
    x = rng.standard_normal((2, 1, 2)).astype(np.float32)
    room = -(-w[1].nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + mmap.PAGESIZE)
    whole = np.frombuffer(memory, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    end = ctypes.c_void_p(whole.ctypes.data + room)
    assert libc.mprotect(end, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0  # PROT_NONE
    at_end = whole[room - w[1].nbytes : room].view(np.float32).reshape(w[1].shape)
    at_end[:] = w[1]

    def gradients(hh: Any) -> Any:
        t = leaves(x, h, c, w[0])
        y, _ = run(mode, t[0], t[1], t[2], [t[3], hh, *map(dd2424.from_numpy, w[2:])])
        y.sum().backward()
        return [y.detach().numpy(), *(v.grad.numpy() for v in t if v.grad is not None)]

    for a, b in zip(gradients(dd2424.from_numpy(at_end)), gradients(dd2424.from_numpy(w[1])), strict=True):
        np.testing.assert_array_equal(a, b)


def test_batch_of_none(rng):
    h, c, w = draw(rng, "gru", 0, 3, 5)
    t = leaves(np.zeros((4, 0, 3), np.float32), h, *w)
    y, last = run("gru", t[0], t[1], c, t[2:])
    (y.sum() + last[0].sum()).backward()
    assert y.shape == (4, 0, 5)
    assert all(not v.grad.numpy().any() for v in t)
