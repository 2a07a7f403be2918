"""What one training step costs, counted: kernels run, memory asked of the system, pages touched for the first time."""

from __future__ import annotations

import pathlib
import resource
import subprocess
import sys

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor, nn


class Assignment2:
    """Two layers of 50 hidden units on CIFAR-10's shape, cross-entropy, plain SGD: one batch of 100."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x = dd2424.tensor(rng.standard_normal((100, 3072), np.float32))
        self.labels = dd2424.tensor(rng.integers(0, 10, 100))
        self.model = nn.Sequential(nn.Linear(3072, 50), nn.ReLU(), nn.Linear(50, 10))
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = dd2424.optim.SGD(self.model.parameters(), lr=0.01)

    def step(self) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(self.x), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss


def test_kernels_of_a_step() -> None:
    """Forward 4: two products with their bias, ReLU, cross-entropy. Backward 8: the one it starts from, the loss, the
    hidden layer, ReLU, two weights, two biases; no gradient of the images. Update 1."""
    training = Assignment2()
    training.step()
    before = dd2424.kernel_count()
    training.step()
    assert dd2424.kernel_count() - before == 13


def test_forward_alone() -> None:
    training = Assignment2()
    with dd2424.no_grad():
        before = dd2424.kernel_count()
        training.loss(training.model(training.x), training.labels)
        assert dd2424.kernel_count() - before == 4


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_asks_the_system_for_nothing(threads: int) -> None:
    dd2424.set_num_threads(threads)
    training = Assignment2()
    for _ in range(3):  # fills the caches
        training.step()
    before = dd2424.memory_stats()
    for _ in range(10):
        training.step()
    after = dd2424.memory_stats()
    assert after["system_allocations"] == before["system_allocations"]
    assert after["reserved_bytes"] == before["reserved_bytes"]
    assert after["in_use_bytes"] == before["in_use_bytes"]
    assert after["allocations"] > before["allocations"]


@pytest.mark.slow
def test_a_step_touches_no_new_page() -> None:
    """In a process of its own: page faults are counted by process, and other tests leave threads behind."""
    code = """
import resource, test_counts
training = test_counts.Assignment2()
def faults(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        training.step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(20)
print(min(faults(50) for _ in range(3)))
"""
    here = pathlib.Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=here
    )
    assert run.stdout.strip() == "0", run.stderr[-2000:]


def test_a_bare_operation_is_one_kernel_and_one_allocation() -> None:
    x, y = dd2424.randn(1000), dd2424.randn(1000)
    calls = {"add": lambda: x + y, "matmul": lambda: x @ y, "exp": lambda: x.exp(), "sum": lambda: x.sum()}
    for name, call in calls.items():
        call()
        before = dd2424.kernel_count()
        call()
        assert dd2424.kernel_count() - before == 1, name


def test_views_run_no_kernel_and_allocate_no_storage() -> None:
    x = dd2424.randn(64, 64)
    before, in_use = dd2424.kernel_count(), dd2424.memory_stats()["in_use_bytes"]
    views = [x[1], x[:, 2], x.T, x.view(-1), x.unsqueeze(0), x.expand(3, 64, 64), x.detach(), x.diagonal()]
    assert dd2424.kernel_count() == before
    assert dd2424.memory_stats()["in_use_bytes"] - in_use < 2048 * len(views)  # headers and nodes
    del views
    assert dd2424.memory_stats()["in_use_bytes"] == in_use


def test_memory_comes_back() -> None:
    in_use = dd2424.memory_stats()["in_use_bytes"]
    for _ in range(3):
        Assignment2().step()
    peak = dd2424.memory_stats()["peak_bytes"]
    assert dd2424.memory_stats()["in_use_bytes"] == in_use
    dd2424.reset_peak_memory()
    assert dd2424.memory_stats()["peak_bytes"] < peak
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
