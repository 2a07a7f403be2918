"""The handwritten digits that come with the package: 1,797 grey images of 8x8 pixels, 10 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import ArrayDataset
from .errors import DataError
from .idx import labelled_images
from .seeds import permutation, random_bits
from .splits import check_split, hold_out
from .unpack import unpack

_FOLDER = Path(__file__).parent / "files"
_TEST = 360
SCALE = 16.0  # a pixel counts the set points of a 4x4 block: 0 to 16


def digits(split: str = "train", *, validation: int = 0) -> ArrayDataset:
    """Return handwritten digits: images (N, 1, 8, 8) as bytes from 0 to 16, labels 0 to 9.

    Splits: "test" is 360 images drawn once and for all, "train" the other 1,437; `validation` holds the last so many of
        train out as split "validation". The file has one writer after another: taken in its order, the test images
        would be by other writers.
    Raises: DataError when the package's files are damaged; ValueError for another split.
    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (1998),
        doi:10.24432/C50P49, licence CC BY 4.0: the set's test part, which scikit-learn has too, stored as IDX files
        (files/README.md).
    """
    images, labels = _read()
    order = permutation(random_bits(0, 0, len(images)))
    images, labels = images[order], labels[order]
    cut = len(images) - _TEST
    check_split("digits", split, validation, train_size=cut)
    classes = tuple("0123456789")
    if split == "test":
        return ArrayDataset(images[cut:], labels[cut:], scale=SCALE, classes=classes)
    train = ArrayDataset(images[:cut], labels[:cut], scale=SCALE, classes=classes)
    return hold_out(train, split, validation)


def _read() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    images, labels = (_FOLDER / f"digits-{part}-ubyte.gz" for part in ("images-idx3", "labels-idx1"))
    try:
        return labelled_images(unpack(images), unpack(labels), "digits", 10)
    except DataError as error:
        raise DataError(f"digits: the package's own files must be whole: {error}; install dd2424 again") from None
