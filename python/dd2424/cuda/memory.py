"""The GPU's memory: how much tensors hold, and how much is kept for the next ones."""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424._core import OutOfMemoryError as OutOfMemoryError
from dd2424.cuda.devices import check_device

OutOfMemoryError.__doc__ = "The GPU has no memory for what was asked; what there is stays as it was."
_NOTHING = ("in_use_bytes", "peak_bytes", "reserved_bytes", "allocations", "system_allocations")


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of the GPU's memory. Raises: RuntimeError where there is no GPU."""
    check_device("mem_get_info", device)
    properties = _core.cuda_properties()
    return properties["free_bytes"], properties["total_bytes"]


def memory_stats(device: Any = None) -> dict[str, int]:
    """What `dd2424.memory_stats` tells, of the GPU's memory; all zero where there is no GPU in use."""
    return _core.cuda_memory_stats() if _core.cuda_is_open() else dict.fromkeys(_NOTHING, 0)


def memory_allocated(device: Any = None) -> int:
    """Bytes of the GPU's memory that tensors hold."""
    return memory_stats()["in_use_bytes"]


def max_memory_allocated(device: Any = None) -> int:
    """The most that tensors have held, in bytes, since the start or the last reset."""
    return memory_stats()["peak_bytes"]


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the GPU: what tensors hold and what is kept for the next ones."""
    return memory_stats()["reserved_bytes"]


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """`memory_stats` as a table."""
    return "\n".join(f"{name:<20} {count:>16,}" for name, count in memory_stats().items())


def reset_peak_memory_stats(device: Any = None) -> None:
    """Start counting `max_memory_allocated` anew."""
    if _core.cuda_is_open():
        _core.cuda_reset_peak_memory()


reset_max_memory_allocated = reset_peak_memory_stats


def empty_cache() -> None:
    """Give back what is kept for the next tensors and calls; what a captured graph works in stays."""
    if _core.cuda_is_open():
        _core.forget_axes()
        _core.cuda_empty_cache()
