"""Threads that prepare batches while the loop computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError as FutureTimeoutError
from itertools import islice
from typing import Any


def fetch_ahead(
    fetch: Callable[[Any], Any],
    places: Iterable[Any],
    workers: int,
    depth: int,
    timeout: float,
    worker_init_fn: Callable[[int], None] | None,
) -> Iterator[Any]:
    """Yield fetch(place) for every place, in order, made by `workers` threads at most `workers * depth` batches ahead.

    What `fetch` raises, the iteration raises at that batch. `worker_init_fn` is called with each worker's number.
    Units: timeout in seconds, 0 for none. Raises: RuntimeError when a batch takes longer.
    """
    numbers = iter(range(workers))
    initializer = None if worker_init_fn is None else lambda: worker_init_fn(next(numbers))
    pool = ThreadPoolExecutor(workers, "dd2424-loader", initializer)
    todo = iter(places)
    try:
        waiting: deque[Future[Any]] = deque(pool.submit(fetch, place) for place in islice(todo, workers * depth))
        while waiting:
            try:
                batch = waiting.popleft().result(timeout or None)
            except FutureTimeoutError:
                raise RuntimeError(f"DataLoader: a batch must be ready within the timeout of {timeout} s") from None
            waiting.extend(pool.submit(fetch, place) for place in islice(todo, 1))
            yield batch
    finally:  # also when the loop is left early
        pool.shutdown(wait=False, cancel_futures=True)
