"""Names, batches and refusals of torch.utils.data."""

from __future__ import annotations

import inspect
from collections import namedtuple

import numpy as np
import pytest

import dd2424
import dd2424.utils.data as ours

torch = pytest.importorskip("torch")
theirs = torch.utils.data
pytestmark = pytest.mark.torch

Point = namedtuple("Point", "x y")
CLASSES = [
    "BatchSampler", "ChainDataset", "ConcatDataset", "DataLoader", "Dataset", "IterableDataset", "RandomSampler",
    "SequentialSampler", "StackDataset", "Subset", "SubsetRandomSampler", "TensorDataset",
    "WeightedRandomSampler", "default_collate", "default_convert", "get_worker_info", "random_split",
]  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_names_and_arguments(name):
    mine, other = (inspect.signature(getattr(module, name)).parameters for module in (ours, theirs))
    assert list(mine) == list(other)
    for argument, parameter in other.items():
        assert mine[argument].kind == parameter.kind
        if parameter.default not in (parameter.empty, torch.default_generator, torch.utils.data.default_collate):
            assert mine[argument].default == parameter.default or argument in ("generator",), argument


def plain(value):
    """A batch as nested Python values with the names of dtypes."""
    if isinstance(value, dd2424.Tensor | torch.Tensor):
        return str(value.dtype).split(".")[-1], value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, [plain(item) for item in value]
    return value


BATCHES = [
    [1, 2], [1.5, 2], [True, False], ["a", "b"], [b"a", b"b"], [np.float32(1), np.float32(2)],
    [np.int16(1), np.int16(2)], [np.ones((2, 3), np.uint8)] * 2, [(1, "a"), (2, "b")], [[1, 2.0], [3, 4.0]],
    [{"a": 1, "b": (2, 3)}] * 2, [Point(1, [2.0]), Point(3, [4.0])], [np.array(1.0), np.array(2.0)],
]  # fmt: skip


@pytest.mark.parametrize("batch", BATCHES, ids=repr)
def test_collate_and_convert(batch):
    assert plain(ours.default_collate(batch)) == plain(theirs.default_collate(batch))
    assert plain(ours.default_convert(batch)) == plain(theirs.default_convert(batch))


LOADERS = [
    {}, {"batch_size": 4}, {"batch_size": 4, "drop_last": True}, {"batch_size": None},
    {"batch_size": 3, "num_workers": 0}, {"sampler": [4, 2, 0], "batch_size": 2}, {"batch_sampler": [[1, 2], [0]]},
    {"batch_size": 2, "collate_fn": list},
]  # fmt: skip


@pytest.mark.parametrize("options", LOADERS, ids=repr)
@pytest.mark.parametrize("kind", ["range", "tensors", "stream"])
def test_loaders_give_the_same_batches(options, kind):
    def run(module, tensor):
        class Stream(module.IterableDataset):
            def __iter__(self):
                return iter(range(7))

        data = {"range": range(7), "tensors": module.TensorDataset(tensor(range(7)), tensor([[i] for i in range(7)]))}
        loader = module.DataLoader(data.get(kind) or Stream(), **options)
        batches = [plain(batch) for batch in loader]
        return (
            batches,
            len(loader) if kind != "stream" else None,
            type(loader.sampler).__name__ if kind != "stream" else 0,
        )

    if kind == "stream" and {"sampler", "batch_sampler"} & options.keys():
        for module in (ours, theirs):
            with pytest.raises(ValueError):
                run(module, dd2424.tensor)
        return
    assert run(ours, lambda v: dd2424.tensor(list(v))) == run(theirs, lambda v: torch.tensor(list(v)))


REFUSED = [
    {"batch_size": 0}, {"batch_size": -1}, {"num_workers": -1}, {"timeout": -1}, {"sampler": [1], "shuffle": True},
    {"batch_sampler": [[1]], "batch_size": 2}, {"batch_sampler": [[1]], "shuffle": True}, {"prefetch_factor": 2},
    {"batch_size": None, "drop_last": True}, {"persistent_workers": True},
]  # fmt: skip


@pytest.mark.parametrize("options", REFUSED, ids=repr)
def test_loaders_refuse_the_same(options):
    errors = []
    for module in (ours, theirs):
        with pytest.raises(Exception) as caught:
            module.DataLoader(range(3), **options)
        errors.append(caught.type)
    assert errors[0] is errors[1]


@pytest.mark.parametrize(
    "refused",
    [
        lambda m, t: m.RandomSampler([]),
        lambda m, t: m.RandomSampler([1], replacement="no"),
        lambda m, t: m.WeightedRandomSampler([1.0], 0),
        lambda m, t: m.WeightedRandomSampler([[1.0]], 1),
        lambda m, t: m.BatchSampler([1], 0, False),
        lambda m, t: m.BatchSampler([1], 1, 1),
        lambda m, t: m.ConcatDataset([[1]])[-2],
        lambda m, t: m.StackDataset(),
        lambda m, t: m.random_split(range(3), [1, 1]),
        lambda m, t: m.random_split(range(3), [0.2, 0.2]),
        lambda m, t: m.default_collate([object(), object()]),
        lambda m, t: m.default_collate([[1], [1, 2]]),
        lambda m, t: m.Dataset()[0],
    ],
)
def test_the_same_refusals(refused):
    errors = []
    for module, library in ((ours, dd2424), (theirs, torch)):
        with pytest.raises(Exception) as caught:
            refused(module, library)
        errors.append(caught.type)
    assert issubclass(errors[0], errors[1]) or {*errors} <= {ValueError, IndexError, AssertionError}


@pytest.mark.parametrize("lengths", [[3, 4], [0.5, 0.5], [0.3, 0.3, 0.4], [7, 0]])
def test_splits_have_the_same_sizes(lengths):
    sizes = [[len(part) for part in module.random_split(range(7), lengths)] for module in (ours, theirs)]
    assert sizes[0] == sizes[1]
