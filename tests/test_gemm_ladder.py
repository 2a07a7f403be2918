"""The readable products: every rung gives what the fast kernels give, forward and backward, and where it is chosen."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import _core
from dd2424.nn import functional as F
from reference import gemm as reference

RUNGS = ["naive", "blocked", "vectorised", "threaded"]
SIZES = [(1, 1, 1), (3, 5, 2), (7, 33, 13), (65, 31, 300), (5, 70, 0)]  # tails of tiles and panels; nothing to sum


def arrays(rng: np.random.Generator, *shapes: tuple[int, ...], dtype: Any = np.float32) -> list[Any]:
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_product_is_right_on_every_rung(isa: str, rng: np.random.Generator, rung: str, size: Any, dtype: Any) -> None:
    m, n, k = size
    a, b = arrays(rng, (m, k), (k, n), dtype=dtype)
    exact, scale = reference.product(a, b), reference.scale(a, b)
    with dd2424.kernels(rung):
        assert_accurate(dd2424.from_numpy(a) @ dd2424.from_numpy(b), exact, 2 + k**0.5, scale)
        transposed = dd2424.from_numpy(np.ascontiguousarray(a.T)).T @ dd2424.from_numpy(np.ascontiguousarray(b.T)).T
    assert_accurate(transposed, exact, 2 + k**0.5, scale)


@pytest.mark.parametrize("rung", RUNGS)
def test_batches_broadcast(rng: np.random.Generator, rung: str) -> None:
    a, b = arrays(rng, (2, 1, 5, 7), (3, 7, 9))
    with dd2424.kernels(rung):
        c = dd2424.from_numpy(a) @ dd2424.from_numpy(b)
    assert_accurate(c, reference.product(a, b), 4, reference.scale(a, b))


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_linear_has_its_bias_activation_and_gradients(rng: np.random.Generator, rung: str, activation: str) -> None:
    given = arrays(rng, (13, 11), (6, 11), (6,))
    results = []
    for name in (rung, "fast"):
        leaves = [dd2424.from_numpy(x.copy()).requires_grad_() for x in given]
        with dd2424.kernels(name):
            y = F.linear(*leaves, activation=activation)
            y.square().sum().backward()
        results.append([y, *(leaf.grad for leaf in leaves)])
    for ours, fast in zip(*results, strict=True):
        assert_accurate(ours, fast.detach().numpy().astype(np.float64), 16, np.abs(fast.detach().numpy()).max())


def test_threads_do_not_change_bits(rng: np.random.Generator) -> None:
    a, b = (dd2424.from_numpy(x) for x in arrays(rng, (300, 200), (200, 90)))
    with dd2424.kernels("threaded"):
        shared = same_for_any_threads(lambda: a @ b)
    with dd2424.kernels("vectorised"):
        assert bits(a @ b) == bits(shared)


def test_a_backward_walk_climbs_the_rung_it_is_run_on(rng: np.random.Generator) -> None:
    a, b, dy = (dd2424.from_numpy(x) for x in arrays(rng, (40, 70), (70, 40), (40, 40)))

    def gradient(rung: str) -> Any:
        leaf = a.clone().requires_grad_()
        y = leaf @ b
        with dd2424.kernels(rung):
            y.backward(dy)
        return bits(leaf.grad)

    assert gradient("naive") != gradient("fast"), "every product is rounded, where fast ones are not"
    assert gradient("fast") == gradient("fast")


def test_the_rung_is_this_threads_and_ends_with_its_block() -> None:
    seen = []
    with dd2424.kernels("naive"):
        with dd2424.kernels("blocked"):
            assert dd2424.get_kernels() == "blocked"
        assert dd2424.get_kernels() == "naive"
        thread = threading.Thread(target=lambda: seen.append(dd2424.get_kernels()))
        thread.start()
        thread.join()
    assert (seen, dd2424.get_kernels()) == (["fast"], "fast")

    @dd2424.kernels("vectorised")
    def inside() -> str:
        return dd2424.get_kernels()

    assert (inside(), dd2424.get_kernels()) == ("vectorised", "fast")
    with pytest.raises(RuntimeError, match="stop"), dd2424.kernels("naive"):
        raise RuntimeError("stop")
    assert dd2424.get_kernels() == "fast"


def test_an_unknown_rung_is_refused() -> None:
    message = "kernels: name must be naive, blocked, vectorised, threaded or fast, got 'slow'"
    with pytest.raises(ValueError, match=message), dd2424.kernels("slow"):
        pass
    with pytest.raises(ValueError, match=message):
        _core.set_kernels("slow")
