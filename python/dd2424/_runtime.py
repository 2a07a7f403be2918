"""The machine underneath: threads, ISA levels, memory, and what this build is."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from dd2424 import _core
from dd2424._core import (
    empty_cache,
    get_default_dtype,
    get_isa,
    get_kernels,
    get_num_threads,
    kernel_count,
    memory_stats,
    promote_types,
    reset_peak_memory,
    result_type,
    set_default_dtype,
    set_isa,
    set_num_threads,
    set_winograd,
    supported_isas,
    winograd_enabled,
)

# fmt: off
__all__ = [
    "show_config", "is_tensor", "kernels", "get_kernels", "empty_cache", "get_default_dtype", "get_isa",
    "get_num_threads", "kernel_count", "memory_stats", "promote_types", "reset_peak_memory", "result_type",
    "set_default_dtype", "set_isa", "set_num_threads", "set_winograd", "supported_isas", "winograd_enabled",
]
# fmt: on


def is_tensor(obj: object) -> bool:
    """Whether this is a Tensor."""
    return isinstance(obj, _core.Tensor)


@contextlib.contextmanager
def kernels(name: str) -> Iterator[None]:
    """Compute products and convolutions, forward and backward, by a rung of the ladder in docs/ladder.md.

    "naive" is the definition, "blocked", "vectorised" and "threaded" are each a step from the one before, "fast" are
    the kernels that run otherwise. Results are equal but for rounding. For this thread, in float32 and float64; on a
    GPU products have rungs, and convolutions run as ever:

        with dd2424.kernels("naive"):
            loss = model(x).sum()
            loss.backward()

    Raises: ValueError for another name.
    """
    before = get_kernels()
    _core.set_kernels(name)
    try:
        yield
    finally:
        _core.set_kernels(before)


def show_config() -> None:
    """Print what this installation runs on: versions, compiler, ISA level, threads, memory held."""
    import numpy as np

    import dd2424

    stats = memory_stats()
    rows = {
        "dd2424": f"{dd2424.__version__} ({os.path.dirname(dd2424.__file__)})",
        "Python, NumPy": f"{sys.version.split()[0]}, {np.__version__}",
        "compiler": _core.compiler,
        "ISA level": f"{get_isa()} of {', '.join(supported_isas())} (DD2424_ISA sets it)",
        "threads": f"{get_num_threads()} of {os.cpu_count()} processors (OMP_NUM_THREADS sets them)",
        "Winograd": f"{'on' if winograd_enabled() else 'off'} for convolutions of few taps (set_winograd sets it)",
        "memory": f"{stats['in_use_bytes']} bytes in use, {stats['reserved_bytes']} reserved",
        "CUDA": dd2424.cuda.why_not() or "{name}, {runtime}".format(**_core.cuda_properties()),
    }
    width = max(map(len, rows))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows.items()))
