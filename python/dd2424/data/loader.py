"""Batches of a data set, in an order that a seed decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from dd2424 import cuda

from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset, samples_at
from .pin import pinned
from .sampler import BatchSampler, RandomSampler, SequentialSampler, index_batches
from .seeds import Seeded
from .workers import Crew, fetch_ahead, read_ahead

T_co = TypeVar("T_co", covariant=True)
Collate = Callable[[list[Any]], Any]


class DataLoader(Generic[T_co]):
    """Iterates over the batches of a data set; every pass with `shuffle` takes a new order, fixed by `generator`.

    A data set with a `get_batch` of its own (such as `ArrayDataset`) makes a whole batch in one call, unless a
    `collate_fn` is given. `batch_size=None` delivers samples one by one. With `num_workers`, so many threads prepare
    batches ahead, `prefetch_factor` (2) each; order and content are the same for any number (a stream, an
    IterableDataset, is read by one thread, so that every sample comes once). `state_dict` tells the
    place in the middle of a pass; a loader that loads it goes on there, batch for batch. With `pin_memory`, where there
    is a GPU, batches lie in memory that it reaches by itself: `to("cuda", non_blocking=True)` then need not be waited
    for. What concerns processes is accepted and has no effect.

    Units: timeout in seconds, 0 for none.
    Raises: ValueError for options that exclude each other or are out of range, TypeError for a data set without a
        length where one is needed, RuntimeError when a worker takes longer than `timeout`.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Collate | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.num_workers, self.prefetch_factor, self.worker_init_fn = num_workers, prefetch_factor, worker_init_fn
        self.generator, self.timeout, self.pin_memory = generator, timeout, pin_memory
        self.persistent_workers = persistent_workers
        self._check_workers()
        self._check_order(shuffle, sampler, batch_sampler)
        is_stream = isinstance(dataset, IterableDataset)
        if batch_sampler is not None:
            self.batch_size = None
        if sampler is None and not is_stream:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        self.sampler = sampler
        if batch_sampler is None and batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        is_batched = batch_sampler is not None or batch_size is not None
        self.collate_fn: Collate = collate_fn or (default_collate if is_batched else default_convert)
        makes_batches = (
            isinstance(dataset, Dataset) and getattr(type(dataset), "get_batch", None) is not Dataset.get_batch
        )
        takes_batches = makes_batches and batch_sampler is not None and collate_fn is None
        make: Callable[[Any], Any] = dataset.get_batch if takes_batches else self._collated
        self._pins = pin_memory and cuda.is_available()
        self._fetch: Callable[[Any], Any] = (lambda place: pinned(make(place))) if self._pins else make
        self._resume_at = 0  # batches that the next pass leaves out
        self._running: dict[str, int] | None = None  # where the latest pass is

    def _check_workers(self) -> None:
        if self.num_workers < 0:
            raise ValueError(f"DataLoader: num_workers must not be negative, got {self.num_workers}")
        if self.persistent_workers and self.num_workers == 0:
            raise ValueError("DataLoader: persistent_workers must come with num_workers, got 0 of them")
        if self.timeout < 0:
            raise ValueError(f"DataLoader: timeout must not be negative, got {self.timeout}")
        ahead = self.prefetch_factor
        if ahead is not None and (self.num_workers == 0 or ahead <= 0):
            raise ValueError(f"DataLoader: prefetch_factor must be positive and needs num_workers, got {ahead}")

    def _check_order(self, shuffle: object, sampler: object, batch_sampler: object) -> None:
        size = self.batch_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size <= 0):
            raise ValueError(f"DataLoader: batch_size must be a positive int or None, got {size!r}")
        has_order = bool(shuffle) or sampler is not None or batch_sampler is not None
        if isinstance(self.dataset, IterableDataset) and has_order:
            raise ValueError(
                "DataLoader: an IterableDataset must come without shuffle, sampler and batch_sampler, "
                "for it has its own order, got one of them"
            )
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler must come without shuffle, got both")
        if batch_sampler is not None and (size != 1 or shuffle or sampler is not None or self.drop_last):
            raise ValueError(
                "DataLoader: batch_sampler must come without batch_size, shuffle, sampler and drop_last, got both"
            )
        if size is None and self.drop_last:
            raise ValueError("DataLoader: drop_last must come with a batch_size, got None")

    def __len__(self) -> int:
        """The number of batches of one pass; of a stream, an estimate from its length."""
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]  # as in PyTorch: only where it has a length
        if self.sampler is not None:
            return len(self.sampler)  # type: ignore[arg-type]
        n = len(self.dataset)
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        if not isinstance(self.dataset, IterableDataset):
            return self._pass()
        stream = map(pinned, self._stream()) if self._pins else self._stream()
        return read_ahead(self._crew(1), stream) if self.num_workers else stream

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of the current pass are done, and the pass's `seed` and `epoch` where it has them.

        Raises: TypeError for an IterableDataset, whose place only it knows.
        """
        if isinstance(self.dataset, IterableDataset):
            raise TypeError("DataLoader.state_dict: dataset must be read by index, got an IterableDataset")
        return dict(self._running or self._place(self._resume_at))

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Let the next pass deliver the rest of the one that `state_dict` was taken in.

        Raises: ValueError for a state of another kind of loader.
        """
        order = self._order()
        keys = {"position"} if order is None else {"position", "seed", "epoch"}
        if state_dict.keys() != keys:
            raise ValueError(f"DataLoader.load_state_dict: state must have {sorted(keys)}, got {sorted(state_dict)}")
        if order is not None:
            order.seed, order.epoch = state_dict["seed"], state_dict["epoch"]
        self._resume_at, self._running = state_dict["position"], None

    def _order(self) -> Seeded | None:
        """The sampler whose seed and epoch decide the order."""
        sampler = getattr(self.batch_sampler, "sampler", self.batch_sampler or self.sampler)
        return sampler if isinstance(sampler, Seeded) else None

    def _place(self, position: int) -> dict[str, int]:
        order = self._order()
        return (
            {"position": position}
            if order is None
            else {"position": position, "seed": order.seed, "epoch": order.epoch}
        )

    def _pass(self) -> Iterator[Any]:
        running = self._running = self._place(self._resume_at)
        self._resume_at = 0
        source = self.sampler if self.batch_sampler is None else index_batches(self.batch_sampler)
        assert source is not None
        places = islice(source, running["position"], None)  # before a batch is made: what is left out costs nothing
        for batch in self._fetch_all(places):
            running["position"] += 1
            yield batch
            del batch  # its memory, still in the cache, is the next one's
        if self._running is running:
            self._running = None

    def _fetch_all(self, places: Iterator[Any]) -> Iterator[Any]:
        if not self.num_workers:
            return map(self._fetch, places)
        return fetch_ahead(self._crew(self.num_workers), self._fetch, places)

    def _crew(self, count: int) -> Crew:
        order, depth = self._order(), (self.prefetch_factor or 2) * self.num_workers // count
        seed = order.seed if order is not None else 0
        return Crew(count, depth, self.timeout, self.worker_init_fn, seed, self.dataset)

    def _collated(self, place: Any) -> Any:
        if self.batch_sampler is None:
            return self.collate_fn(self.dataset[place])
        return self.collate_fn(samples_at(self.dataset, place))

    def _stream(self) -> Iterator[Any]:
        if self.batch_size is None:
            yield from map(self.collate_fn, self.dataset)
            return
        batch: list[Any] = []
        for sample in self.dataset:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.collate_fn(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.collate_fn(batch)
