"""GradScaler: the factor on the loss, its way up and down, and the steps that it leaves out."""

from __future__ import annotations

import math

import pytest

import dd2424
from dd2424 import nn
from dd2424.amp import GradScaler


def step(scaler: GradScaler, gradient: float) -> tuple[float, float]:
    """One iteration on the loss gradient * p: what p is afterwards, and the factor."""
    p = nn.Parameter(dd2424.tensor([1.0, 1.0]))
    optimizer = dd2424.optim.SGD([p], lr=0.5)
    scaler.scale((gradient * p).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    return p[0].item(), scaler.get_scale()


def test_the_step_is_that_of_the_unscaled_loss() -> None:
    assert step(GradScaler("cpu", init_scale=1024.0), 0.25) == (1 - 0.5 * 0.25, 1024.0)


@pytest.mark.parametrize("gradient", [math.inf, math.nan])
def test_a_gradient_that_is_not_finite_leaves_the_step_out(gradient: float) -> None:
    assert step(GradScaler("cpu", init_scale=8.0), gradient) == (1.0, 4.0)


def test_good_steps_in_a_row_let_the_factor_grow() -> None:
    scaler = GradScaler("cpu", init_scale=8.0, growth_interval=2, growth_factor=4.0)
    assert [step(scaler, g)[1] for g in (1.0, math.inf, 1.0, 1.0, 1.0)] == [8.0, 4.0, 4.0, 16.0, 16.0]


def test_its_state_comes_back() -> None:
    scaler = GradScaler("cpu", init_scale=8.0, growth_interval=3)
    step(scaler, 1.0)
    other = GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert [step(other, 1.0)[1] for _ in range(2)] == [8.0, 16.0]


def test_gradients_may_be_unscaled_before_the_step() -> None:
    p = nn.Parameter(dd2424.tensor([2.0]))
    optimizer, scaler = dd2424.optim.SGD([p], lr=1.0), GradScaler("cpu", init_scale=4.0)
    scaler.scale(3 * p).backward()
    scaler.unscale_(optimizer)
    assert p.grad is not None
    assert p.grad.item() == 3.0
    nn.utils.clip_grad_norm_([p], 1.0)
    with pytest.raises(RuntimeError, match="unscale_ must be called once"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="step must be called once"):
        scaler.step(optimizer)
    assert p.item() == pytest.approx(1.0, rel=1e-5)
    with pytest.raises(RuntimeError, match="without a closure"):
        scaler.step(optimizer, closure=lambda: 0.0)


def test_losses_in_lists_and_a_factor_that_is_given() -> None:
    scaler = GradScaler("cpu", init_scale=2.0)
    first, (second,) = scaler.scale([dd2424.ones(1), (dd2424.ones(1),)])
    assert first.item() == second.item() == 2.0
    scaler.update(16.0)
    assert scaler.get_scale() == 16.0
