"""Batches on their way to a GPU: in pinned memory, and copied ahead of when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dd2424 import cuda
from dd2424._core import Tensor
from dd2424._device import device as Device


def _mapped(function: Callable[[Any], Any], batch: Any, name: str) -> Any:
    """The batch with the function of its tensors, and of what has a method of that name, in their places."""
    if isinstance(batch, Tensor) or (hasattr(batch, name) and not isinstance(batch, type)):
        return function(batch)
    if isinstance(batch, Mapping):
        return type(batch)({key: _mapped(function, part, name) for key, part in batch.items()})  # type: ignore[call-arg]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_mapped(function, part, name) for part in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(_mapped(function, part, name) for part in batch)
    return batch


def pinned(batch: Any) -> Any:
    """The batch with its tensors in memory that a GPU reaches by itself. Raises: RuntimeError where there is no GPU."""
    return _mapped(lambda part: part if part.is_cuda else part.pin_memory(), batch, "pin_memory")


class Prefetcher:
    """Iterates over a loader's batches on a GPU; the next one is copied while the GPU works on the one before.

        for x, y in Prefetcher(loader, "cuda"):
            step(x, y)

    Copies run on a stream of their own, from pinned memory; what uses a batch waits for its copy alone. On the
    processor batches pass as they are.
    Raises: RuntimeError for a GPU where there is none.
    """

    def __init__(self, loader: Iterable[Any], device: Device | str = "cuda") -> None:
        self.loader, self.device = loader, Device(device)
        self._stream = cuda.Stream(self.device) if self.device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]  # where it has a length

    def __iter__(self) -> Iterator[Any]:
        if self._stream is None:
            yield from self.loader
            return
        waiting: list[tuple[Any, cuda.Event]] = []
        for batch in self.loader:
            waiting.append(self._copied(batch, self._stream))
            if len(waiting) > 1:
                yield self._ready(*waiting.pop(0))
        for entry in waiting:
            yield self._ready(*entry)

    def _copied(self, batch: Any, stream: cuda.Stream) -> tuple[Any, cuda.Event]:
        with cuda.stream(stream):
            moved = _mapped(lambda part: part.to(self.device, non_blocking=True), pinned(batch), "pin_memory")
            return moved, stream.record_event()

    def _ready(self, batch: Any, copied: cuda.Event) -> Any:
        copied.wait()
        return batch
