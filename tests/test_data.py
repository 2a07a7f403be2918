"""Data sets by index and as streams, their combinations, and how samples become batches."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import dd2424
from dd2424.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    default_collate,
    default_convert,
    random_split,
)

Point = namedtuple("Point", "x y")


class Squares(Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return range(self.count)[index] ** 2


class Stream(IterableDataset):
    def __init__(self, *values):
        self.values = values

    def __iter__(self):
        return iter(self.values)


def pair(count):
    return TensorDataset(dd2424.arange(2 * count).view(count, 2), dd2424.arange(count))


def test_a_tensor_dataset_has_rows_and_batches():
    dataset = pair(4)
    assert len(dataset) == 4
    assert [t.tolist() for t in dataset[-1]] == [[6, 7], 3]
    assert [t.tolist() for t in dataset.get_batch([3, 0])] == [[[6, 7], [0, 1]], [3, 0]]


def test_concatenation_counts_from_both_ends():
    both = Squares(3) + Squares(2) + [10, 11]
    assert len(both) == 7
    assert [both[i] for i in range(7)] == [0, 1, 4, 0, 1, 10, 11]
    assert [both[i] for i in (-1, -3, -7)] == [11, 1, 0]
    assert [batch.tolist() for batch in DataLoader(both, 4)] == [[0, 1, 4, 0], [1, 10, 11]]


def test_a_subset_takes_batches_as_its_data_set_does(monkeypatch):
    subset = Subset(Subset(pair(6), [5, 3, 1]), [2, 0])
    monkeypatch.setattr(TensorDataset, "__getitem__", lambda self, index: pytest.fail("read sample by sample"))
    assert [t.tolist() for t in subset.get_batch([1, 0, 1])] == [[[10, 11], [2, 3], [10, 11]], [5, 1, 5]]
    plain = Subset([7, 8, 9], [2, 0])
    assert [len(plain), plain[0], plain.get_batch([1]).tolist()] == [2, 9, [7]]


def test_a_data_set_may_take_many_samples_at_once():
    class Many(Squares):
        def __getitems__(self, indices):
            assert isinstance(indices, list)
            return [100 + i for i in indices]

    assert [b.tolist() for b in DataLoader(Many(3), 2)] == [[100, 101], [102]]


def test_data_sets_side_by_side():
    rows = StackDataset(Squares(3), pair(3))
    assert rows[2][0] == 4
    assert rows[2][1][0].tolist() == [4, 5]
    named = StackDataset(a=Squares(3), b=["x", "y", "z"])
    assert named[1] == {"a": 1, "b": "y"}
    (batch,) = DataLoader(named, 3)
    assert (batch["a"].tolist(), batch["b"]) == ([0, 1, 4], ["x", "y", "z"])


def test_streams():
    chain = Stream(1, 2) + Stream(3)
    assert isinstance(chain, ChainDataset)
    assert [batch.tolist() for batch in DataLoader(chain, 2)] == [[1, 2], [3]]
    assert [batch.tolist() for batch in DataLoader(chain, 2, drop_last=True)] == [[1, 2]]
    assert list(DataLoader(Stream("a", "b"), batch_size=None)) == ["a", "b"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TensorDataset(dd2424.zeros(2), dd2424.zeros(3)), ValueError, r"same length, got lengths \[2, 3\]"),
        (lambda: ConcatDataset([]), ValueError, "at least one data set, got none"),
        (lambda: ConcatDataset([Stream(1)]), TypeError, "got an IterableDataset"),
        (lambda: ConcatDataset([[1], [2]])[2], IndexError, r"index must be in \[-2, 2\), got 2"),
        (lambda: ConcatDataset([[1], [2]])[-3], IndexError, "got -3"),
        (lambda: StackDataset(), ValueError, "all positional or all keyword"),
        (lambda: StackDataset([1], a=[1]), ValueError, "all positional or all keyword"),
        (lambda: StackDataset([1], [1, 2]), ValueError, r"same length, got lengths \[1, 2\]"),
        (lambda: Dataset()[0], NotImplementedError, "__getitem__ must be defined"),
        (lambda: iter(IterableDataset()), NotImplementedError, "__iter__ must be defined"),
        (lambda: random_split(range(5), [2, 2]), ValueError, "sum to the data set's 5"),
        (lambda: random_split(range(5), [1.5, -0.5]), ValueError, "fractions from 0 to 1"),
        (lambda: random_split(range(5), [7, -2]), ValueError, "must not be negative"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("lengths", "counts"), [([7, 3], [7, 3]), ([0.5, 0.5], [5, 5]), ([0.33, 0.33, 0.34], [4, 3, 3]), ([10, 0], [10, 0])]
)
def test_random_split_takes_each_sample_once(lengths, counts):
    parts = random_split(range(10), lengths, generator=dd2424.Generator().manual_seed(3))
    assert [len(part) for part in parts] == counts
    assert sorted(index for part in parts for index in part.indices) == list(range(10))


def test_random_split_depends_on_its_generator_alone():
    def split(seed):
        return [
            part.indices for part in random_split(range(50), [30, 20], generator=dd2424.Generator().manual_seed(seed))
        ]

    first = split(1)
    dd2424.rand(3)
    assert split(1) == first
    assert split(2) != first
    dd2424.manual_seed(5)
    drawn = random_split(range(50), [30, 20])[0].indices
    dd2424.manual_seed(5)
    assert random_split(range(50), [30, 20])[0].indices == drawn


def test_collate_makes_tensors():
    assert default_collate([1, 2]).dtype == dd2424.int64
    assert default_collate([1.0, 2]).dtype == dd2424.float64
    assert default_collate([True, False]).dtype == dd2424.bool
    assert default_collate([np.float32(1), np.float32(2)]).dtype == dd2424.float32
    assert default_collate([np.ones(3, np.int16)] * 2).shape == (2, 3)
    assert default_collate([dd2424.ones(3), dd2424.zeros(3)]).tolist() == [[1, 1, 1], [0, 0, 0]]


def test_collate_keeps_containers():
    assert default_collate(["a", "b"]) == ["a", "b"]
    batch = default_collate([OrderedDict(a=1, b=[2, "x"]), OrderedDict(a=3, b=[4, "y"])])
    assert type(batch) is OrderedDict
    assert batch["a"].tolist() == [1, 3]
    assert batch["b"][0].tolist() == [2, 4]
    assert batch["b"][1] == ("x", "y")
    point = default_collate([Point(1, 2.0), Point(3, 4.0)])
    assert (type(point), point.x.tolist(), point.y.tolist()) == (Point, [1, 3], [2.0, 4.0])


def test_convert_turns_arrays_alone_into_tensors():
    converted = default_convert({"a": np.ones(2, np.float32), "b": [np.int64(3), "x", None], "c": (1,)})
    assert converted["a"].dtype == dd2424.float32
    assert converted["b"][0].item() == 3
    assert (converted["b"][1:], converted["c"]) == (["x", None], [1])
    strings = np.array(["a"])
    assert default_convert(strings) is strings


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ([], RuntimeError, "at least one sample"),
        ([[1, 2], [3]], RuntimeError, r"equal length, got lengths \[1, 2\]"),
        ([{"a": 1}, {"b": 1}], RuntimeError, "equal keys"),
        ([np.zeros(2), np.zeros(3)], RuntimeError, "equal shape"),
        ([np.array("a")], TypeError, "arrays of numbers"),
        ([object()], TypeError, "builtins.object"),
        ([dd2424.zeros(2), dd2424.zeros(3)], RuntimeError, "stack"),
    ],
)
def test_collate_refusals(batch, error, message):
    with pytest.raises(error, match=message):
        default_collate(batch)
