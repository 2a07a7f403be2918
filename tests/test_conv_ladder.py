"""The readable convolutions: all three passes on every rung against the reference, and a training run on each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from convolutions import Problem, check_all_passes
from dd2424 import models, optim
from dd2424.nn import functional as F

RUNGS = ["naive", "blocked", "vectorised", "threaded"]
PROBLEMS = [
    Problem(2, 3, 5, [7, 6], [3, 3], padding=1),
    Problem(2, 4, 6, [9, 8], [3, 2], stride=[2, 3], padding=[(1, 1), (0, 0)], dilation=[2, 1], groups=2),
    Problem(1, 3, 9, [11], [4], stride=2),
    Problem(1, 2, 3, [4, 5, 3], [2, 3, 2], padding=1),
    Problem(2, 4, 6, [5, 4], [3, 3], stride=2, padding=1, output_padding=1, groups=2, transposed=True),
]  # fmt: skip


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("last", [False, True])
def test_all_passes_are_right(isa: str, rng: np.random.Generator, rung: str, problem: Problem, last: bool) -> None:
    with dd2424.kernels(rung):
        check_all_passes(problem, rng, formats=(last, last, last), roundings=8)


@pytest.mark.parametrize("rung", RUNGS)
def test_float64_and_mixed_formats(rng: np.random.Generator, rung: str) -> None:
    with dd2424.kernels(rung):
        check_all_passes(PROBLEMS[1], rng, np.float64, (True, False, True), roundings=8)


@pytest.mark.parametrize("rung", RUNGS)
def test_relu_comes_with_it(rng: np.random.Generator, rung: str) -> None:
    problem = PROBLEMS[0]
    x, weight, bias = problem.draw(rng, np.float32)
    sizes = [np.abs(a.astype(np.float64)) for a in (x, weight, bias)]
    with dd2424.kernels(rung):
        y = problem.run(*map(dd2424.from_numpy, (x, weight, bias)), relu=True)
    assert_accurate(y, np.maximum(problem.exact(x, weight, bias), 0), 8, problem.exact(*sizes))


def test_threads_do_not_change_bits(rng: np.random.Generator) -> None:
    problem = Problem(2, 32, 24, [16, 16], [3, 3], padding=1)
    x, weight, _ = problem.draw(rng, np.float32)

    def run() -> Any:
        leaves = [dd2424.from_numpy(a.copy()).requires_grad_() for a in (x, weight)]
        y = problem.run(*leaves)
        y.square().sum().backward()
        return y, [leaf.grad for leaf in leaves]

    with dd2424.kernels("threaded"):
        shared = same_for_any_threads(run)
    with dd2424.kernels("vectorised"):
        assert bits(run()) == bits(shared)


def losses(rung: str, x: Any, y: Any) -> list[float]:
    dd2424.manual_seed(0)
    model = models.SmallConvNet((4, 8), size=16, batch_norm=True)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    seen = []
    with dd2424.kernels(rung):
        for _ in range(6):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
    return seen


def test_a_network_trains_alike_on_every_rung(rng: np.random.Generator) -> None:
    x = dd2424.from_numpy(rng.standard_normal((8, 3, 16, 16)).astype(np.float32))
    y = dd2424.from_numpy(rng.integers(0, 10, 8))
    fast = losses("fast", x, y)
    assert fast[-1] < 0.7 * fast[0]
    for rung in RUNGS:
        np.testing.assert_allclose(losses(rung, x, y), fast, rtol=1e-4)
