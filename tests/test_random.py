"""Random numbers: Philox word for word, the same at every level and for any threads, and distributed as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import Tensor
from reference import random as reference

# Known answers that come with Random123 (kat_vectors, philox4x32 10).
ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]  # fmt: skip
SEEDS = [0, 1, 2**32 + 5, 2**64 - 1]
COUNT = 1237  # past one chunk, with a tail


@pytest.mark.parametrize(("counter", "key", "answer"), ANSWERS)
def test_the_reference_gives_the_known_answers(counter, key, answer) -> None:
    assert tuple(reference.philox(counter, key)) == answer


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_uniform_word_for_word(isa: str, seed: int, dtype: str) -> None:
    dd2424.manual_seed(seed)
    for operation in range(2):
        drawn = dd2424.rand(COUNT, dtype=getattr(dd2424, dtype))
        np.testing.assert_array_equal(drawn.double().numpy(), reference.uniform(seed, operation, COUNT, dtype))


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_normal_by_box_muller(isa: str, seed: int) -> None:
    generator = dd2424.Generator().manual_seed(seed)
    assert_accurate(dd2424.randn(COUNT, generator=generator), reference.normal(seed, 0, COUNT), 4, scale=1e-3)


@pytest.mark.parametrize("bounds", [(0, 10), (-5, 6), (0, 2**40), (-(2**63), 2**63 - 1), (7, 8)])
def test_integers_word_for_word(isa: str, bounds: tuple[int, int]) -> None:
    dd2424.manual_seed(3)
    assert dd2424.randint(*bounds, (COUNT,)).tolist() == reference.integers(3, 0, COUNT, *bounds)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 1024, 2051])
def test_permutations_word_for_word(isa: str, count: int) -> None:
    dd2424.manual_seed(4)
    order = dd2424.randperm(count)
    assert order.tolist() == reference.permutation(4, 0, count)
    assert sorted(order.tolist()) == list(range(count))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_word_for_word(isa: str, rng: np.random.Generator, dtype: str, p: float) -> None:
    x = dd2424.from_numpy(rng.normal(size=(5, 247))).to(getattr(dd2424, dtype)).requires_grad_()
    dd2424.manual_seed(9)
    y = dd2424.nn.functional.dropout(x, p)
    keep = reference.kept(9, 0, x.numel(), p).reshape(5, 247) if p else np.ones((5, 247), bool)
    scale = 0 if p == 1 else 1 / (1 - p)
    assert_accurate(y, np.where(keep, x.detach().double().numpy() * scale, 0), 2)
    y.sum().backward()
    assert_accurate(x.grad, np.where(keep, scale, 0), 2)  # the mask is drawn again, not stored


ALL_DRAWS = {
    "rand": lambda: dd2424.rand(50_001),
    "randn": lambda: dd2424.randn(50_001),
    "randn64": lambda: dd2424.randn(5001, dtype=dd2424.float64),
    "randint": lambda: dd2424.randint(100, (50_001,)),
    "randperm": lambda: dd2424.randperm(5001),
    "bernoulli": lambda: dd2424.empty(50_001).bernoulli_(0.3),
    "exponential": lambda: dd2424.empty(5001).exponential_(2.0),
    "cauchy": lambda: dd2424.empty(5001).cauchy_(),
    "log_normal": lambda: dd2424.empty(5001).log_normal_(),
    "geometric": lambda: dd2424.empty(5001).geometric_(0.3),
    "dropout": lambda: dd2424.dropout(dd2424.ones(50_001), 0.4, True),
    "multinomial": lambda: dd2424.multinomial(dd2424.arange(1.0, 9.0), 100, replacement=True),
    "channels": lambda: dd2424.nn.functional.dropout2d(dd2424.ones(9, 17, 21, 21), 0.4),
    "normal": lambda: dd2424.normal(dd2424.arange(5001.0), 2.0),
    "bfloat16": lambda: dd2424.randn(5001, dtype=dd2424.bfloat16),
}


@pytest.mark.parametrize("name", ALL_DRAWS)
def test_same_bits_for_any_threads(name: str) -> None:
    same_for_any_threads(ALL_DRAWS[name])


@pytest.mark.parametrize("name", ["rand", "randn", "randint", "bernoulli", "exponential", "dropout", "bfloat16"])
def test_same_bits_at_every_level(isa: str, name: str) -> None:
    before = dd2424.get_isa()
    dd2424.manual_seed(5)
    here = bits(ALL_DRAWS[name]())
    dd2424.set_isa("generic")
    dd2424.manual_seed(5)
    there = bits(ALL_DRAWS[name]())
    dd2424.set_isa(before)
    assert here == there


def test_a_draw_is_a_function_of_place_not_of_memory() -> None:
    def fill(x: Tensor) -> list:
        return x.normal_(generator=dd2424.Generator().manual_seed(1)).tolist()

    plain = fill(dd2424.empty(6, 4))
    assert fill(dd2424.empty(4, 6).T) == plain
    assert fill(dd2424.empty(6, 8)[:, ::2]) == plain
    assert dd2424.randn(24, generator=dd2424.Generator().manual_seed(1)).reshape(6, 4).tolist() == plain


# mean, variance and a bound that holds of every draw
MOMENTS = [
    ("rand", lambda n: dd2424.rand(n), 0.5, 1 / 12, (0, 1)),
    ("randn", lambda n: dd2424.randn(n), 0, 1, (-8, 8)),
    ("uniform_", lambda n: dd2424.empty(n).uniform_(-2, 3), 0.5, 25 / 12, (-2, 3)),
    ("normal_", lambda n: dd2424.empty(n).normal_(1, 3), 1, 9, (-30, 30)),
    ("randint", lambda n: dd2424.randint(0, 10, (n,)).double(), 4.5, 99 / 12, (0, 10)),
    ("bernoulli", lambda n: dd2424.bernoulli(dd2424.full((n,), 0.3)), 0.3, 0.21, (0, 1.1)),
    ("bernoulli_", lambda n: dd2424.empty(n).bernoulli_(0.3), 0.3, 0.21, (0, 1.1)),
    ("exponential_", lambda n: dd2424.empty(n).exponential_(2.0), 0.5, 0.25, (0, 50)),
    ("geometric_", lambda n: dd2424.empty(n).geometric_(0.25), 4, 12, (1, 500)),
    ("log_normal_", lambda n: dd2424.empty(n).log_normal_(0, 0.5), math.exp(0.125), 0.3647, (0, 100)),
    ("random_", lambda n: dd2424.empty(n).random_(5), 2, 2, (0, 5)),
    ("normal", lambda n: dd2424.normal(dd2424.full((n,), 2.0), dd2424.full((n,), 0.5)), 2, 0.25, (-4, 8)),
    ("randn64", lambda n: dd2424.randn(n, dtype=dd2424.float64), 0, 1, (-9, 9)),
    ("rand64", lambda n: dd2424.rand(n, dtype=dd2424.float64), 0.5, 1 / 12, (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "draw", "mean", "variance", "bound"), MOMENTS, ids=[case[0] for case in MOMENTS])
def test_moments(name: str, draw, mean: float, variance: float, bound: tuple[float, float]) -> None:
    """Within five standard errors; the seed is fixed, so that this either holds or does not."""
    n = 200_000
    x = draw(n).double().numpy()
    assert bound[0] <= x.min()
    assert x.max() < bound[1]
    assert abs(x.mean() - mean) < 5 * math.sqrt(variance / n)
    fourth = ((x - mean) ** 4).mean()
    assert abs(((x - mean) ** 2).mean() - variance) < 5 * math.sqrt((fourth - variance**2) / n) + 1e-3 * variance


def test_normal_tails_and_independence() -> None:
    x = dd2424.randn(400_000).numpy().astype(np.float64)
    for level, share in ((1, 0.3173105), (2, 0.0455003), (3, 0.0026998)):
        seen = (np.abs(x) > level).mean()
        assert abs(seen - share) < 5 * math.sqrt(share / len(x))
    for lag in (1, 2, 3, 4, 1024):  # pairs share a radius, chunks a counter
        assert abs((x[lag:] * x[:-lag]).mean()) < 5 / math.sqrt(len(x))
        assert abs((x[lag:] ** 2 * x[:-lag] ** 2).mean() - 1) < 15 / math.sqrt(len(x))


def test_cauchy_by_quartiles() -> None:
    x = dd2424.empty(100_000).cauchy_(1.0, 2.0).numpy()
    np.testing.assert_allclose(np.quantile(x, [0.25, 0.5, 0.75]), [-1, 1, 3], atol=0.05)


def test_permutations_are_even() -> None:
    seen = {tuple(dd2424.randperm(3).tolist()): 0 for _ in range(100)}
    assert len(seen) == 6
    places = sum((dd2424.randperm(5) == 0).long() for _ in range(2000))
    assert (dd2424.abs(places - 400) < 5 * math.sqrt(400 * 0.8)).all()


def test_uniform_stays_below_its_end(isa: str) -> None:
    """Rounding must not reach it: 24 bits over a range that has fewer to spare."""
    for dtype in (dd2424.float32, dd2424.float64, dd2424.bfloat16):
        x = dd2424.empty(100_000, dtype=dtype).uniform_(1.0, 1.0 + 4 * dd2424.finfo(dtype).eps)
        assert x.min().item() >= 1
        assert x.max().item() < 1 + 4 * dd2424.finfo(dtype).eps
    assert dd2424.empty(3).uniform_(2, 2).tolist() == [2, 2, 2]
