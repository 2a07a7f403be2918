"""L-BFGS: finds minima of smooth functions in few evaluations, and keeps what it promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor, nn, optim


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def quadratic(x: Tensor) -> Tensor:
    scales = dd2424.arange(1, x.numel() + 1, dtype=x.dtype)
    return (scales * (x - 3) ** 2).sum()


def minimise(function: Any, start: list[float], steps: int = 1, **options: Any) -> tuple[nn.Parameter, Any, int]:
    x = nn.Parameter(dd2424.tensor(start, dtype=dd2424.float64))
    optimizer, evaluations = optim.LBFGS([x], **options), 0

    def closure() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = function(x)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return x, optimizer.state[x], evaluations


def test_finds_the_minimum_of_rosenbrocks_valley() -> None:
    x, state, evaluations = minimise(rosenbrock, [-1.2, 1.0, -0.5], max_iter=200, line_search_fn="strong_wolfe")
    np.testing.assert_allclose(x.detach().numpy(), 1, atol=1e-5)
    assert evaluations < 100
    assert state["func_evals"] == evaluations


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_a_quadratic_takes_as_many_steps_as_dimensions(line_search: str | None) -> None:
    x, state, _ = minimise(quadratic, [0.0] * 6, max_iter=60, lr=1.0, line_search_fn=line_search)
    np.testing.assert_allclose(x.detach().numpy(), 3, atol=1e-4)  # it stops where the loss changes by 1e-9
    assert state["n_iter"] <= 40


def test_history_is_limited() -> None:
    _, state, _ = minimise(rosenbrock, [-1.2, 1.0], max_iter=30, history_size=3, line_search_fn="strong_wolfe")
    assert len(state["old_dirs"]) == len(state["old_stps"]) == 3


def test_evaluations_are_limited() -> None:
    _, _, evaluations = minimise(rosenbrock, [-1.2, 1.0], max_iter=100, max_eval=7, lr=0.001)
    assert evaluations == 8


def test_several_parameters_are_one_vector() -> None:
    a, b = nn.Parameter(dd2424.zeros(2, 2)), nn.Parameter(dd2424.zeros(()))
    optimizer = optim.LBFGS([a, b], max_iter=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = ((a - 2) ** 2).sum() + (b + 1) ** 2
        loss.backward()
        return loss

    assert float(optimizer.step(closure)) == 17
    np.testing.assert_allclose(a.detach().numpy(), 2, atol=1e-5)
    np.testing.assert_allclose(float(b.detach()), -1, atol=1e-5)


def test_refusals() -> None:
    x = nn.Parameter(dd2424.zeros(1))
    with pytest.raises(TypeError, match="LBFGS: step needs a closure"):
        optim.LBFGS([x]).step()
    with pytest.raises(RuntimeError, match='line_search_fn must be None or "strong_wolfe"'):
        optim.LBFGS([x], line_search_fn="armijo")
    with pytest.raises(ValueError, match="params must be one group, got 2"):
        optim.LBFGS([{"params": [x]}, {"params": [nn.Parameter(dd2424.zeros(1))]}])
    with pytest.raises(ValueError, match="LBFGS: lr must be"):
        optim.LBFGS([x], lr=-1)
