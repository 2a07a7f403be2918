"""In which order a data set is read: samplers give indices, a batch sampler gives lists of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dd2424 import _core
from dd2424._core import Tensor

from .seeds import Seeded, random_bits, shuffle, uniform

T_co = TypeVar("T_co", covariant=True)
Indices = NDArray[np.int64]


class Sampler(Generic[T_co]):
    """Base of all samplers: an iterable of indices, or of lists of indices."""

    def __init__(self, data_source: object = None) -> None: ...

    @abstractmethod
    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__}: __iter__ must be defined")


class ArraySampler(Sampler[int]):
    """A sampler that knows a whole epoch at once, as an array; loaders slice it instead of counting indices."""

    @abstractmethod
    def indices(self) -> Indices:
        """Return the indices of the next epoch, int64 of shape (len(self),)."""

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())


class SeededSampler(Seeded, ArraySampler):
    """A random order that depends on a seed and the number of the epoch alone.

    Every pass takes the next epoch; `set_epoch` goes to any other. The seed is drawn from `generator` (a dd2424 or
    NumPy generator, an int, or None for dd2424's default one) at the first pass.
    """

    @abstractmethod
    def draw(self) -> Indices:
        """Return the indices of epoch `self.epoch`."""

    def indices(self) -> Indices:
        drawn = self.draw()
        self.epoch += 1
        return drawn

    def bits(self, count: int) -> NDArray[np.uint64]:
        return random_bits(self.seed, self.epoch, count)


class SequentialSampler(ArraySampler):
    """Indices 0 to len(data_source) - 1 in order."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __len__(self) -> int:
        return len(self.data_source)

    def indices(self) -> Indices:
        return np.arange(len(self.data_source), dtype=np.int64)


class RandomSampler(SeededSampler):
    """All indices in random order, or `num_samples` of them, drawn with or without replacement.

    Without replacement, more samples than the data set has are several permutations one after another.
    Raises: ValueError when num_samples is not positive, TypeError when replacement is not a bool.
    """

    def __init__(
        self, data_source: Sized, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        super().__init__(generator)
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        if not isinstance(replacement, bool):
            raise TypeError(f"RandomSampler: replacement must be a bool, got {replacement!r}")
        _check_positive("RandomSampler", "num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __len__(self) -> int:
        return self.num_samples

    def draw(self) -> Indices:
        n, wanted = len(self.data_source), self.num_samples
        if self.replacement:
            return (uniform(self.bits(wanted)) * n).astype(np.int64)
        return shuffle(self.seed, self.epoch, n, rounds=-(-wanted // n))[:wanted]


class SubsetRandomSampler(SeededSampler):
    """The given indices in random order."""

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        super().__init__(generator)
        self._subset = np.asarray(indices, np.int64)

    def __len__(self) -> int:
        return len(self._subset)

    def draw(self) -> Indices:
        return self._subset[shuffle(self.seed, self.epoch, len(self))]


class WeightedRandomSampler(SeededSampler):
    """`num_samples` indices, each with probability proportional to its weight.

    Shapes: weights (N,), not negative, not all zero; they need not sum to one.
    Raises: ValueError for other weights, a num_samples that is not positive, or, without replacement, more samples
        than there are weights above zero.
    Source: without replacement, Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006).
    """

    def __init__(self, weights: ArrayLike, num_samples: int, replacement: bool = True, generator: Any = None) -> None:
        super().__init__(generator)
        _check_positive("WeightedRandomSampler", "num_samples", num_samples)
        self.weights = np.asarray(weights, np.float64)
        self.num_samples = num_samples
        self.replacement = replacement
        if self.weights.ndim != 1:
            raise ValueError(f"WeightedRandomSampler: weights must have shape (N,), got {self.weights.shape}")
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all() and self.weights.any()):
            raise ValueError("WeightedRandomSampler: weights must be finite, not negative and not all zero")
        possible = int(np.count_nonzero(self.weights))
        if not replacement and num_samples > possible:
            raise ValueError(
                f"WeightedRandomSampler: num_samples must be at most {possible}, the number of weights above zero, "
                f"without replacement, got {num_samples}"
            )

    def __len__(self) -> int:
        return self.num_samples

    def draw(self) -> Indices:
        if self.replacement:
            upper = np.cumsum(self.weights)
            # Rounding may carry a product up to the whole sum; the last index with weight takes it.
            last = int(np.flatnonzero(self.weights)[-1])
            points = uniform(self.bits(self.num_samples)) * upper[-1]
            drawn: Indices = np.minimum(np.searchsorted(upper, points, side="right"), last).astype(np.int64)
            return drawn
        with np.errstate(divide="ignore"):
            keys = -np.log1p(-uniform(self.bits(len(self.weights)))) / self.weights
        keys[self.weights == 0] = np.inf
        return np.argsort(keys)[: self.num_samples].astype(np.int64)


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` indices from another sampler; the last is shorter unless `drop_last`."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        _check_positive("BatchSampler", "batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"BatchSampler: drop_last must be a bool, got {drop_last!r}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]  # as in PyTorch: only where the sampler has a length
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch


def index_batches(batches: Iterable[Sequence[int]]) -> Iterator[Sequence[int] | Tensor]:
    """Yield what `batches` yields, as slices of one tensor where a BatchSampler stands on an ArraySampler."""
    sampler = batches.sampler if isinstance(batches, BatchSampler) else None
    if (
        type(batches) is not BatchSampler
        or not isinstance(sampler, ArraySampler)
        or type(sampler).__iter__ is not ArraySampler.__iter__  # a subclass with an order of its own
    ):
        yield from batches
        return
    size, order = batches.batch_size, _core.from_numpy(sampler.indices())
    end = len(order) - len(order) % size if batches.drop_last else len(order)
    for start in range(0, end, size):
        yield order[start : start + size]


def _check_positive(name: str, argument: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"{name}: {argument} must be a positive int, got {value!r}")
