"""Streams, events and what they keep in order; pinned memory and copies that nobody waits for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import namedtuple

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor, cuda
from dd2424.autograd import Function
from dd2424.data import DataLoader, Prefetcher, TensorDataset
from on_gpu import needs_gpu

pytestmark = needs_gpu
N = 4099


def numbers(start: int = 0) -> Tensor:
    return dd2424.arange(start, start + N, dtype=dd2424.float32)


def test_the_current_stream_is_a_threads_own():
    default, s = cuda.default_stream(), cuda.Stream()
    assert cuda.current_stream() == default
    assert default.cuda_stream == 0
    seen = []
    with cuda.stream(s):
        assert cuda.current_stream() == s
        assert cuda.current_stream() is not s
        with default, cuda.stream(None):
            assert cuda.current_stream() == default
        thread = threading.Thread(target=lambda: seen.append(cuda.current_stream()))
        thread.start(), thread.join()
        with pytest.raises(ValueError, match="inside"), cuda.Stream():
            raise ValueError("inside")
        assert cuda.current_stream() == s
    assert cuda.current_stream() == default
    assert seen == [default]
    assert s != default
    assert len({s, cuda.ExternalStream(s.cuda_stream), default}) == 2
    assert f"{s.cuda_stream:#x}" in repr(s)
    assert (s.device, s.priority) == (dd2424.device("cuda:0"), 0)


def test_a_dropped_stream_serves_the_next():
    first = cuda.Stream(priority=-1)
    pointer = first.cuda_stream
    del first
    assert cuda.Stream(priority=-1).cuda_stream == pointer
    assert cuda.Stream(priority=0).cuda_stream != pointer


def test_streams_wait_for_each_other():
    x, first, second = numbers().cuda(), cuda.Stream(), cuda.Stream()
    first.wait_stream(cuda.current_stream())
    with cuda.stream(first):
        y = x * 2 + 1
    second.wait_stream(first)
    with cuda.stream(second):
        z = y * 3
        assert z.tolist() == ((numbers() * 2 + 1) * 3).tolist()
    event = first.record_event()
    with cuda.stream(first):
        w = x - 1
        event.record()
    second.wait_event(event)
    with cuda.stream(second):
        w = w * w
    cuda.current_stream().wait_stream(second)
    assert w.tolist() == ((numbers() - 1) * (numbers() - 1)).tolist()


def test_events_tell_when_and_how_long():
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    assert start.query()
    with pytest.raises(RuntimeError, match="elapsed_time: both events must be recorded"):
        start.elapsed_time(end)
    s = cuda.Stream()
    with cuda.stream(s):
        start.record()
        x = dd2424.ones(N, device="cuda") * 2
        end.record()
    end.synchronize()
    assert end.query()
    assert start.elapsed_time(end) >= 0
    assert start.cuda_event != end.cuda_event
    s.synchronize()
    assert s.query()
    with pytest.raises(RuntimeError, match="elapsed_time: the GPU reports an error"):
        s.record_event().elapsed_time(end)
    assert x.sum().item() == 2 * N


class Where(Function):
    """The identity, which notes the stream that its gradient is computed on."""

    seen: list[cuda.Stream] = []  # noqa: RUF012

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, dy):
        Where.seen.append(cuda.current_stream())
        return dy * 1


def test_backward_runs_where_forward_ran():
    Where.seen.clear()
    x, first, second = numbers().cuda().requires_grad_(), cuda.Stream(), cuda.Stream()
    first.wait_stream(cuda.current_stream())
    with cuda.stream(first):
        y = Where.apply(x) * 2
    second.wait_stream(first)
    with cuda.stream(second):
        z = Where.apply(y * y).sum()
    z.backward()
    assert cuda.current_stream() == cuda.default_stream()
    assert Where.seen == [second, first]
    assert x.grad is not None
    assert x.grad.tolist() == (8 * numbers()).tolist()


REUSE = """
import dd2424
from dd2424 import cuda
first, second = cuda.Stream(), cuda.Stream()
n = 5000
with cuda.stream(first):
    x = dd2424.ones(n, device="cuda")
    place = x.data_ptr()
second.wait_stream(first)
with cuda.stream(second):
    y = x * 2
    {release}
{other}
with cuda.stream(first):
    z = dd2424.full((n,), 7.0, device="cuda")
    assert z.data_ptr() == place, "the block is handed on"
first.synchronize()
second.synchronize()
with cuda.stream(second):
    assert y.sum().item() == 2 * n, "but not before its last reader is done"
"""


@pytest.mark.slow
@pytest.mark.parametrize(("release", "other"), [
    ("del x", ""),
    ("x.record_stream(second)", "with cuda.stream(first): del x"),
])  # fmt: skip
def test_memory_is_handed_on_behind_who_used_it(release, other):
    """Without the checks, under which no block is handed on."""
    code = REUSE.format(release=release, other=other)
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "DD2424_CUDA_CHECK": "0"},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_pinned_memory_holds_what_the_tensor_held(rng, dtype):
    x = dd2424.tensor(rng.integers(0, 2, (5, 7))).to(getattr(dd2424, dtype)).t()
    y = x.pin_memory()
    assert y.is_pinned()
    assert not x.is_pinned()
    assert y.pin_memory() is y
    assert y[1:].is_pinned()
    assert (y.stride(), y.dtype, y.tolist()) == (x.stride(), x.dtype, x.tolist())
    with pytest.raises(RuntimeError, match="pin_memory: input must be in the host's memory, got one on cuda"):
        x.cuda().pin_memory()


@pytest.mark.parametrize("pins", [True, False])
def test_copies_that_nobody_waits_for(pins):
    x, s = numbers().reshape(-1, 1).expand(N, 3).contiguous(), cuda.Stream()
    x = x.pin_memory() if pins else x
    with cuda.stream(s):
        y = x.to("cuda", non_blocking=True) * 2
        back = y.to("cpu", non_blocking=True)
        held = dd2424.empty(N, 3).pin_memory() if pins else dd2424.empty(N, 3)
        held.copy_(y, non_blocking=True)
        other = dd2424.empty(N, 3, device="cuda")
        other.copy_(x, non_blocking=True)
        third = x.cuda(non_blocking=True)
    s.synchronize()
    assert back.is_pinned()
    for copy, factor in ((back, 2), (held, 2), (other, 1), (third, 1)):
        np.testing.assert_array_equal(copy.cpu().numpy(), factor * x.numpy())


def test_a_pinned_block_is_handed_on_when_its_copy_is_done():
    s, results = cuda.Stream(), []
    with cuda.stream(s):
        for i in range(4):
            results.append(numbers(i).pin_memory().to("cuda", non_blocking=True))
    s.synchronize()
    assert [y.tolist() for y in results] == [numbers(i).tolist() for i in range(4)]


def test_a_loader_pins_and_a_prefetcher_copies():
    x, y = numbers()[:24].reshape(12, 2), dd2424.arange(12)
    loader = DataLoader(TensorDataset(x, y), batch_size=5, pin_memory=True)
    assert all(part.is_pinned() for batch in loader for part in batch)
    with_workers = DataLoader(TensorDataset(x, y), batch_size=5, pin_memory=True, num_workers=2)
    prefetcher = Prefetcher(with_workers)
    assert len(prefetcher) == 3
    for _ in range(2):
        batches = list(prefetcher)
        assert all(part.is_cuda for batch in batches for part in batch)
        assert [batch[1].tolist() for batch in batches] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
        assert dd2424.cat([batch[0] for batch in batches]).tolist() == x.tolist()
    assert [batch[1].is_cuda for batch in Prefetcher(loader, "cpu")] == [False] * 3


def test_a_prefetcher_keeps_the_form_of_a_batch():
    Pair = namedtuple("Pair", "x note")
    batch = {"a": [numbers(), "text"], "b": Pair(numbers(1), 3), "c": numbers(2).cuda()}
    (moved,) = Prefetcher([batch])
    assert moved["a"][0].is_cuda
    assert moved["a"][1] == "text"
    assert isinstance(moved["b"], Pair)
    assert moved["b"].x.tolist() == numbers(1).tolist()
    assert moved["b"].note == 3
    assert moved["c"] is batch["c"]
