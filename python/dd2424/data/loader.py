"""Batches of a data set, in an order that a seed decides."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler, index_batches

T_co = TypeVar("T_co", covariant=True)
Collate = Callable[[list[Any]], Any]


class DataLoader(Generic[T_co]):
    """Iterates over the batches of a data set; every pass with `shuffle` takes a new order, fixed by `generator`.

    A data set with `get_batch` (such as `ArrayDataset`) makes a batch in one call, unless a `collate_fn` is given.
    `batch_size=None` delivers samples one by one. With `num_workers`, so many threads prepare batches ahead, at most
    `prefetch_factor` each; order and content are the same for any number. `pin_memory`, `timeout` and
    `persistent_workers` have nothing to do and are accepted.

    Raises: ValueError for options that exclude each other; TypeError where a length is needed and missing.
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
        is_stream = isinstance(dataset, IterableDataset)
        if num_workers < 0:
            raise ValueError(f"DataLoader: num_workers must not be negative, got {num_workers}")
        if prefetch_factor is not None and (num_workers == 0 or prefetch_factor <= 0):
            raise ValueError(
                f"DataLoader: prefetch_factor must be positive and needs num_workers, got {prefetch_factor}"
            )
        if is_stream and (shuffle or sampler is not None or batch_sampler is not None or num_workers):
            raise ValueError("DataLoader: an IterableDataset must come without shuffle, sampler, batch_sampler and "
                             "num_workers: it has its own order")  # fmt: skip
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler must come without shuffle, got both")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "DataLoader: batch_sampler must come without batch_size, shuffle, sampler and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("DataLoader: drop_last must come with a batch_size, got None")
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.num_workers, self.prefetch_factor, self.worker_init_fn = num_workers, prefetch_factor, worker_init_fn
        self.generator, self.timeout, self.pin_memory = generator, timeout, pin_memory
        if sampler is None and not is_stream:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        self.sampler = sampler
        if batch_sampler is None and batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        elif is_stream and batch_size is not None and (isinstance(batch_size, bool) or batch_size <= 0):
            raise ValueError(f"DataLoader: batch_size must be a positive int, got {batch_size!r}")
        self.batch_sampler = batch_sampler
        takes_batches = collate_fn is None and isinstance(dataset, Dataset) and not is_stream
        self._get_batch = dataset.get_batch if takes_batches and batch_sampler is not None else None
        is_batched = batch_sampler is not None or batch_size is not None
        self.collate_fn: Collate = collate_fn or (default_collate if is_batched else default_convert)

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
        if self.sampler is None and self.batch_sampler is None:
            return self._stream()
        if self.num_workers:
            return self._ahead()
        return map(self._fetch, self._places())

    def _places(self) -> Iterator[Any]:
        """What `_fetch` takes, batch after batch: lists of indices, or an index."""
        if self.batch_sampler is not None:
            return iter(index_batches(self.batch_sampler))
        assert self.sampler is not None
        return iter(self.sampler)

    def _fetch(self, place: Any) -> Any:
        if self._get_batch is not None:
            return self._get_batch(place)
        if self.batch_sampler is None:
            return self.collate_fn(self.dataset[place])
        if hasattr(self.dataset, "__getitems__"):
            return self.collate_fn(self.dataset.__getitems__(list(place)))
        return self.collate_fn([self.dataset[int(index)] for index in place])

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

    def _ahead(self) -> Iterator[Any]:
        numbers = iter(range(self.num_workers))

        def start() -> None:
            if self.worker_init_fn is not None:
                self.worker_init_fn(next(numbers))

        waiting: deque[Future[Any]] = deque()
        depth = self.num_workers * (self.prefetch_factor or 2)
        with ThreadPoolExecutor(self.num_workers, "dd2424-loader", start) as pool:
            try:
                for place in self._places():
                    waiting.append(pool.submit(self._fetch, place))
                    if len(waiting) > depth:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
