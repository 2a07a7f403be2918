"""ArrayDataset: batches gathered, cast and normalised from bytes in one kernel."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, same_for_any_threads
from dd2424 import _core
from dd2424.data import ArrayDataset, DataLoader, default_collate
from reference import data as reference

SHAPES = [(1, 1), (3, 7), (1, 8, 8), (3, 5, 7), (65,), (3, 32, 32)]


def make(rng, count, shape, **options):
    images = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return ArrayDataset(images, rng.integers(0, 10, count), **options)


def statistics(rng, shape, per):
    size = {"pixel": shape, "channel": (shape[0],) + (1,) * (len(shape) - 1), "all": ()}[per]
    return rng.uniform(0, 1, size), rng.uniform(0.1, 2, size)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("per", ["pixel", "channel", "all"])
@pytest.mark.parametrize("flatten", [False, True])
def test_a_batch_matches_numpy(isa, rng, shape, per, flatten):
    mean, std = statistics(rng, shape, per)
    dataset = make(rng, 13, shape, mean=mean, std=std, flatten=flatten)
    for rows in ([], [12], [3, 3, 0], range(13), [5, 1, 4, 2, 9, 7]):
        inputs, labels = dataset.get_batch(list(rows))
        expected = reference.normalized(dataset.images[list(rows)], mean, std, 255)
        assert inputs.dtype == dd2424.float32
        assert inputs.shape == (len(rows), *dataset.sample_shape)
        assert_accurate(inputs, expected.reshape(inputs.shape), roundings=3, scale=np.max(np.abs(mean / std)))
        assert labels.dtype == dd2424.int64
        np.testing.assert_array_equal(labels.numpy(), dataset.labels[list(rows)])


def test_a_batch_is_its_samples(rng):
    dataset = make(rng, 9, (3, 4, 5), mean=0.5, std=0.25)
    rows = [8, 0, 3]
    for batch, sample in zip(dataset.get_batch(rows), default_collate([dataset[i] for i in rows]), strict=True):
        np.testing.assert_array_equal(batch.numpy(), sample.numpy())
    assert dataset[-1][1] == dataset.labels[8]


def test_same_bits_for_any_threads(isa, rng):
    dataset = make(rng, 300, (3, 32, 32), mean=rng.uniform(0, 1, (3, 32, 32)), std=rng.uniform(0.1, 1, (3, 32, 32)))
    rows = rng.permutation(300)
    whole = same_for_any_threads(lambda: dataset.get_batch(rows)[0])
    alone = np.concatenate([dataset.get_batch([row])[0].numpy() for row in rows])
    np.testing.assert_array_equal(whole.numpy(), alone)  # nor do they depend on an image's place in the batch


def test_images_are_read_where_they_lie(rng):
    images = rng.integers(0, 256, (20, 1, 6, 6), dtype=np.uint8)
    dataset = ArrayDataset(images, np.zeros(20, np.uint8))
    assert np.shares_memory(dataset.images, images)
    assert np.shares_memory(dataset.take(slice(5, 9)).images, images)
    assert np.shares_memory(dataset.normalized(0.5, 2.0).images, images)
    read_only = images[::2].copy()
    read_only.flags.writeable = False
    for odd in (images[::2], np.asfortranarray(images[::2]), read_only):
        batch = ArrayDataset(odd, np.zeros(10, int)).get_batch([3])[0]
        assert_accurate(batch, images[[6]] / 255, roundings=2)


@pytest.mark.parametrize(("per", "axes"), [("pixel", (0,)), ("channel", (0, 2, 3)), ("all", (0, 1, 2, 3))])
def test_statistics_are_exact(rng, per, axes):
    dataset = make(rng, 1500, (3, 4, 5))  # more than one chunk of the sum
    dataset.images[:, 1] = 7  # never varies
    mean, std = dataset.statistics(per)
    expected = reference.statistics(dataset.images, axes, 255, keepdims=per == "channel")
    np.testing.assert_allclose(mean, expected[0], rtol=1e-13)
    np.testing.assert_allclose(std, expected[1], rtol=1e-11)
    normal = dataset.normalized(mean, std).get_batch(range(1500))[0].numpy().astype(np.float64)
    np.testing.assert_allclose(normal.mean(axis=axes), 0, atol=1e-6)


def test_parts_keep_their_normalisation(rng):
    dataset = make(rng, 10, (2, 3, 3), mean=0.3, std=0.5, classes=["a", "b"], scale=16.0)
    part = dataset.take([7, 2])
    assert (part.classes, part.scale, len(part)) == (("a", "b"), 16.0, 2)
    np.testing.assert_array_equal(part.get_batch([0, 1])[0].numpy(), dataset.get_batch([7, 2])[0].numpy())
    assert "10 images of (2, 3, 3), 2 classes" in repr(dataset)
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy.get_batch([4])[0].numpy(), dataset.get_batch([4])[0].numpy())


def test_a_loader_takes_whole_batches(rng, monkeypatch):
    dataset = make(rng, 10, (2, 3))
    monkeypatch.setattr(ArrayDataset, "__getitem__", lambda self, index: pytest.fail("read sample by sample"))
    shapes = [tuple(inputs.shape) for inputs, _ in DataLoader(dataset, 4)]
    assert shapes == [(4, 2, 3), (4, 2, 3), (2, 2, 3)]


def test_a_subclass_that_changes_samples_changes_batches(rng):
    class Inverted(ArrayDataset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return -image, label

    images, labels = rng.integers(1, 256, (4, 2, 2), dtype=np.uint8), np.arange(4)
    (inputs, _), (inverted, _) = (next(iter(DataLoader(d(images, labels), 4))) for d in (ArrayDataset, Inverted))
    np.testing.assert_array_equal(inverted.numpy(), -inputs.numpy())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": np.zeros((2, 3), np.float32)}, TypeError, "images must be uint8, got float32"),
        ({"labels": np.zeros(2)}, TypeError, "labels must be integers, got float64"),
        ({"labels": np.zeros(3, int)}, ValueError, r"must be \(N, \*\) and \(N,\), got \(2, 3\) and \(3,\)"),
        ({"images": np.zeros(2, np.uint8)}, ValueError, r"must be \(N, \*\) and \(N,\)"),
        ({"mean": np.zeros(4)}, ValueError, r"mean must broadcast to an image of \(3,\), got shape \(4,\)"),
        ({"std": 0.0}, ValueError, "std must be above zero, got 0"),
    ],
)
def test_refusals(change, error, message):
    given = {"images": np.zeros((2, 3), np.uint8), "labels": np.zeros(2, int), **change}
    with pytest.raises(error, match=message):
        ArrayDataset(given.pop("images"), given.pop("labels"), **given)


@pytest.mark.parametrize("index", [2, -3])
def test_an_index_outside_is_refused(index):
    dataset = ArrayDataset(np.zeros((2, 3), np.uint8), np.zeros(2, int))
    with pytest.raises(IndexError):
        dataset[index]
    with pytest.raises(IndexError, match="gather_normalize"):
        dataset.get_batch([index])


def test_the_kernel_refuses_what_does_not_fit():
    images, one = dd2424.zeros(2, 3, 4, dtype=dd2424.uint8), dd2424.ones(1)
    rows = dd2424.tensor([0])
    for arguments, message in (
        ((images.float(), rows, one, one), "images must be uint8"),
        ((images, rows, one, dd2424.ones(3)), "must be float32 of one shape"),
        ((images, rows, dd2424.ones(5), dd2424.ones(5)), "mean must have 12 elements, one per channel"),
    ):
        with pytest.raises(RuntimeError, match=message):
            _core.gather_normalize(*arguments)
