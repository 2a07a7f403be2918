"""The IDX format of MNIST: a type, sizes, and numbers in big-endian order."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .unpack import unpack

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> NDArray[Any]:
    """Return the array in an IDX file, plain, .gz or .xz. Raises: DataError where the file is not one."""
    return parse_idx(unpack(Path(path)), str(path))


def parse_idx(content: bytes, name: str) -> NDArray[Any]:
    """Return the array in the bytes of an IDX file, sharing their memory where it can; `name` is for messages.

    The header is two zero bytes, a type code, the number of dimensions, and each size as 4 bytes.
    Raises: DataError naming the first field that is wrong.
    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
    """
    if len(content) < 4:
        raise DataError(f"{name}: an IDX header must have at least 4 bytes, got {len(content)}")
    zeros, code, ndim = struct.unpack_from(">HBB", content)
    if zeros != 0:
        raise DataError(f"{name}: an IDX file must begin with two zero bytes, got {content[:2].hex(' ')}")
    if code not in _DTYPES:
        known = ", ".join(f"0x{known:02x}" for known in _DTYPES)
        raise DataError(f"{name}: the IDX type must be one of {known}, got 0x{code:02x}")
    if ndim == 0:
        raise DataError(f"{name}: the IDX array must have at least 1 dimension, got 0")
    start = 4 + 4 * ndim
    if len(content) < start:
        raise DataError(f"{name}: the IDX header must have {start} bytes for {ndim} dimensions, got {len(content)}")
    shape = struct.unpack_from(f">{ndim}I", content, 4)
    dtype = np.dtype(_DTYPES[code])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise DataError(
            f"{name}: an IDX file of {dtype.name} {shape} must have {expected:,} bytes, got {len(content):,}"
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def labelled_images(images: bytes, labels: bytes, name: str, classes: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return images (N, 1, H, W) and labels (N,) from two IDX files that belong together.

    Raises: DataError when they are not images and labels of one length, or a label is not below `classes`.
    """
    pixels, targets = parse_idx(images, f"{name} images"), parse_idx(labels, f"{name} labels")
    for what, array, ndim in (("images", pixels, 3), ("labels", targets, 1)):
        if array.dtype != np.uint8 or array.ndim != ndim:
            raise DataError(f"{name}: {what} must be uint8 of {ndim} dimensions, got {array.dtype} {array.shape}")
    if len(pixels) != len(targets):
        raise DataError(f"{name}: labels must be as many as the {len(pixels)} images, got {len(targets)}")
    if targets.size and targets.max() >= classes:
        raise DataError(f"{name}: labels must be below {classes}, got {targets.max()}")
    return pixels[:, None], targets
