"""Generators and their state, sampling by weights, dropout, and refusals."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

import dd2424
import dd2424.nn.functional as F
from accuracy import bits
from dd2424.autograd import gradcheck, gradgradcheck


def test_a_seed_is_a_sequence() -> None:
    assert dd2424.manual_seed(7) is dd2424.default_generator
    first = [bits(dd2424.randn(5)), bits(dd2424.rand(5)), bits(dd2424.randperm(5))]
    assert first[0] != bits(dd2424.randn(5))
    dd2424.manual_seed(7)
    assert first == [bits(dd2424.randn(5)), bits(dd2424.rand(5)), bits(dd2424.randperm(5))]
    assert dd2424.initial_seed() == 7
    assert dd2424.manual_seed(-1).initial_seed() == 2**64 - 1


def test_generators_have_their_own_state() -> None:
    dd2424.manual_seed(1)
    a, b = dd2424.Generator().manual_seed(1), dd2424.Generator().manual_seed(2)
    drawn = [bits(dd2424.rand(3, generator=g)) for g in (a, b, None)]
    assert drawn[0] == drawn[2] != drawn[1]
    state = a.get_state()
    ahead = bits(dd2424.randn(4, generator=a))
    a.set_state(state)
    assert bits(dd2424.randn(4, generator=a)) == ahead
    with pytest.raises(TypeError, match="set_state: state must be what get_state"):
        a.set_state(dd2424.ones(2))


def test_state_of_the_default_generator() -> None:
    state = dd2424.get_rng_state()
    x = bits(dd2424.rand(3))
    dd2424.set_rng_state(state)
    assert bits(dd2424.rand(3)) == x


def test_seeding_from_the_system() -> None:
    seeds = {dd2424.seed(), dd2424.seed(), dd2424.Generator().seed(), dd2424.Generator().seed()}
    assert len(seeds) == 4
    chosen = dd2424.seed()
    assert dd2424.initial_seed() == chosen


def test_threads_draw_different_numbers() -> None:
    drawn: list[tuple] = []
    threads = [threading.Thread(target=lambda: drawn.extend(bits(dd2424.rand(4)) for _ in range(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 200


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool"])
def test_filling_every_dtype(dtype: str) -> None:
    x = dd2424.zeros(100, dtype=getattr(dd2424, dtype))
    assert x.bernoulli_(0.5) is x
    assert 20 < x.float().sum().item() < 80
    assert set(x.float().tolist()) == {0.0, 1.0}
    if dtype not in ("bool", "float16"):
        top = dd2424.zeros(1000, dtype=x.dtype).random_().double().max().item()
        limit = {
            "float32": 2.0**24,
            "float64": 2.0**53,
            "bfloat16": 256,
            "int64": 2.0**63,
            "int32": 2.0**31,
            "uint8": 255,
        }[dtype]
        assert 0.9 * limit < top <= limit


def test_like_forms() -> None:
    x = dd2424.zeros(3, 4, dtype=dd2424.float64)
    assert (dd2424.rand_like(x).dtype, dd2424.randn_like(x).shape) == (x.dtype, x.shape)
    assert dd2424.rand_like(x, dtype=dd2424.float32).dtype == dd2424.float32
    assert dd2424.randint_like(x, 5).max().item() < 5
    assert dd2424.randint_like(dd2424.zeros(9, dtype=dd2424.int32), 3, 4).tolist() == [3] * 9
    assert dd2424.randn(2, 3, requires_grad=True).requires_grad


# Sampling by weights.


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_follows_its_weights(replacement: bool) -> None:
    weights = dd2424.tensor([1.0, 0.0, 3.0, 6.0])
    rows = dd2424.multinomial(weights.expand(20_000, 4), 1, replacement)
    shares = dd2424.bincount(rows.reshape(-1), minlength=4).numpy() / 20_000
    np.testing.assert_allclose(shares, [0.1, 0, 0.3, 0.6], atol=0.02)


def test_multinomial_without_replacement_repeats_nothing() -> None:
    rows = dd2424.multinomial(dd2424.rand(50, 7) + 0.01, 7)
    assert dd2424.sort(rows, 1).values.tolist() == [list(range(7))] * 50
    assert dd2424.multinomial(dd2424.tensor([0.0, 1.0, 1.0]), 2).sort().values.tolist() == [1, 2]
    assert dd2424.tensor([1.0, 1e-30]).multinomial(5, replacement=True).tolist() == [0] * 5


def test_bernoulli_by_element() -> None:
    p = dd2424.tensor([0.0, 1.0, 0.5]).expand(3000, 3)
    means = dd2424.bernoulli(p).mean(0).tolist()
    assert means[:2] == [0, 1]
    assert abs(means[2] - 0.5) < 0.05
    assert dd2424.bernoulli(dd2424.zeros(2000, dtype=dd2424.int64), 0.5).sum().item() > 800
    assert dd2424.zeros(3).bernoulli_(dd2424.tensor([1.0, 0.0, 1.0])).tolist() == [1, 0, 1]


# Dropout.


def test_dropout_outside_training_changes_nothing() -> None:
    x = dd2424.ones(5)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).tolist() == [0] * 5


@pytest.mark.parametrize(
    ("drop", "shape"), [(F.dropout1d, (50, 8, 5)), (F.dropout2d, (50, 8, 3, 5)), (F.dropout3d, (50, 8, 2, 3, 2))]
)
def test_channels_are_dropped_whole(drop, shape: tuple[int, ...]) -> None:
    y = drop(dd2424.ones(shape), 0.25).reshape(400, -1)
    assert dd2424.equal(y, y[:, :1].expand(y.shape))
    assert 0.6 < (y[:, 0] > 0).float().mean().item() < 0.9
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert drop(dd2424.ones(shape[1:]), 0.5).shape == shape[1:]


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = dd2424.randn(200_000)
    for drop in (F.alpha_dropout, F.feature_alpha_dropout):
        y = drop(x.reshape(2000, 100), 0.3, training=True)
        assert abs(y.mean().item()) < 0.02
        assert abs(y.var().item() - 1) < 0.02


def test_dropout_in_place() -> None:
    x = dd2424.ones(1000)
    assert F.dropout(x, 0.5, inplace=True) is x
    assert set(x.tolist()) == {0, 2}


def test_dropout_layouts_share_their_mask() -> None:
    """Drawn by index: a transposed input loses the same elements."""
    x = dd2424.arange(1.0, 121).reshape(2, 3, 4, 5)
    last = x.contiguous(memory_format=dd2424.channels_last)
    results = []
    for t in (x, last):
        dd2424.manual_seed(1)
        results.append(F.dropout(t, 0.5))
    assert results[1].stride() == last.stride()
    assert dd2424.equal(*results)


def test_dropout_gradients(rng: np.random.Generator) -> None:
    x = dd2424.from_numpy(rng.normal(size=(4, 3, 2, 2))).requires_grad_()

    def seeded(drop):
        def run(t):
            dd2424.manual_seed(3)
            return drop(t, 0.4, training=True) ** 2

        return run

    for drop in (F.dropout, F.dropout2d, F.alpha_dropout):
        assert gradcheck(seeded(drop), x)
        assert gradgradcheck(seeded(drop), x)
    assert gradcheck(lambda t: seeded(F.dropout)(t.permute(1, 0, 2, 3)), x)


REFUSALS = [
    (lambda: dd2424.rand(2, dtype=dd2424.int64), RuntimeError, "rand: dtype must be a floating-point type"),
    (
        lambda: dd2424.randn_like(dd2424.tensor([1])),
        NotImplementedError,
        "randn_like: dtype must be a floating-point type",
    ),
    (lambda: dd2424.randint(5, 5, (2,)), RuntimeError, "randint: high must be larger than low, got low 5 and high 5"),
    (
        lambda: dd2424.randint(0, 300, (2,), dtype=dd2424.uint8),
        RuntimeError,
        "randint: low and high must lie within dd2424.uint8",
    ),
    (lambda: dd2424.randint(5), TypeError, "randint: size must be given"),
    (lambda: dd2424.randperm(-1), RuntimeError, "randperm: n must not be negative, got -1"),
    (lambda: dd2424.bernoulli(dd2424.tensor([1.5])), RuntimeError, "bernoulli: p must hold probabilities from 0 to 1"),
    (
        lambda: dd2424.bernoulli(dd2424.tensor([math.nan])),
        RuntimeError,
        "bernoulli: p must hold probabilities from 0 to 1",
    ),
    (
        lambda: dd2424.empty(2).bernoulli_(-0.1),
        RuntimeError,
        "bernoulli_: p must be a probability from 0 to 1, got -0.1",
    ),
    (lambda: dd2424.empty(2).uniform_(2, 1), RuntimeError, "uniform_: from must not be larger than to"),
    (lambda: dd2424.empty(2).normal_(0, -1), RuntimeError, "normal_: std must not be negative, got -1"),
    (lambda: dd2424.empty(2).exponential_(0), RuntimeError, "exponential_: lambd must be positive, got 0"),
    (lambda: dd2424.empty(2).geometric_(1), RuntimeError, "geometric_: p must lie between 0 and 1, got 1"),
    (lambda: dd2424.normal(0.0, -1.0, (2,)), RuntimeError, "normal: std must not be negative"),
    (lambda: dd2424.normal(0.0, 1.0), TypeError, "normal: size must be given"),
    (
        lambda: dd2424.multinomial(dd2424.ones(2), 3),
        RuntimeError,
        "multinomial: num_samples must be at most the weights",
    ),
    (lambda: dd2424.multinomial(-dd2424.ones(2), 1), RuntimeError, "multinomial: weights must be finite, none below 0"),
    (lambda: dd2424.multinomial(dd2424.zeros(2), 1), RuntimeError, "multinomial: weights must be finite"),
    (lambda: dd2424.multinomial(dd2424.tensor([1, 2]), 1), RuntimeError, "multinomial: input must hold floats"),
    (lambda: F.dropout(dd2424.ones(2), 1.5), ValueError, "dropout: p must be between 0 and 1, got 1.5"),
    (lambda: F.dropout2d(dd2424.ones(2), 0.5), RuntimeError, "dropout2d: input must have 3 or 4 dimensions, got 1"),
    (lambda: dd2424.ones(2, requires_grad=True).normal_(), RuntimeError, "a leaf that requires a gradient"),
    (lambda: dd2424.rand(2, device="cuda"), RuntimeError, "cuda"),
    (lambda: dd2424.rand(-1), RuntimeError, "shape must have no negative size"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS, ids=[m for _, _, m in REFUSALS])
def test_refuses(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
