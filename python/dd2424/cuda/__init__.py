"""The GPU: whether there is one that can be used, its memory, its streams, graphs of its work.

Kernels for GPUs are a library of their own, which the packages dd2424-cuda12 and dd2424-cuda13 bring and `make cuda`
builds. It is opened when a GPU is first asked for; DD2424_CUDA_LIBRARY names another one.
"""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424._lazy import lazy_getattr
from dd2424.cuda.arrays import array_of as array_of
from dd2424.cuda.devices import (
    DeviceProperties as DeviceProperties,
    current_device as current_device,
    device as device,
    device_count as device_count,
    device_of as device_of,
    get_device_capability as get_device_capability,
    get_device_name as get_device_name,
    get_device_properties as get_device_properties,
    init as init,
    is_bf16_supported as is_bf16_supported,
    is_initialized as is_initialized,
    is_tf32_supported as is_tf32_supported,
    set_device as set_device,
    synchronize as synchronize,
)
from dd2424.cuda.graphed import make_graphed_callables as make_graphed_callables
from dd2424.cuda.graphs import CUDAGraph as CUDAGraph, graph as graph, graph_pool_handle as graph_pool_handle
from dd2424.cuda.library import (
    _library as _library,
    is_available as is_available,
    require as require,
    why_not as why_not,
)
from dd2424.cuda.memory import (
    OutOfMemoryError as OutOfMemoryError,
    empty_cache as empty_cache,
    max_memory_allocated as max_memory_allocated,
    mem_get_info as mem_get_info,
    memory_allocated as memory_allocated,
    memory_reserved as memory_reserved,
    memory_stats as memory_stats,
    memory_summary as memory_summary,
    reset_max_memory_allocated as reset_max_memory_allocated,
    reset_peak_memory_stats as reset_peak_memory_stats,
)
from dd2424.cuda.streams import (
    Event as Event,
    ExternalStream as ExternalStream,
    Stream as Stream,
    StreamContext as StreamContext,
    current_stream as current_stream,
    default_stream as default_stream,
    is_current_stream_capturing as is_current_stream_capturing,
    set_stream as set_stream,
    stream as stream,
)


def manual_seed(seed: int) -> None:
    """Seed the generator of every device: there is one, and its bits are the same on all."""
    _core.default_generator.manual_seed(int(seed) % 2**64)


manual_seed_all = manual_seed


def seed() -> None:
    """Seed the generator of every device from the system."""
    _core.default_generator.seed()


seed_all = seed


def initial_seed() -> int:
    """The seed of the generator of every device."""
    return _core.default_generator.initial_seed()


def get_rng_state(device: Any = "cuda") -> _core.Tensor:
    """The state of the generator of every device, for `set_rng_state`."""
    return _core.default_generator.get_state()


def set_rng_state(new_state: _core.Tensor, device: Any = "cuda") -> None:
    """Put the generator of every device into this state."""
    _core.default_generator.set_state(new_state)


def get_rng_state_all() -> list[_core.Tensor]:
    """The states of the generators of all GPUs that there are."""
    return [get_rng_state()] * int(is_available())


def set_rng_state_all(new_states: list[_core.Tensor]) -> None:
    """Put the generators of all GPUs into these states."""
    for state in new_states:
        set_rng_state(state)


__getattr__ = lazy_getattr("dd2424.cuda", ("amp",))
