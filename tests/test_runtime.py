"""The machine underneath: threads, forked and spawned children, ISA levels, memory, configuration."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits


def in_child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, **environment})  # fmt: skip


def work() -> Any:
    """Products and sums large enough for several threads."""
    x = dd2424.arange(300 * 400.0).reshape(300, 400) / 1000
    x.requires_grad_()
    y = (x @ x.T).relu()
    y.sum().backward()
    return bits((y, x.grad))


# threads


def test_number_of_threads() -> None:
    for threads in (1, 2, 3, 7):
        dd2424.set_num_threads(threads)
        assert dd2424.get_num_threads() == threads
        work()
    for wrong in (0, -1, 5000):
        with pytest.raises(ValueError, match=r"set_num_threads: threads must be from 1 to 1024, got"):
            dd2424.set_num_threads(wrong)
    with pytest.raises(TypeError):
        dd2424.set_num_threads("two")


@pytest.mark.slow
def test_threads_of_the_environment() -> None:
    code = "import dd2424; print(dd2424.get_num_threads())"
    assert in_child(code, OMP_NUM_THREADS="3").stdout.strip() == "3"
    for senseless in ("", "0", "many"):
        assert int(in_child(code, OMP_NUM_THREADS=senseless).stdout) >= 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="masks of threads are Linux's")
def test_a_sleeping_worker_is_woken_on_another_processor_than_the_callers() -> None:
    """Its mask leaves one out: left to itself, Linux wakes it on the caller's, which is busy, and leaves it there."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("this process may run on one processor only")
    program = """
import os, time, dd2424
dd2424.set_num_threads(2)
x = dd2424.ones(1 << 20)
for _ in range(3):
    x + x
    time.sleep(0.05)
x + x
print(*(len(os.sched_getaffinity(int(thread))) for thread in os.listdir("/proc/self/task")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split().count(str(len(allowed) - 1)) == 1


def test_two_training_threads_share_the_pool() -> None:
    dd2424.set_num_threads(2)
    expected, results = work(), []

    def train() -> None:
        for _ in range(10):
            results.append(work())

    threads = [threading.Thread(target=train) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 30
    assert all(result == expected for result in results)


def test_the_number_of_threads_may_change_while_others_compute() -> None:
    expected, done, results = work(), threading.Event(), []

    def compute() -> None:
        while not done.is_set():
            results.append(work())

    thread = threading.Thread(target=compute)
    thread.start()
    for i in range(60):
        dd2424.set_num_threads(1 + i % 3)
        work()
    done.set()
    thread.join()
    assert all(result == expected for result in results)


# children


def compute_in_child(queue: Any) -> None:
    dd2424.set_num_threads(2)
    queue.put((dd2424.get_num_threads(), work()))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_children_compute(method: str) -> None:
    dd2424.set_num_threads(2)
    expected = work()  # the parent's pool is running
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    children = [context.Process(target=compute_in_child, args=(queue,)) for _ in range(2)]
    for child in children:
        child.start()
    results = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join(timeout=60)
        assert child.exitcode == 0
    assert results == [(2, expected)] * 2
    assert work() == expected


@pytest.mark.slow
def test_a_fork_while_another_thread_computes() -> None:
    """The child must not wait for a lock or a pool that died with the parent's threads."""
    code = """
import os, threading, dd2424
dd2424.set_num_threads(2)
x = dd2424.ones(300, 300)
done = threading.Event()
def compute():
    while not done.is_set():
        x @ x
        dd2424.empty(1000)
thread = threading.Thread(target=compute)
thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        ok = (x @ x).sum().item() == 300.0 ** 3 and dd2424.zeros(200_000).sum().item() == 0
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
done.set()
thread.join()
print("done")
"""
    run = in_child(code)
    assert run.stdout.strip() == "done", run.stderr[-2000:]


# ISA levels


@pytest.mark.slow
def test_isa_of_the_environment() -> None:
    code = "import dd2424; print(dd2424.get_isa())"
    for level in dd2424.supported_isas():
        assert in_child(code, DD2424_ISA=level).stdout.strip() == level
    assert in_child(code, DD2424_ISA="").stdout.strip() == dd2424.supported_isas()[-1]
    run = in_child(code, DD2424_ISA="sse9")
    assert run.returncode != 0
    assert "set_isa: name must be one of" in run.stderr
    assert "'sse9'" in run.stderr
    run = subprocess.run(
        [sys.executable, "-m", "dd2424", "list"],
        env={**os.environ, "DD2424_ISA": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("dd2424: set_isa: name must be one of")
    assert "Traceback" not in run.stderr


def test_set_isa() -> None:
    before = dd2424.get_isa()
    for level in dd2424.supported_isas():
        dd2424.set_isa(level)
        assert dd2424.get_isa() == level
    with pytest.raises(ValueError, match=r"set_isa: name must be one of .*generic.*, got 'AVX2'"):
        dd2424.set_isa("AVX2")
    assert dd2424.get_isa() == dd2424.supported_isas()[-1]
    dd2424.set_isa(before)
    assert dd2424.supported_isas()[0] == "generic"


# memory


def test_memory_stats_count() -> None:
    names = {"in_use_bytes", "peak_bytes", "reserved_bytes", "allocations", "system_allocations"}
    before = dd2424.memory_stats()
    assert set(before) == names
    x = dd2424.empty(1 << 20)
    after = dd2424.memory_stats()
    assert after["in_use_bytes"] - before["in_use_bytes"] >= 4 << 20
    assert after["allocations"] > before["allocations"]
    assert after["peak_bytes"] >= after["in_use_bytes"]
    assert after["reserved_bytes"] >= after["in_use_bytes"]
    del x
    assert dd2424.memory_stats()["in_use_bytes"] == before["in_use_bytes"]


def test_empty_cache_gives_large_blocks_back() -> None:
    x = dd2424.empty(1 << 22)
    del x
    held = dd2424.memory_stats()["reserved_bytes"]
    dd2424.empty_cache()
    assert dd2424.memory_stats()["reserved_bytes"] <= held - (16 << 20)
    assert dd2424.ones(10).sum().item() == 10


def test_a_kernel_works_in_a_larger_block_that_is_kept() -> None:
    """This convolution wants more than 9 MB: its filters, transformed."""
    x, weight = dd2424.ones(16, 256, 8, 8), dd2424.ones(256, 256, 3, 3)
    dd2424.empty_cache()
    kept = [dd2424.empty(16 << 20), dd2424.empty(16, 256, 8, 8)]
    kept.clear()
    before = dd2424.memory_stats()["reserved_bytes"]
    dd2424.nn.functional.conv2d(x, weight, padding=1)
    assert dd2424.memory_stats()["reserved_bytes"] < before + (4 << 20)


def test_tensors_are_aligned() -> None:
    for count in (1, 3, 17, 1000, 100_000):
        assert dd2424.empty(count).data_ptr() % 64 == 0


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"allocate: the system has no memory for"):
        dd2424.empty(1 << 50, dtype=dd2424.uint8)
    assert dd2424.ones(3).sum().item() == 3


# the rest


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    dd2424.show_config()
    text = capsys.readouterr().out
    for part in (dd2424.__version__, dd2424.get_isa(), np.__version__, "threads", "compiler", "memory"):
        assert part in text


def test_kernel_count_grows_by_one_for_each_kernel() -> None:
    x = dd2424.ones(3)
    before = dd2424.kernel_count()
    x + x
    x.sum()
    assert dd2424.kernel_count() == before + 2


def test_the_lock_is_released_around_large_work() -> None:
    """Python threads run while a kernel does."""
    ticks, done = [], threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(None)
            done.wait(0.0002)

    x = dd2424.ones(700, 700)
    thread = threading.Thread(target=tick)
    thread.start()
    before = len(ticks)
    x @ x @ x
    done.set()
    thread.join()
    assert len(ticks) > before
