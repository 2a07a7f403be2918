"""Images held as bytes, with the normalisation that turns them into network input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dd2424 import _core
from dd2424._core import Tensor

from .dataset import Dataset, Indices, as_rows


class _Tensors(NamedTuple):
    """What the kernels read; images and labels share the arrays' memory."""

    images: Tensor  # uint8 (N, *D)
    labels: Tensor  # int64 (N,)
    mean: Tensor  # float32 (*D)
    rstd: Tensor  # float32 (*D)


class ArrayDataset(Dataset[tuple["Tensor", int]]):
    """Images as bytes and their labels; a batch is gathered, cast and normalised in one kernel.

        y = (image / scale - mean) / std

    Shapes: images uint8 (N, *D), labels (N,) of any integer type; mean and std broadcast to (*D): a number for all
        pixels, (C, 1, 1) for each channel, (*D) for each pixel. None is mean 0 and std 1. With `flatten`, a sample is
        (prod(D),) and the statistics are broadcast before they are flattened.
    Units: a pixel of value `scale` becomes 1 before normalisation; mean and std are in those units.
    Raises: TypeError for other dtypes, ValueError for shapes that do not fit or a std that is not above zero.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[Any],
        *,
        mean: ArrayLike | None = None,
        std: ArrayLike | None = None,
        scale: float = 255.0,
        flatten: bool = False,
        classes: Sequence[str] = (),
    ) -> None:
        if images.dtype != np.uint8:
            raise TypeError(f"ArrayDataset: images must be uint8, got {images.dtype}")
        if labels.dtype.kind not in "iu":
            raise TypeError(f"ArrayDataset: labels must be integers, got {labels.dtype}")
        if images.ndim < 2 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"ArrayDataset: images and labels must be (N, *) and (N,), got {images.shape} and {labels.shape}"
            )
        self.images = np.ascontiguousarray(images)
        self.labels = labels.astype(np.int64, copy=False)
        self.scale = scale
        self.flatten = flatten
        self.classes = tuple(classes)
        self.mean = self._statistic("mean", 0.0 if mean is None else mean)
        self.std = self._statistic("std", 1.0 if std is None else std)
        if not (self.std > 0).all():
            raise ValueError(f"ArrayDataset: std must be above zero, got {self.std.min()}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"ArrayDataset({len(self)} images of {self.sample_shape}, {len(self.classes)} classes)"

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample as `__getitem__` returns it."""
        shape = self.images.shape[1:]
        return (math.prod(shape),) if self.flatten else shape

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        row = range(len(self))[index]
        images, labels = ArrayDataset.get_batch(self, [row])  # a subclass may make its batches of samples
        return images[0], int(labels[0].item())

    def get_batch(self, indices: Indices) -> list[Tensor]:
        """Return images (B, *sample_shape) float32 and labels (B,) int64. Raises: IndexError outside [0, N)."""
        t, rows = self._tensors, as_rows(indices)
        return [_core.gather_normalize(t.images, rows, t.mean, t.rstd), _core.index_select(t.labels, 0, rows)]

    def take(self, indices: Indices | slice) -> ArrayDataset:
        """Return the samples at `indices`, normalised alike; a slice shares memory."""
        rows = indices if isinstance(indices, slice) else np.asarray(indices, np.int64)
        return self._with(self.images[rows], self.labels[rows], self.mean, self.std, self.flatten)

    def normalized(self, mean: ArrayLike, std: ArrayLike, *, flatten: bool | None = None) -> ArrayDataset:
        """Return the same samples under another normalisation, sharing memory."""
        return self._with(self.images, self.labels, mean, std, self.flatten if flatten is None else flatten)

    def statistics(self, per: Literal["pixel", "channel", "all"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation (1/N) over the images, in the units of `mean` and `std`.

        Shapes: (*D) per pixel; (C, 1, 1) per channel, of images (N, C, H, W); () of all. What never varies has std 1,
        so that it is only centred.
        """
        dims = range(self.images.ndim - 1)
        axes = {"pixel": (), "channel": tuple(dims[1:]), "all": tuple(dims)}[per]
        total = np.zeros(self.images.shape[1:], np.uint64)
        squares = np.zeros_like(total)
        for start in range(0, len(self), 1024):  # whole numbers: exact, in any order
            chunk = self.images[start : start + 1024]
            total += chunk.sum(axis=0, dtype=np.uint64)
            squares += np.square(chunk, dtype=np.uint32).sum(axis=0, dtype=np.uint64)
        count = len(self) * math.prod(total.shape[axis] for axis in axes)
        mean, square = (a.sum(axis=axes, keepdims=per == "channel") / count for a in (total, squares))
        std = np.sqrt(np.maximum(square - mean**2, 0))
        return mean / self.scale, np.where(std > 0, std / self.scale, 1.0)

    def _with(self, images: Any, labels: Any, mean: ArrayLike, std: ArrayLike, flatten: bool) -> ArrayDataset:
        return ArrayDataset(images, labels, mean=mean, std=std, scale=self.scale, flatten=flatten, classes=self.classes)

    def _statistic(self, name: str, value: ArrayLike) -> NDArray[np.float64]:
        """Return a statistic broadcast to one image, (*D)."""
        array, shape = np.asarray(value, np.float64), self.images.shape[1:]
        try:
            return np.broadcast_to(array, shape)
        except ValueError:
            message = f"ArrayDataset: {name} must broadcast to an image of {shape}, got shape {array.shape}"
            raise ValueError(message) from None

    @cached_property
    def _tensors(self) -> _Tensors:
        # (x / scale - mean) / std = (x - scale * mean) * (1 / (scale * std)), rounded once to float32
        mean, rstd = self.scale * self.mean, 1 / (self.scale * self.std)
        arrays = (np.ascontiguousarray(a, np.float32).reshape(self.sample_shape) for a in (mean, rstd))
        images = self.images.reshape(len(self), *self.sample_shape)
        return _Tensors(_core.from_numpy(images), _core.from_numpy(self.labels), *map(_core.from_numpy, arrays))

    def __getstate__(self) -> dict[str, Any]:
        """A copy for another process carries arrays only."""
        return {key: value for key, value in self.__dict__.items() if key != "_tensors"}
