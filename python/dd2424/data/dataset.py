"""Data sets: anything with a length and samples by index, or a stream of samples."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from dd2424 import _core
from dd2424._core import Tensor

from .collate import default_collate
from .seeds import draw_seed, permutation, random_bits

T_co = TypeVar("T_co", covariant=True)
Indices: TypeAlias = "Tensor | Sequence[int] | NDArray[np.int64]"  # whole numbers (B,)


def as_rows(indices: Indices) -> Tensor:
    """Return indices as an int64 tensor (B,)."""
    return indices if isinstance(indices, Tensor) else _core.from_numpy(np.asarray(indices, np.int64))


def samples_at(dataset: Any, indices: Indices) -> list[Any]:
    """Return the samples at `indices`, one by one or, where the data set has it, by its `__getitems__`."""
    places: Sequence[Any] = indices.tolist() if isinstance(indices, (Tensor, np.ndarray)) else indices
    if hasattr(dataset, "__getitems__"):
        taken: list[Any] = dataset.__getitems__(places)
        return taken
    return [dataset[place] for place in places]


class Dataset(Generic[T_co]):
    """Base of data sets read by index: define `__getitem__` and `__len__`.

    A data set that can take a whole batch at once also defines `get_batch`, which then must equal
    `default_collate` of its samples.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A subclass that changes what a sample is must not inherit a batch made in another way.
        if "__getitem__" in cls.__dict__ and "get_batch" not in cls.__dict__:
            cls.get_batch = Dataset.get_batch  # type: ignore[method-assign]

    def __getitem__(self, index: int) -> T_co:
        raise NotImplementedError(f"{type(self).__name__}: __getitem__ must be defined")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])

    def get_batch(self, indices: Indices) -> Any:
        """Return the samples of `indices` as one batch."""
        return default_collate(samples_at(self, indices))


class IterableDataset(Dataset[T_co]):
    """Base of data sets read as a stream: define `__iter__`. Loaders read it without workers."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__}: __iter__ must be defined")

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]  # as in PyTorch
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple["Tensor", ...]]):
    """Samples are rows of tensors of equal length: `dataset[i]` is `(t[i] for t in tensors)`.

    Shapes: tensors (N, *). Raises: ValueError when their lengths differ.
    """

    def __init__(self, *tensors: Tensor) -> None:
        lengths = [int(tensor.shape[0]) for tensor in tensors]
        if len(set(lengths)) != 1:
            raise ValueError(f"TensorDataset: tensors must have the same length, got lengths {lengths}")
        self.tensors = tensors

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def get_batch(self, indices: Indices) -> list[Tensor]:
        rows = as_rows(indices)
        return [_core.index_select(tensor, 0, rows) for tensor in self.tensors]


class StackDataset(Dataset[Any]):
    """Several data sets of equal length side by side; a sample is a tuple, or a dict for keyword arguments.

    Raises: ValueError when lengths differ, or for positional and keyword arguments at once, or none.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError("StackDataset: data sets must be all positional or all keyword arguments, at least one")
        self.datasets: tuple[Any, ...] | dict[str, Any] = args or kwargs
        lengths = [len(dataset) for dataset in args or kwargs.values()]
        if len(set(lengths)) != 1:
            raise ValueError(f"StackDataset: data sets must have the same length, got lengths {lengths}")
        self._length = lengths[0]

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T_co]):
    """Data sets one after another. Raises: ValueError without any, TypeError for an iterable one."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: datasets must hold at least one data set, got none")
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise TypeError("ConcatDataset: datasets must be read by index, got an IterableDataset (use ChainDataset)")
        self.cumulative_sizes = list(itertools.accumulate(len(dataset) for dataset in self.datasets))

    def __getitem__(self, index: int) -> T_co:
        index = _checked("ConcatDataset", index, len(self))
        part = bisect.bisect_right(self.cumulative_sizes, index)
        start = self.cumulative_sizes[part - 1] if part else 0
        sample: T_co = self.datasets[part][index - start]
        return sample

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[Any]):
    """Streams one after another."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)


class Subset(Dataset[T_co]):
    """The samples of `dataset` at `indices`. A batch is taken as `dataset` takes it."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: int) -> T_co:
        sample: T_co = self.dataset[self.indices[index]]
        return sample

    def __len__(self) -> int:
        return len(self.indices)

    def get_batch(self, indices: Indices) -> Any:
        if not isinstance(self.dataset, Dataset):
            return super().get_batch(indices)
        return self.dataset.get_batch(_core.index_select(self._rows, 0, as_rows(indices)))

    @cached_property
    def _rows(self) -> Tensor:
        return as_rows(self.indices)


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset[Any]]:
    """Split a data set at random into parts that do not overlap.

    `lengths` are counts that sum to len(dataset), or fractions that sum to 1; what rounding down leaves over goes to
    the first parts in turn. The split depends on `generator` alone (see `draw_seed`).
    Raises: ValueError for other lengths.
    """
    n = len(dataset)
    counts = [int(length) for length in lengths]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1 + 1e-9:
        if any(not 0 <= fraction <= 1 for fraction in lengths):
            raise ValueError(f"random_split: lengths must be fractions from 0 to 1, got {list(lengths)}")
        counts = [math.floor(n * fraction) for fraction in lengths]
        for part in range(n - sum(counts)):
            counts[part % len(counts)] += 1
    if min(counts, default=0) < 0:
        raise ValueError(f"random_split: lengths must not be negative, got {list(lengths)}")
    if sum(counts) != n:
        raise ValueError(f"random_split: lengths must sum to the data set's {n}, got {list(lengths)}")
    order = permutation(random_bits(draw_seed(generator), 0, n)).tolist()
    ends = itertools.accumulate(counts)
    return [Subset(dataset, order[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def _checked(name: str, index: int, length: int) -> int:
    """Return `index` counted from the front. Raises: IndexError outside [-length, length)."""
    if not -length <= index < length:
        raise IndexError(f"{name}: index must be in [{-length}, {length}), got {index}")
    return index % length
