"""Graphs that are deep, wide or shared: walked and freed without recursion, their sums in the order of the tape."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import dd2424
from accuracy import bits
from dd2424 import Tensor, autograd

DEPTH = 100_000


def chain(x: Tensor, length: int) -> Tensor:
    for _ in range(length):
        x = x + 1.0
    return x


def test_a_deep_graph_is_walked() -> None:
    x = dd2424.zeros(1, requires_grad=True)
    chain(x, DEPTH).sum().backward()
    assert x.grad.item() == 1


@pytest.mark.counts
def test_a_deep_graph_is_freed_without_a_walk() -> None:
    x = dd2424.zeros(1, requires_grad=True)
    y = chain(x, DEPTH)
    in_use = dd2424.memory_stats()["in_use_bytes"]
    del y
    assert dd2424.memory_stats()["in_use_bytes"] < in_use - 64 * DEPTH


def test_a_deep_graph_is_searched_by_grad() -> None:
    x = dd2424.zeros(1, requires_grad=True)
    (dx,) = autograd.grad(chain(x, DEPTH).sum(), x)
    assert dx.item() == 1


def test_deep_graphs_on_a_small_stack() -> None:
    """On a thread with 256 kB of stack, where one frame for each node would not fit; other kinds of nodes too."""
    code = """
import threading, dd2424
class Twice(dd2424.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.x = x
        return x + 0
    @staticmethod
    def backward(ctx, dy):
        return dy
def run():
    for step in (lambda y: y * y, lambda y: y.view(1), lambda y: y.add_(1), lambda y: Twice.apply(y), lambda y: y[0:1]):
        for walked in (True, False):
            x = dd2424.ones(1, requires_grad=True)
            y = x * 1
            for _ in range(20_000):
                y = step(y)
            if walked:
                y.sum().backward()
            del y
    done.append(True)
done = []
threading.stack_size(256 * 1024)
thread = threading.Thread(target=run)
thread.start()
thread.join()
print("done" if done else "failed")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout.strip() == "done", run.stderr[-2000:]


def test_a_diamond_is_walked_once_for_each_node() -> None:
    x = dd2424.ones(1, dtype=dd2424.float64, requires_grad=True)
    y = x
    for _ in range(60):  # 2^60 paths
        y = y + y
    y.sum().backward()
    assert x.grad.item() == 2.0**60


def test_nested_diamonds_through_products() -> None:
    x = dd2424.tensor([1.5], dtype=dd2424.float64, requires_grad=True)
    a, b = x * 2, x * x
    c = a * b
    (c * a + b * c).sum().backward()  # 4 x^4 + 2 x^5
    np.testing.assert_allclose(x.grad.item(), 16 * 1.5**3 + 10 * 1.5**4, rtol=1e-15)


def test_many_uses_add_up() -> None:
    x = dd2424.ones(3, requires_grad=True)
    total = sum((x * float(i) for i in range(1000)), dd2424.zeros(3))
    total.sum().backward()
    assert x.grad.tolist() == [499500.0] * 3


TERMS = [1e8, 1.0, -1e8, 3.0, 1e-8, 7e7, -2.5]


def test_sums_follow_the_tape_bit_by_bit() -> None:
    """In float32, where the order shows: the use recorded last comes first, however the uses are put together."""
    expected = np.float32(0)
    for i, term in enumerate(reversed(TERMS)):
        expected = np.float32(term) if i == 0 else np.float32(expected + np.float32(term))
    orders = [(0, 1, 2, 3, 4, 5, 6), (6, 5, 4, 3, 2, 1, 0), (3, 1, 4, 0, 5, 2, 6)]
    for is_leaf in (True, False):
        for order in orders:
            x = dd2424.ones(1, requires_grad=True)
            y = x if is_leaf else x * 1
            uses = [y * term for term in TERMS]
            total = dd2424.zeros(1)
            for i in order:
                total = total + uses[i]
            total.sum().backward()
            assert bits(x.grad) == bits(np.array([expected], np.float32)), (is_leaf, order)


def test_sums_do_not_depend_on_the_roots_order() -> None:
    results = []
    for flip in (False, True):
        x = dd2424.ones(1, requires_grad=True)
        roots = [(x * term).sum() for term in TERMS]
        autograd.backward(roots[::-1] if flip else roots)
        results.append(bits(x.grad))
    assert results[0] == results[1]


# Several walks.


def test_walks_nest_to_the_stated_depth() -> None:
    depths = []

    class Nest(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, dy):
            depths.append(len(depths))
            with dd2424.enable_grad():
                inner = dd2424.ones(1, requires_grad=True)
                Nest.apply(inner).sum().backward()
            return dy

    x = dd2424.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError, match="backward: walks may nest 64 deep"):
        Nest.apply(x).sum().backward()
    assert len(depths) == 64
    (x * 2).sum().backward()  # and the count is back at zero
    assert x.grad.item() == 2


@pytest.mark.parametrize("size", [10, 300_000])  # the larger runs with the interpreter's lock released
def test_threads_walk_graphs_of_their_own_into_one_leaf(size: int) -> None:
    x = dd2424.ones(size, requires_grad=True)
    steps, failures = 30, []

    def work() -> None:
        try:
            for _ in range(steps):
                (x * 2).sum().backward()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert x.grad.unique().tolist() == [2.0 * steps * len(threads)]


def test_threads_walk_one_graph_together() -> None:
    x = dd2424.ones(1000, requires_grad=True)
    y = (x * x).exp().sum()
    results: list[bytes] = []

    def work() -> None:
        for _ in range(20):
            (dx,) = autograd.grad(y, x, retain_graph=True)
            results.append(dx.numpy().tobytes())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 60
    assert len(set(results)) == 1


def test_recording_is_a_matter_of_each_thread() -> None:
    seen = []
    with dd2424.no_grad():
        thread = threading.Thread(target=lambda: seen.append(dd2424.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]
