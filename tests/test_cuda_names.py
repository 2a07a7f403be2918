"""The names of `dd2424.cuda` that programs use, with a GPU and without."""

from __future__ import annotations

import pytest

import dd2424
from dd2424 import cuda
from on_gpu import needs_gpu

NAMES = [
    "CUDAGraph", "Event", "ExternalStream", "OutOfMemoryError", "Stream", "StreamContext", "amp", "current_device",
    "current_stream", "default_stream", "device", "device_count", "device_of", "empty_cache",
    "get_device_capability", "get_device_name", "get_device_properties", "get_rng_state", "get_rng_state_all",
    "graph", "graph_pool_handle", "init", "initial_seed", "make_graphed_callables", "is_available", "is_bf16_supported",
    "is_current_stream_capturing", "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated",
    "mem_get_info", "memory_allocated", "memory_reserved", "memory_stats", "memory_summary",
    "reset_max_memory_allocated", "reset_peak_memory_stats", "seed", "seed_all", "set_device", "set_rng_state",
    "set_rng_state_all", "set_stream", "stream", "synchronize",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_there_and_documented(name):
    assert getattr(cuda, name).__doc__


@pytest.mark.torch
def test_names_are_pytorchs():
    torch = pytest.importorskip("torch")
    assert [name for name in NAMES if not hasattr(torch.cuda, name)] == []


def test_a_missing_name_says_so():
    with pytest.raises(NotImplementedError, match=r"dd2424.cuda: 'nvtx' is not implemented"):
        cuda.nvtx  # noqa: B018


@pytest.mark.skipif(cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_each_says_what_is_missing():
    refused = (cuda.Stream, cuda.Event, cuda.CUDAGraph, cuda.current_stream, cuda.default_stream, cuda.init,
               cuda.graph_pool_handle, cuda.get_device_properties, lambda: cuda.set_device(0), lambda: cuda.device(0),
               lambda: dd2424.ones(2).pin_memory(), lambda: dd2424.data.Prefetcher([]))  # fmt: skip
    for ask in refused:
        with pytest.raises(RuntimeError, match=r"device must be cpu, got cuda.*: (dd2424 has no CUDA|no NVIDIA)"):
            ask()
    assert not cuda.is_bf16_supported()
    assert not cuda.is_initialized()
    assert cuda.get_rng_state_all() == []
    assert not cuda.is_current_stream_capturing()
    assert not dd2424.ones(2).is_pinned()
    with cuda.device(None), cuda.device("cpu"), cuda.device_of(dd2424.ones(2)), cuda.stream(None):
        assert "in_use_bytes" in cuda.memory_summary()


def test_generators_are_one():
    cuda.manual_seed(5)
    state, first = cuda.get_rng_state(), dd2424.rand(3).tolist()
    assert cuda.initial_seed() == dd2424.initial_seed() == 5
    cuda.set_rng_state(state)
    assert dd2424.rand(3).tolist() == first
    cuda.set_rng_state_all([state])
    assert dd2424.rand(3).tolist() == first
    cuda.seed_all()
    assert cuda.initial_seed() != 5
    cuda.manual_seed_all(-1)
    assert cuda.initial_seed() == 2**64 - 1


@needs_gpu
def test_with_a_gpu():
    cuda.init()
    assert cuda.is_initialized()
    assert cuda.is_bf16_supported()
    cuda.set_device("cuda:0")
    with cuda.device(0), cuda.device("cuda"), cuda.device_of(dd2424.ones(2, device="cuda")):
        p = cuda.get_device_properties()
    assert (p.name, (p.major, p.minor)) == (cuda.get_device_name(), cuda.get_device_capability())
    assert p.total_memory == cuda.mem_get_info()[1]
    assert p.multi_processor_count > 0
    for refused in (lambda: cuda.set_device(1), lambda: cuda.device("cuda:1"), lambda: cuda.Stream(1)):
        with pytest.raises(RuntimeError, match="device must be cuda:0, got cuda:1"):
            refused()


@needs_gpu
def test_too_much_memory_is_an_error_of_its_own():
    for ask in (lambda: dd2424.empty(1 << 45, device="cuda"),
                lambda: dd2424.empty(1, device="cuda").expand(1 << 45) + 1):  # fmt: skip
        with pytest.raises(cuda.OutOfMemoryError, match="the GPU has no memory for"):
            ask()
    assert issubclass(cuda.OutOfMemoryError, RuntimeError)


@needs_gpu
def test_mixed_precision_has_its_name_here():
    x, w = dd2424.ones(3, 4, device="cuda"), dd2424.ones(4, 2, device="cuda")
    with cuda.amp.autocast(dtype=dd2424.bfloat16):
        assert (x @ w).dtype == dd2424.bfloat16
    assert cuda.amp.GradScaler is dd2424.amp.GradScaler
    assert cuda.amp.custom_fwd(lambda ctx, x: x) is not None
