"""Threads that prepare batches while the loop computes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

_END = object()
_current = threading.local()


@dataclass(frozen=True)
class WorkerInfo:
    """What a data set can learn of the worker that reads it."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


def get_worker_info() -> WorkerInfo | None:
    """Return the worker whose thread calls, or None outside of workers."""
    return getattr(_current, "info", None)


@dataclass(frozen=True)
class Crew:
    """The workers of one pass: how many, how many batches each prepares ahead, and how they start."""

    count: int
    depth: int
    timeout: float  # seconds, 0 for none
    start: Callable[[int], None] | None
    seed: int
    dataset: Any

    def initializer(self) -> Callable[[], None]:
        """What each thread calls first; it takes the next free number."""
        numbers = iter(range(self.count))

        def begin() -> None:
            number = next(numbers)
            _current.info = WorkerInfo(number, self.count, self.seed + number, self.dataset)
            if self.start is not None:
                self.start(number)

        return begin


def fetch_ahead(crew: Crew, fetch: Callable[[Any], Any], places: Iterable[Any]) -> Iterator[Any]:
    """Yield fetch(place) for every place, in order, made at most `count * depth` batches ahead.

    What `fetch` raises, the iteration raises at that batch. Raises: RuntimeError when a batch takes longer than the
    timeout, or a worker cannot start.
    """
    pool = ThreadPoolExecutor(crew.count, "dd2424-loader", crew.initializer())
    todo = iter(places)
    try:
        ahead = islice(todo, crew.count * crew.depth)
        waiting: deque[Future[Any]] = deque(pool.submit(fetch, place) for place in ahead)
        while waiting:
            try:
                batch = waiting.popleft().result(crew.timeout or None)
            except FutureTimeoutError:
                raise RuntimeError(
                    f"DataLoader: a batch must be ready within the timeout of {crew.timeout} s"
                ) from None
            waiting.extend(pool.submit(fetch, place) for place in islice(todo, 1))
            yield batch
    finally:  # also when the loop is left early
        pool.shutdown(wait=False, cancel_futures=True)


def read_ahead(crew: Crew, stream: Iterator[Any]) -> Iterator[Any]:
    """Yield what `stream` yields, read ahead by the crew, which must be one worker: a stream has one place only."""
    for batch in fetch_ahead(crew, lambda _: next(stream, _END), repeat(None)):
        if batch is _END:
            return
        yield batch
