"""CIFAR-10: 50,000 + 10,000 colour images of 32x32 pixels, 10 classes, in its pickle and binary layouts."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import ArrayDataset
from .cache import Content, Source
from .download import Download
from .errors import DataError
from .splits import check_split, hold_out
from .unpack import unpack

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # bytes an image in the binary layout: its label, then red, green and blue

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]

# The names by which arrays are rebuilt, in pickles of NumPy 1 and 2, up to protocol 4 and in protocol 5.
_ARRAY_PARTS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class _StandIn:
    """Takes the place of whatever a pickle names; called or given a state, it only remembers."""

    def __init__(self, name: str, args: tuple[Any, ...] = ()) -> None:
        self.name = name
        self.args = args
        self.state: Any = ()

    def __call__(self, *args: Any) -> _StandIn:
        return _StandIn(self.name, args)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _InertUnpickler(pickle.Unpickler):
    """Builds containers, numbers and strings; imports nothing, calls nothing, and refuses unknown names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in protocols 0 to 2
            return _latin1
        if (module, name) not in _ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _StandIn(name)


def _latin1(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes are not in latin1")
    return text.encode("latin-1")


def read_pickle_batch(path: str | Path) -> Batch:
    """Return images (N, 3, 32, 32) and labels (N,) from a file of the pickle layout, plain, .gz or .xz.

    The pickle is read without executing anything. Raises: DataError where it is not a CIFAR-10 batch.
    """
    return parse_pickle_batch(unpack(Path(path)), str(path))


def read_binary_batch(path: str | Path) -> Batch:
    """Return images (N, 3, 32, 32) and labels (N,) from a file of the binary layout, plain, .gz or .xz.

    Raises: DataError where it is not a CIFAR-10 batch.
    """
    return parse_binary_batch(unpack(Path(path)), str(path))


def parse_pickle_batch(content: bytes, name: str) -> Batch:
    """Return the batch in the bytes of a pickle; `name` is for messages. Raises: DataError as `read_pickle_batch`."""
    try:
        loaded = _InertUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a pickle's opcodes can fail in any way
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{name}: a CIFAR-10 pickle must hold an array and labels only, got one where {reason}"
        ) from None
    if not isinstance(loaded, dict):
        raise DataError(f"{name}: a CIFAR-10 pickle must hold a dict, got {type(loaded).__name__}")
    fields = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in loaded.items()}
    for key in ("data", "labels"):
        if key not in fields:
            raise DataError(f"{name}: a CIFAR-10 pickle must have the key {key!r}, got {sorted(map(str, fields))}")
    labels = fields["labels"]
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"{name}: labels must be a list of ints, got {type(labels).__name__}")
    pixels = _array(fields["data"], name)
    if pixels.shape != (len(labels), _RECORD - 1):
        raise DataError(f"{name}: data must have shape {(len(labels), _RECORD - 1)}, got {pixels.shape}")
    return pixels.reshape(-1, *_SHAPE), _checked_labels(np.array(labels, object), name)


def parse_binary_batch(content: bytes, name: str) -> Batch:
    """Return the batch in the bytes of the binary layout; `name` is for messages. Raises: DataError likewise."""
    if len(content) == 0 or len(content) % _RECORD:
        raise DataError(f"{name}: a CIFAR-10 batch must have a multiple of {_RECORD} bytes, got {len(content):,}")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    return np.ascontiguousarray(records[:, 1:]).reshape(-1, *_SHAPE), _checked_labels(records[:, 0], name)


def _array(data: Any, name: str) -> NDArray[np.uint8]:
    """Return the array that a stand-in describes: its state, or in protocol 5 its arguments."""
    if isinstance(data, _StandIn) and data.name == "_reconstruct" and _is_tuple(data.state, 5):
        _, shape, dtype, is_fortran, content = data.state
    elif isinstance(data, _StandIn) and data.name == "_frombuffer" and _is_tuple(data.args, 4):
        content, dtype, shape, order = data.args
        is_fortran = order == "F"
    else:
        raise DataError(f"{name}: data must be an array of bytes, got {type(data).__name__.lstrip('_')}")
    if not (isinstance(dtype, _StandIn) and dtype.name == "dtype" and dtype.args[:1] in (("u1",), (b"u1",))):
        raise DataError(f"{name}: data must be uint8, got another dtype")
    is_shape = isinstance(shape, tuple) and len(shape) == 2 and all(type(n) is int and n >= 0 for n in shape)
    if not (is_shape and isinstance(content, bytes | bytearray) and len(content) == shape[0] * shape[1]):
        raise DataError(f"{name}: data must have as many bytes as its shape says, got shape {shape!r:.80}")
    values: NDArray[np.uint8] = np.frombuffer(content, np.uint8).reshape(shape, order="F" if is_fortran else "C")
    return values


def _is_tuple(value: Any, length: int) -> bool:
    return isinstance(value, tuple) and len(value) == length


def _checked_labels(labels: NDArray[Any], name: str) -> NDArray[np.int64]:
    if labels.size and not 0 <= labels.min() <= labels.max() < len(CIFAR10_CLASSES):
        raise DataError(f"{name}: labels must be from 0 to 9, got {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)


CIFAR10_PICKLE = Source(
    "cifar10",
    ("cifar-10-batches-py",),
    {
        "data_batch_1": Content(31_035_704, "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd"),
        "data_batch_2": Content(31_035_320, "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8"),
        "data_batch_3": Content(31_035_999, "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9"),
        "data_batch_4": Content(31_035_696, "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b"),
        "data_batch_5": Content(31_035_623, "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154"),
        "test_batch": Content(31_035_526, "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831"),
    },
    (
        Download(
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            "cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        ),
    ),
    archive="cifar-10-python.tar.gz",
)

CIFAR10_BINARY = Source(
    "cifar10",
    ("cifar-10-batches-bin",),
    {
        f"{name}.bin": Content(30_730_000, sha256)
        for name, sha256 in {
            "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        }.items()
    },
    archive="cifar-10-binary.tar.gz",
)


def cifar10(split: str | Sequence[int] = "train", *, validation: int = 0, download: bool = True) -> ArrayDataset:
    """Return photographs: images (N, 3, 32, 32) as bytes, labels 0 to 9.

    Splits: "train" (50,000, batches 1 to 5) and "test" (10,000) as published; `validation` holds the last so many of
        train out as split "validation". A sequence of batch numbers, 1 to 5, takes those batches (10,000 each).
    Raises: DataError when a file is missing and cannot be downloaded, or is damaged; ValueError for another split.
    Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009).
    """
    batches = list(range(1, 6) if isinstance(split, str) else split)
    if not batches or not set(batches) <= set(range(1, 6)):
        raise ValueError(f"cifar10: batches must be numbers from 1 to 5, got {batches}")
    part = split if isinstance(split, str) else "train"
    check_split("cifar10", part, validation, train_size=10_000 * len(batches))
    names = ["test_batch"] if part == "test" else [f"data_batch_{number}" for number in batches]
    files = [f"{name}.bin" for name in names]
    if CIFAR10_BINARY.has(files) and not CIFAR10_PICKLE.has(names):
        parsed = [parse_binary_batch(*item) for item in zip(CIFAR10_BINARY.read(files), files, strict=True)]
    else:
        contents = CIFAR10_PICKLE.read(names, download=download)
        parsed = [parse_pickle_batch(*item) for item in zip(contents, names, strict=True)]
    images, labels = zip(*parsed, strict=True)
    dataset = ArrayDataset(np.concatenate(images), np.concatenate(labels), classes=CIFAR10_CLASSES)
    return dataset if part == "test" else hold_out(dataset, part, validation)
