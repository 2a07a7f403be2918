"""Samplers: every index once, at random or by weight, as a function of seed and epoch alone."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
from accuracy import same_for_any_threads
from dd2424.data import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from dd2424.data.seeds import draw_seed, random_bits, shuffle, uniform

FIRST = [1, 6, 2, 9, 8, 5, 0, 11, 7, 4, 3, 10]
LAST = [0, 3, 1, 2, 0, 3, 1, 2]
BITS = [5705853004827290377, 6584680345644299050]


def test_sequential():
    assert list(SequentialSampler("abcd")) == [0, 1, 2, 3]
    assert len(SequentialSampler([])) == 0


@pytest.mark.parametrize("count", [1, 2, 97, 4096])
def test_random_takes_each_index_once(count):
    sampler = RandomSampler(range(count), generator=7)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(count))
    assert first != second or count < 3


def test_an_epoch_depends_on_seed_and_number_alone():
    sampler = RandomSampler(range(100), generator=7)
    epochs = [list(sampler) for _ in range(3)]
    other = RandomSampler(range(100), generator=7)
    other.set_epoch(2)
    dd2424.rand(5)
    assert list(other) == epochs[2]
    assert list(RandomSampler(range(100), generator=8)) != epochs[0]


def test_the_same_order_for_any_threads():
    order = same_for_any_threads(lambda: np.array(list(RandomSampler(range(50_000)))))
    assert sorted(order.tolist()) == list(range(50_000))


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64 - 1, 10**30])
def test_any_int_is_a_seed(seed):
    assert list(RandomSampler(range(9), generator=seed)) == list(RandomSampler(range(9), generator=seed))


def test_seeds_come_from_generators():
    assert draw_seed(np.random.default_rng(0)) == draw_seed(np.random.default_rng(0))
    assert draw_seed(dd2424.Generator().manual_seed(1)) == draw_seed(dd2424.Generator().manual_seed(1))
    dd2424.manual_seed(4)
    first, second = draw_seed(), draw_seed()
    dd2424.manual_seed(4)
    assert (draw_seed(), draw_seed()) == (first, second)
    assert first != second


def test_orders_are_uniform():
    places = np.zeros((5, 5), int)
    for epoch in range(2000):
        places[np.arange(5), shuffle(3, epoch, 5)] += 1
    assert np.abs(places - 400).max() < 5 * np.sqrt(400)  # five standard deviations


def test_an_order_is_for_ever():
    """A run that is resumed by a later version must see its images in the old order."""
    assert shuffle(0, 0, 12).tolist() == FIRST
    assert shuffle(2**64 - 1, 5, 4, rounds=2).tolist() == LAST
    assert random_bits(1, 2, 2).tolist() == BITS


def test_more_samples_than_there_are():
    drawn = list(RandomSampler(range(10), num_samples=25, generator=0))
    assert sorted(drawn[:10]) == sorted(drawn[10:20]) == list(range(10))
    assert drawn[:10] != drawn[10:20]
    assert len(set(drawn[20:])) == 5
    assert len(list(RandomSampler(range(10), num_samples=3, generator=0))) == 3


def test_with_replacement():
    drawn = list(RandomSampler(range(4), replacement=True, num_samples=4000, generator=1))
    counts = np.bincount(drawn, minlength=4)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(750)


def test_a_subset_at_random():
    sampler = SubsetRandomSampler([9, 4, 7], generator=0)
    assert sorted(sampler) == [4, 7, 9]
    assert len(sampler) == 3


def test_weights_are_proportions():
    sampler = WeightedRandomSampler([1, 0, 3], 4000, generator=0)
    counts = np.bincount(list(sampler), minlength=3)
    assert counts[1] == 0
    assert abs(counts[2] - 3000) < 5 * np.sqrt(750)
    assert len(sampler) == 4000


def test_weights_without_replacement():
    counts = np.zeros(3)
    for seed in range(2000):
        (first, second) = WeightedRandomSampler([1, 0, 3], 2, replacement=False, generator=seed)
        assert {first, second} == {0, 2}
        counts[first] += 1
    assert abs(counts[2] - 1500) < 5 * np.sqrt(375)


def test_the_uniform_numbers_stay_below_one():
    ends = uniform(np.array([0, 2**64 - 1], np.uint64))
    assert ends[0] == 0
    assert ends[1] == 1 - 2**-53


@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_of_indices(drop_last):
    sampler = BatchSampler(SequentialSampler(range(7)), 3, drop_last)
    assert list(sampler) == [[0, 1, 2], [3, 4, 5]] + [[6]] * (not drop_last)
    assert len(sampler) == len(list(sampler))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomSampler([]), ValueError, "num_samples must be a positive int, got 0"),
        (lambda: RandomSampler([1], num_samples=True), ValueError, "got True"),
        (lambda: RandomSampler([1], replacement=1), TypeError, "replacement must be a bool, got 1"),
        (lambda: WeightedRandomSampler([1], 0), ValueError, "num_samples must be a positive int"),
        (lambda: WeightedRandomSampler([[1]], 1), ValueError, r"must have shape \(N,\), got \(1, 1\)"),
        (lambda: WeightedRandomSampler([1, -1], 1), ValueError, "finite, not negative and not all zero"),
        (lambda: WeightedRandomSampler([0, 0], 1), ValueError, "not all zero"),
        (lambda: WeightedRandomSampler([1, np.nan], 1), ValueError, "finite"),
        (lambda: WeightedRandomSampler([1, 0, 1], 3, False), ValueError, "at most 2"),
        (lambda: BatchSampler([1], 0, False), ValueError, "batch_size must be a positive int, got 0"),
        (lambda: BatchSampler([1], 2, "no"), ValueError, "drop_last must be a bool, got 'no'"),
        (lambda: iter(Sampler()), NotImplementedError, "__iter__ must be defined"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()
