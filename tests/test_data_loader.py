"""DataLoader: PyTorch's arguments, one order for any number of workers, and a place that can be saved."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

import dd2424
from accuracy import same_for_any_threads
from dd2424.data import (
    ArrayDataset,
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    WeightedRandomSampler,
    get_worker_info,
)


def values(loader):
    return [batch.tolist() for batch in loader]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(7))


class Failing(list):
    def __getitem__(self, index):
        if index == 4:
            raise KeyError("sample 4")
        return super().__getitem__(index)


def test_batches_in_order():
    assert values(DataLoader(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert values(DataLoader(range(5), 2, drop_last=True)) == [[0, 1], [2, 3]]
    assert values(DataLoader(range(2))) == [[0], [1]]
    assert list(DataLoader("ab", batch_size=None)) == ["a", "b"]
    assert values(DataLoader([], 3)) == []


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("count", [1, 6, 7])
def test_length_is_the_number_of_batches(count, drop_last):
    for loader in (
        DataLoader(range(count), 3, drop_last=drop_last),
        DataLoader(range(count), 3, True, drop_last=drop_last),
        DataLoader(range(count), batch_sampler=BatchSampler(SequentialSampler(range(count)), 3, drop_last)),
    ):
        assert len(loader) == len(list(loader)) == (count // 3 if drop_last else -(-count // 3))
    assert len(DataLoader(range(count), batch_size=None)) == count


def test_shuffling_is_new_each_epoch_and_fixed_by_the_generator():
    def epochs():
        loader = DataLoader(range(40), 10, shuffle=True, generator=dd2424.Generator().manual_seed(5))
        return [list(itertools.chain(*values(loader))) for _ in range(2)]

    first, second = epochs()
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second
    assert epochs() == [first, second]


def test_the_default_generator_decides_where_none_is_given():
    def epoch(seed):
        dd2424.manual_seed(seed)
        return values(DataLoader(range(40), 10, shuffle=True))

    assert epoch(1) == epoch(1)
    assert epoch(1) != epoch(2)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_the_same_batches_for_any_workers_and_threads(rng, workers):
    dataset = ArrayDataset(rng.integers(0, 256, (50, 3, 8, 8), dtype=np.uint8), np.arange(50), mean=0.5, std=0.2)

    def epoch():
        loader = DataLoader(dataset, 7, shuffle=True, generator=3, num_workers=workers)
        return [tuple(batch) for batch in loader]

    assert [labels.tolist() for _, labels in same_for_any_threads(epoch)] == [
        labels.tolist() for _, labels in DataLoader(dataset, 7, shuffle=True, generator=3)
    ]


def test_a_batch_takes_the_memory_of_the_one_before():
    dataset = ArrayDataset(np.zeros((50, 3000), np.uint8), np.zeros(50, int))
    places = set()
    for batch in DataLoader(dataset, 10):
        places.add(batch[0].data_ptr())
        del batch
    assert len(places) == 1


def test_samplers():
    assert values(DataLoader(range(9), 2, sampler=[3, 1, 2])) == [[3, 1], [2]]
    assert values(DataLoader(range(9), batch_sampler=[[3, 1], [2]])) == [[3, 1], [2]]
    assert list(DataLoader(range(9), None, sampler=iter([5]))) == [5]
    weighted = DataLoader(range(3), 4, sampler=WeightedRandomSampler([0, 1, 0], 4))
    assert values(weighted) == [[1, 1, 1, 1]]


def test_a_sampler_with_an_order_of_its_own_keeps_it():
    class Backwards(SequentialSampler):
        def __iter__(self):
            return iter(range(len(self))[::-1])

    dataset = ArrayDataset(np.zeros((3, 1), np.uint8), np.arange(3))
    assert [labels.tolist() for _, labels in DataLoader(dataset, 2, sampler=Backwards(dataset))] == [[2, 1], [0]]


def test_collate_fn_is_given_the_samples():
    dataset = ArrayDataset(np.zeros((3, 1), np.uint8), np.arange(3))
    assert list(DataLoader(dataset, 2, collate_fn=lambda batch: [label for _, label in batch])) == [[0, 1], [2]]
    assert list(DataLoader(Subset(range(5), [4, 2]), 2, collate_fn=tuple)) == [(4, 2)]


def test_every_worker_starts_once_and_knows_itself():
    started, seen, lock = [], set(), threading.Lock()
    barrier = threading.Barrier(2)

    class Dataset(list):
        def __getitem__(self, index):
            if index < 2:
                barrier.wait(10)  # both workers are at work
            info = get_worker_info()
            with lock:
                seen.add((info.id, info.num_workers, info.dataset is dataset))
            return index

    dataset = Dataset(range(4))
    loader = DataLoader(dataset, 1, num_workers=2, worker_init_fn=started.append)
    assert values(loader) == [[0], [1], [2], [3]]
    assert sorted(started) == [0, 1]
    assert seen == {(0, 2, True), (1, 2, True)}
    assert get_worker_info() is None


def test_workers_stay_within_what_they_may_prepare():
    made = []
    loader = DataLoader(range(100), 1, num_workers=2, prefetch_factor=3, collate_fn=lambda b: made.append(b) or b)
    next(iter(loader))
    time.sleep(0.05)
    assert len(made) <= 7


def test_an_error_comes_at_its_batch():
    for workers in (0, 2):
        batches = iter(DataLoader(Failing(range(6)), 2, num_workers=workers))
        assert [next(batches).tolist(), next(batches).tolist()] == [[0, 1], [2, 3]]
        with pytest.raises(KeyError, match="sample 4"):
            next(batches)


def test_a_slow_batch_is_reported():
    release = threading.Event()
    loader = DataLoader(range(2), 1, num_workers=1, timeout=0.01, collate_fn=lambda batch: release.wait(10))
    with pytest.raises(RuntimeError, match=r"ready within the timeout of 0.01 s"):
        next(iter(loader))
    release.set()


def test_a_worker_that_cannot_start_is_reported(caplog):
    def start(number):
        raise ValueError("no start")

    with pytest.raises(RuntimeError):
        list(DataLoader(range(2), 1, num_workers=1, worker_init_fn=start))
    assert "no start" in caplog.text


@pytest.mark.parametrize("workers", [0, 3])
def test_a_stream_is_read_once(workers):
    assert values(DataLoader(Stream(), 3, num_workers=workers)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(DataLoader(Stream(), None, num_workers=workers)) == list(range(7))


def test_leaving_early_ends_the_workers():
    def workers():
        return [thread for thread in threading.enumerate() if thread.name.startswith("dd2424-loader")]

    for _ in zip(range(2), DataLoader(range(1000), 1, num_workers=2), strict=False):
        assert workers()
    deadline = time.monotonic() + 5
    while workers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not workers()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 4, 5])
def test_a_saved_place_goes_on(stop, workers):
    def loader():
        return DataLoader(range(20), 4, shuffle=True, generator=9, num_workers=workers)

    whole = loader()
    expected = [values(whole) for _ in range(3)]
    first = loader()
    assert values(first) == expected[0]
    running = iter(first)
    head = [next(running).tolist() for _ in range(stop)]
    state = first.state_dict()
    second = loader()
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert head + values(second) == expected[1]
    assert values(second) == expected[2]


def test_a_place_without_a_seed():
    loader = DataLoader(range(6), 2)
    next(batches := iter(loader))
    assert loader.state_dict() == {"position": 1}
    other = DataLoader(range(6), 2)
    other.load_state_dict(loader.state_dict())
    assert values(other) == [b.tolist() for b in batches] == [[2, 3], [4, 5]]
    assert loader.state_dict() == {"position": 0}


def test_what_is_left_out_is_not_made():
    loader = DataLoader(Failing(range(8)), 2)  # sample 4 cannot be made
    loader.load_state_dict({"position": 3})
    assert values(loader) == [[6, 7]]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be a positive int or None, got 0"),
        ({"batch_size": 2.0}, ValueError, "got 2.0"),
        ({"num_workers": -1}, ValueError, "num_workers must not be negative, got -1"),
        ({"timeout": -1}, ValueError, "timeout must not be negative"),
        ({"prefetch_factor": 2}, ValueError, "needs num_workers"),
        ({"prefetch_factor": 0, "num_workers": 1}, ValueError, "must be positive"),
        ({"persistent_workers": True}, ValueError, "persistent_workers must come with num_workers"),
        ({"sampler": [1], "shuffle": True}, ValueError, "sampler must come without shuffle"),
        ({"batch_sampler": [[1]], "batch_size": 2}, ValueError, "batch_sampler must come without batch_size"),
        ({"batch_sampler": [[1]], "drop_last": True}, ValueError, "batch_sampler must come without"),
        ({"batch_size": None, "drop_last": True}, ValueError, "drop_last must come with a batch_size"),
        ({"dataset": Stream(), "shuffle": True}, ValueError, "IterableDataset must come without shuffle"),
        ({"dataset": iter([1])}, TypeError, "len"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        list(DataLoader(**{"dataset": range(3), **options}))


def test_refused_places():
    with pytest.raises(TypeError, match="must be read by index"):
        DataLoader(Stream()).state_dict()
    with pytest.raises(ValueError, match=r"state must have \['epoch', 'position', 'seed'\], got \['position'\]"):
        DataLoader(range(3), sampler=RandomSampler(range(3))).load_state_dict({"position": 0})
