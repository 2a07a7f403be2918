"""Recurrent layers on a GPU, real or emulated, against the processor's kernels and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from dd2424 import Tensor, nn
from dd2424.autograd import gradcheck, gradgradcheck
from on_gpu import as_float, needs_gpu
from test_rnn import draw, each_mode
from test_rnn_gradients import function, inputs

pytestmark = needs_gpu
# steps, batch, inputs, hidden. A block has 8 units and tiles of 16 sequences. The emulated GPU runs 8 blocks at once,
# which make all steps in one launch: few blocks have more than a tile each, and where there are more than 8, each step
# has a launch of its own, as a single step has.
SIZES = [(1, 1, 1, 1), (1, 3, 4, 9), (3, 2, 5, 7), (2, 67, 6, 5), (3, 3, 4, 36), (3, 18, 2, 33), (2, 2, 3, 66)]
LARGE = [("gru", 3072, 17), ("lstm", 3072, 17), ("rnn_tanh", 6100, 2)]  # batch, hidden


def steps_of(mode: str, device: str, arrays: Any, gradients: Any, **options: Any) -> list[Tensor]:
    """All results of a layer, and the gradients by all it was given."""
    t = [dd2424.from_numpy(a).to(device).detach().requires_grad_() for a in arrays if a is not None]
    results = function(mode, **options)(*t)
    dd2424.autograd.backward(list(results), [dd2424.from_numpy(g).to(device) for g in gradients[: len(results)]])
    return [as_float(r) for r in (*results, *(x.grad for x in t))]


def drawn(rng: np.random.Generator, mode: str, rows: Any, batch: int, hidden: int, dtype: Any, each: int = 1) -> Any:
    """What a layer of `each` directions is given, rows being the shape of x; and gradients of its results."""
    parts = [draw(rng, mode, batch, rows[-1], hidden, dtype) for _ in range(each)]
    h, c = (np.stack([p[i] for p in parts]) for i in (0, 1))
    arrays = [
        rng.standard_normal(rows).astype(dtype),
        h,
        c if mode == "lstm" else None,
        *(a for p in parts for a in p[2]),
    ]
    shapes = ((*rows[:-1], each * hidden), h.shape, h.shape)
    return arrays, [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def compare(gpu: Any, here: Any, roundings: float = 64) -> None:
    for a, b in zip(gpu, here, strict=True):
        assert_accurate(a, b.numpy().astype(np.float64), roundings, scale=np.abs(b.numpy()).max(initial=1e-30))


@each_mode
@pytest.mark.parametrize(("steps", "batch", "features", "hidden"), SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer_as_on_the_processor(rng, mode, steps, batch, features, hidden, dtype):
    given = drawn(rng, mode, (steps, batch, features), batch, hidden, dtype)
    compare(steps_of(mode, "cuda", *given), steps_of(mode, "cpu", *given))


@pytest.mark.slow
@each_mode
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_of_many_units(rng, mode, dtype):
    given = drawn(rng, mode, (2, 417, 1), 417, 36, dtype)  # more than 128 blocks of few
    compare(steps_of(mode, "cuda", *given), steps_of(mode, "cpu", *given), 256)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "batch", "hidden"), LARGE)
def test_a_launch_for_each_of_two_large_steps(rng, mode, batch, hidden):
    sizes = [batch, batch - 1]
    given = drawn(rng, mode, (sum(sizes), 1), batch, hidden, np.float64)
    options = {"batch_sizes": dd2424.tensor(sizes)}
    compare(steps_of(mode, "cuda", *given, **options), steps_of(mode, "cpu", *given, **options), 512)


@each_mode
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_directions(rng, mode, dtype):
    given = drawn(rng, mode, (4, 3, 2), 3, 6, dtype, each=2)
    options = {"bidirectional": True}
    compare(steps_of(mode, "cuda", *given, **options), steps_of(mode, "cpu", *given, **options))


@each_mode
def test_packed_sequences_in_both_directions(rng, mode):
    sizes = [66, 65, 2, 1]  # of two tiles of sequences, one ends early
    given = drawn(rng, mode, (sum(sizes), 2), 66, 5, np.float32, each=2)
    options = {"bidirectional": True, "batch_sizes": dd2424.tensor(sizes)}
    compare(steps_of(mode, "cuda", *given, **options), steps_of(mode, "cpu", *given, **options))


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_networks_of_layers(rng, kind, dtype):
    dd2424.manual_seed(2)
    here = kind(3, 6, 2, bidirectional=True, batch_first=True).to(getattr(dd2424, dtype))
    gpu = kind(3, 6, 2, bidirectional=True, batch_first=True).to(getattr(dd2424, dtype)).cuda()
    gpu.load_state_dict(here.state_dict())
    x = dd2424.from_numpy(rng.standard_normal((2, 4, 3)).astype(np.float32)).to(getattr(dd2424, dtype))
    y, z = here(x)[0], gpu(x.cuda())[0]
    y.float().square().sum().backward(), z.float().square().sum().backward()
    pairs = [(z, y), *((p.grad, q.grad) for p, q in zip(gpu.parameters(), here.parameters(), strict=True))]
    for a, b in pairs:
        roundings = 2**18 if dtype == "bfloat16" else 64
        expected = as_float(b).numpy().astype(np.float64)
        assert_accurate(as_float(a), expected, roundings, scale=np.abs(expected).max())


def test_projections_and_cells(rng):
    network = nn.LSTM(3, 6, proj_size=2)
    x = dd2424.from_numpy(rng.standard_normal((3, 2, 3)).astype(np.float32))
    y = network(x)[0]
    network.cuda()
    compare([network(x.cuda())[0].detach().cpu()], [y.detach()])
    for cell in (nn.RNNCell(3, 5), nn.GRUCell(3, 5), nn.LSTMCell(3, 5)):
        y = cell(x[0])
        z = cell.cuda()(x[0].cuda())
        first = (z, y) if isinstance(y, Tensor) else (z[1], y[1])
        compare([first[0].detach().cpu()], [first[1].detach()])


@pytest.mark.parametrize("missing", [0, 1])
def test_gradients_of_some_results(rng, missing):
    arrays, _ = drawn(rng, "gru", (3, 2, 4), 2, 5, np.float32)
    grads = []
    for device in ("cpu", "cuda"):
        t = [dd2424.from_numpy(a).to(device).requires_grad_() for a in arrays if a is not None]
        function("gru")(*t)[missing].sum().backward()
        grads.append([x.grad.cpu() for x in t])
    compare(grads[1], grads[0])


def test_without_biases(rng):
    arrays, gradients = drawn(rng, "gru", (3, 2, 4), 2, 5, np.float32)
    given = arrays[:5], gradients
    compare(steps_of("gru", "cuda", *given, has_biases=False), steps_of("gru", "cpu", *given, has_biases=False))


def of_inputs(rng: np.random.Generator, mode: str, rows: tuple[int, ...], **options: Any) -> Any:
    """A layer as a function of its sequences and first state alone, and those."""
    each = 1 + options.get("bidirectional", False)
    _, h, *rest = (t.detach().cuda() for t in inputs(rng, mode, 2, each))
    x = dd2424.from_numpy(rng.standard_normal(rows)).cuda()
    run = function(mode, **options)
    return lambda *t: run(*t, *rest), (x.requires_grad_(), h.requires_grad_())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["gru", "lstm"])
def test_derivatives(rng, mode):
    assert gradcheck(*of_inputs(rng, mode, (2, 2, 3)))
    options = {"bidirectional": True, "batch_sizes": dd2424.tensor([2, 1])}
    assert gradcheck(*of_inputs(rng, mode, (3, 3), **options))


@pytest.mark.slow
def test_second_derivatives(rng):
    assert gradgradcheck(*of_inputs(rng, "gru", (1, 2, 3)))


@each_mode
def test_same_bits_again(rng, mode):
    given = drawn(rng, mode, (3, 5, 4), 5, 9, np.float32)
    once = bits([t.numpy() for t in steps_of(mode, "cuda", *given)])
    assert bits([t.numpy() for t in steps_of(mode, "cuda", *given)]) == once


def test_a_batch_of_none():
    network = nn.LSTM(3, 5).cuda()
    y, (h, c) = network(dd2424.ones(2, 0, 3, device="cuda"))
    assert (y.shape, h.shape, c.shape) == ((2, 0, 5), (1, 0, 5), (1, 0, 5))


def test_refusals():
    network = nn.GRU(3, 5).cuda()
    with pytest.raises(RuntimeError, match="device"):
        network(dd2424.ones(2, 1, 3))
    with pytest.raises(RuntimeError, match="batch_sizes must be in the host's memory"):
        dd2424.functional.gru(
            dd2424.ones(3, 3, device="cuda"), dd2424.ones(1, 2, 5, device="cuda"), list(network.parameters()),
            batch_sizes=dd2424.tensor([2, 1]).cuda(),
        )  # fmt: skip
