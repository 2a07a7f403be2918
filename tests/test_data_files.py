"""IDX and CIFAR-10 files in each of their layouts, and what is said of damaged ones. Nothing in them is executed."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import struct
import tarfile

import numpy as np
import pytest

from dd2424.data import DataError, digits
from dd2424.data.cifar import parse_pickle_batch, read_binary_batch, read_pickle_batch
from dd2424.data.idx import labelled_images, parse_idx, read_idx
from dd2424.data.unpack import unpack, unpack_members

PACKINGS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
IDX_TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array):
    code = IDX_TYPES[array.dtype.str[1:]]
    header = struct.pack(">HBB", 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def batch(rng, count=3):
    return rng.integers(0, 256, (count, 3072), dtype=np.uint8), rng.integers(0, 10, count).tolist()


@pytest.mark.parametrize("dtype", IDX_TYPES)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3)])
def test_idx_round_trip(rng, dtype, shape):
    array = (rng.integers(0, 100, shape) + (0.5 if dtype[0] == "f" else 0)).astype(dtype)
    read = parse_idx(idx(array), "x")
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("suffix", PACKINGS)
def test_packed_files(tmp_path, rng, suffix):
    array = rng.integers(0, 256, (3, 4), dtype=np.uint8)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(PACKINGS[suffix](idx(array)))
    np.testing.assert_array_equal(read_idx(path), array)
    assert unpack(path, limit=5) == idx(array)[:6]  # one more than the limit tells that there is more


WHOLE = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "at least 4 bytes, got 0"),
        (b"\x01" + WHOLE[1:], "begin with two zero bytes, got 01 00"),
        (WHOLE[:2] + b"\x07" + WHOLE[3:], "type must be one of 0x08, .*, got 0x07"),
        (WHOLE[:3] + b"\x00" + WHOLE[4:], "at least 1 dimension, got 0"),
        (WHOLE[:7], "must have 12 bytes for 2 dimensions, got 7"),
        (WHOLE[:-1], r"uint8 \(2, 3\) must have 18 bytes, got 17"),
        (WHOLE + b"x", "must have 18 bytes, got 19"),
        (WHOLE[:4] + b"\xff" * 8, "must have 18,446,744,065,119,617,0"),
    ],
)
def test_damaged_idx(content, message):
    with pytest.raises(DataError, match=f"^name: .*{message}"):
        parse_idx(content, "name")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            np.zeros((2, 3), np.uint8),
            np.zeros(2, np.uint8),
            r"images must be uint8 of 3 dimensions, got uint8 \(2, 3\)",
        ),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.int32), "labels must be uint8 of 1 dimensions, got int32"),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(3, np.uint8), "labels must be as many as the 2 images, got 3"),
        (np.zeros((1, 3, 3), np.uint8), np.full(1, 10, np.uint8), "labels must be below 10, got 10"),
    ],
)
def test_idx_files_that_do_not_belong_together(images, labels, message):
    with pytest.raises(DataError, match=message):
        labelled_images(idx(images), idx(labels), "x", 10)


@pytest.mark.parametrize("suffix", PACKINGS)
@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_pickle_layout(tmp_path, rng, suffix, protocol):
    pixels, labels = batch(rng)
    path = tmp_path / f"data_batch_1{suffix}"
    path.write_bytes(PACKINGS[suffix](pickle.dumps({b"data": pixels, b"labels": labels}, protocol=protocol)))
    images, targets = read_pickle_batch(path)
    np.testing.assert_array_equal(images, pixels.reshape(-1, 3, 32, 32))
    assert (targets.dtype, targets.tolist()) == (np.int64, labels)


@pytest.mark.parametrize("suffix", PACKINGS)
def test_binary_layout(tmp_path, rng, suffix):
    pixels, labels = batch(rng)
    path = tmp_path / f"data_batch_1.bin{suffix}"
    path.write_bytes(PACKINGS[suffix](np.column_stack([np.array(labels, np.uint8), pixels]).tobytes()))
    images, targets = read_binary_batch(path)
    np.testing.assert_array_equal(images, pixels.reshape(-1, 3, 32, 32))
    assert targets.tolist() == labels


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Evil()), "must hold an array and labels only, got one where it names builtins.exec"),
        (pickle.dumps({"data": Evil(), "labels": []}), "it names builtins.exec"),
        (b"cos\nsystem\n(S'true'\ntR.", "it names os.system"),
        (b"not a pickle", "must hold an array and labels only"),
        (b"", "must hold an array and labels only"),
        (pickle.dumps({})[:-1], "must hold an array and labels only"),
        (pickle.dumps([1]), "must hold a dict, got list"),
        (pickle.dumps({"labels": []}), r"must have the key 'data', got \['labels'\]"),
        (pickle.dumps({"data": 1, "labels": "x"}), "labels must be a list of ints, got str"),
        (pickle.dumps({"data": 1, "labels": [True]}), "labels must be a list of ints"),
        (pickle.dumps({"data": 1, "labels": [1]}), "data must be an array of bytes, got int"),
        (pickle.dumps({"data": np.zeros((1, 3072)), "labels": [1]}), "data must be uint8"),
        (pickle.dumps({"data": np.zeros((1, 3), np.uint8), "labels": [1]}), r"shape \(1, 3072\), got \(1, 3\)"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}), "labels must be from 0 to 9, got 10"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10**30]}), "labels must be from 0 to 9"),
        (pickle.dumps({"data": np.zeros(3072, np.uint8), "labels": [1]}), "as many bytes as its shape says"),
    ],
)
def test_pickles_that_are_none_of_cifar(content, message):
    with pytest.raises(DataError, match=f"^name: .*{message}"):
        parse_pickle_batch(content, "name")


def test_a_fortran_array_in_a_pickle(rng):
    pixels, labels = batch(rng)
    content = pickle.dumps({"data": np.asfortranarray(pixels), "labels": labels}, protocol=2)
    np.testing.assert_array_equal(parse_pickle_batch(content, "x")[0].reshape(3, -1), pixels)


@pytest.mark.parametrize("size", [0, 3072, 3074])
def test_a_binary_batch_of_a_wrong_size(tmp_path, size):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(DataError, match=f"multiple of 3073 bytes, got {size:,}"):
        read_binary_batch(path)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"x" + b[1:], lambda b: b[:20] + b"\xff\xff" + b[22:]])
def test_damaged_packings(tmp_path, rng, suffix, damage):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(damage(PACKINGS[suffix](rng.bytes(1000))))
    with pytest.raises(DataError, match=r"must be a whole \.(gz|xz) file, got one cut short or damaged"):
        unpack(path)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="must be a readable file, got No such file"):
        unpack(tmp_path / "none")
    with pytest.raises(DataError, match="must be a readable file, got Is a directory"):
        unpack(tmp_path)


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_members_of_an_archive(tmp_path):
    path = tmp_path / "x.tar.gz"
    archive(path, {"d/a": b"one", "d/b": b"two" * 9, "d/c": b"three"})
    assert unpack_members(path, ["d/a", "d/b"], limit=4) == {"d/a": b"one", "d/b": b"twotw"}
    with pytest.raises(DataError, match="must hold d/e, got an archive without"):
        unpack_members(path, ["d/a", "d/e"], 9)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"must be a whole \.tar\.gz file, got one cut short or damaged"):
        unpack_members(path, ["d/c"], 9)
    with pytest.raises(DataError, match="must be a readable archive"):
        unpack_members(tmp_path / "none.tar.gz", ["d/a"], 9)


def test_digits_come_with_the_package():
    train, test = digits(), digits("test")
    assert (len(train), len(test), train.images.shape[1:]) == (1437, 360, (1, 8, 8))
    assert train.images.max() == 16
    held, rest = digits("validation", validation=100), digits(validation=100)
    np.testing.assert_array_equal(np.concatenate([rest.images, held.images]), train.images)
    assert np.bincount(np.concatenate([train.labels, test.labels])).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]
    with pytest.raises(ValueError, match="split must be one of train, validation, test, got 'dev'"):
        digits("dev")
    with pytest.raises(ValueError, match="validation must be from 1 to 1436 samples, got 0"):
        digits("validation")
