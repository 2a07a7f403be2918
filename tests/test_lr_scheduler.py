"""Learning rates over time: every scheduler against its formula, saved and taken up again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn, optim
from dd2424.optim import lr_scheduler as schedulers

BASE = 0.8


def optimizer(lr: float = BASE, **options: Any) -> optim.SGD:
    return optim.SGD([nn.Parameter(dd2424.zeros(1))], lr=lr, **options)


def rates(scheduler: schedulers.LRScheduler, steps: int) -> list[float]:
    seen = [scheduler.optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()
        seen.append(scheduler.optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == [seen[-1]]
    return seen


def triangle(t: int, up: int, down: int) -> float:
    place = t % (up + down)
    return place / up if place <= up else 1 - (place - up) / down


def since_restart(t: int, period: int, factor: int) -> float:
    while t >= period:
        t, period = t - period, period * factor
    return t / period


def cosine(t: float, low: float = 0.1) -> float:
    return low + (BASE - low) * (1 + math.cos(math.pi * t)) / 2


CYCLE = {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3, "cycle_momentum": False}
ONE_CYCLE = {"max_lr": 1.0, "total_steps": 13, "pct_start": 4 / 13, "cycle_momentum": False}
# fmt: off
FORMULAS: list[tuple[str, dict[str, Any], Callable[[int], float]]] = [
    ("LambdaLR", {"lr_lambda": lambda t: 0.9**t}, lambda t: BASE * 0.9**t),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 1 - t / 100},
     lambda t: BASE * math.prod(1 - i / 100 for i in range(t + 1))),
    ("StepLR", {"step_size": 3, "gamma": 0.5}, lambda t: BASE * 0.5 ** (t // 3)),
    ("MultiStepLR", {"milestones": [2, 5, 5], "gamma": 0.5}, lambda t: BASE * 0.5 ** ((t >= 2) + 2 * (t >= 5))),
    ("ExponentialLR", {"gamma": 0.7}, lambda t: BASE * 0.7**t),
    ("ConstantLR", {"factor": 0.25, "total_iters": 4}, lambda t: BASE * (0.25 if t < 4 else 1)),
    ("LinearLR", {"start_factor": 0.5, "end_factor": 0.1, "total_iters": 5},
     lambda t: BASE * (0.5 - 0.4 * min(t, 5) / 5)),
    ("PolynomialLR", {"total_iters": 6, "power": 2.0}, lambda t: BASE * (1 - min(t, 6) / 6) ** 2),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.1}, lambda t: cosine(t / 5)),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.1}, lambda t: cosine(since_restart(t, 3, 2))),
    ("CosineAnnealingWarmRestarts", {"T_0": 4}, lambda t: cosine(since_restart(t, 4, 1), 0.0)),
    ("CyclicLR", {**CYCLE, "step_size_up": 4, "step_size_down": 2}, lambda t: 0.1 + 0.4 * triangle(t, 4, 2)),
    ("CyclicLR", {**CYCLE, "mode": "triangular2"}, lambda t: 0.1 + 0.4 * triangle(t, 3, 3) / 2 ** (t // 6)),
    ("CyclicLR", {**CYCLE, "mode": "exp_range", "gamma": 0.9}, lambda t: 0.1 + 0.4 * triangle(t, 3, 3) * 0.9**t),
    ("OneCycleLR", {**ONE_CYCLE, "anneal_strategy": "linear"},
     lambda t: 0.04 + 0.96 * t / 3 if t <= 3 else 1 + (4e-6 - 1) * (t - 3) / 9),
]
# fmt: on


@pytest.mark.parametrize(("name", "options", "formula"), FORMULAS, ids=lambda v: v if isinstance(v, str) else "")
def test_follows_its_formula(name: str, options: dict[str, Any], formula: Callable[[int], float]) -> None:
    scheduler = getattr(schedulers, name)(optimizer(), **options)
    np.testing.assert_allclose(rates(scheduler, 12), [formula(t) for t in range(13)], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize(("name", "options", "formula"), FORMULAS, ids=lambda v: v if isinstance(v, str) else "")
def test_is_taken_up_where_it_was_saved(name: str, options: dict[str, Any], formula: Callable[[int], float]) -> None:
    whole = rates(getattr(schedulers, name)(optimizer(), **options), 10)
    first = optimizer()
    scheduler = getattr(schedulers, name)(first, **options)
    rates(scheduler, 4)
    second = optimizer()
    resumed = getattr(schedulers, name)(second, **options)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert rates(resumed, 6) == whole[4:]


@pytest.mark.parametrize(
    ("name", "options", "formula"),
    [case for case in FORMULAS if case[0] not in ("MultiplicativeLR", "CyclicLR", "OneCycleLR")],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_can_be_set_to_a_time(name: str, options: dict[str, Any], formula: Callable[[int], float]) -> None:
    scheduler = getattr(schedulers, name)(optimizer(), **options)
    for time in (7, 3):
        scheduler.step(time)
        np.testing.assert_allclose(scheduler.get_last_lr(), [formula(time)], rtol=1e-11)


def test_groups_have_rates_of_their_own() -> None:
    groups = [{"params": [nn.Parameter(dd2424.zeros(1))], "lr": lr} for lr in (1.0, 10.0)]
    scheduler = schedulers.LambdaLR(optim.SGD(groups), [lambda t: 0.5**t, lambda t: 1.0])
    scheduler.step()
    assert scheduler.get_last_lr() == [0.5, 10.0]
    with pytest.raises(ValueError, match="lr_lambda must be one or 2 functions, got 1"):
        schedulers.LambdaLR(scheduler.optimizer, [lambda t: 1.0])


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_cycles_turn_the_momentum_the_other_way(name: str) -> None:
    options = {"momentum": 0.5} if name == "SGD" else {}
    cycled = getattr(optim, name)([nn.Parameter(dd2424.zeros(1))], **options)
    scheduler = schedulers.CyclicLR(cycled, 0.1, 0.5, step_size_up=2, base_momentum=0.6, max_momentum=0.9)

    def momentum() -> float:
        group = cycled.param_groups[0]
        return group["momentum"] if name == "SGD" else group["betas"][0]

    seen = [momentum()]
    for _ in range(4):
        scheduler.step()
        seen.append(momentum())
    np.testing.assert_allclose(seen, [0.9, 0.75, 0.6, 0.75, 0.9])


def test_sequence_hands_over_at_its_milestones() -> None:
    base = optimizer(1.0)
    parts = [schedulers.ConstantLR(base, 0.1, 100), schedulers.ExponentialLR(base, 0.5)]
    scheduler = schedulers.SequentialLR(base, parts, [3])
    np.testing.assert_allclose(rates(scheduler, 5), [0.1, 0.1, 0.1, 1.0, 0.5, 0.25])


def test_chain_multiplies() -> None:
    base = optimizer(1.0)
    scheduler = schedulers.ChainedScheduler([schedulers.ConstantLR(base, 0.1, 2), schedulers.ExponentialLR(base, 0.5)])
    np.testing.assert_allclose(rates(scheduler, 3), [0.1, 0.05, 0.25, 0.125])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_waits_patiently_and_cools_down(mode: str) -> None:
    base = optimizer(1.0)
    scheduler = schedulers.ReduceLROnPlateau(base, mode, factor=0.1, patience=1, cooldown=2, min_lr=0.005)
    seen = []
    for loss in [5, 4, 4, 4, 4, 4, 4, 4, 4, 4]:
        scheduler.step(loss if mode == "min" else 10 - loss)
        seen.append(base.param_groups[0]["lr"])
    np.testing.assert_allclose(seen, [1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_plateau_has_an_absolute_threshold() -> None:
    base = optimizer(1.0)
    scheduler = schedulers.ReduceLROnPlateau(base, threshold=0.5, threshold_mode="abs", patience=0, factor=0.5)
    for loss, expected in [(3.0, 1.0), (2.4, 1.0), (2.0, 0.5), (1.8, 0.5)]:
        scheduler.step(loss)
        assert base.param_groups[0]["lr"] == expected


# fmt: off
REFUSALS: list[tuple[type[Exception], str, str, dict[str, Any]]] = [
    (ValueError, r"factor must lie in \[0, 1\], got 2.0", "ConstantLR", {"factor": 2.0}),
    (ValueError, r"start_factor must lie in \(0, 1\]", "LinearLR", {"start_factor": 0.0}),
    (ValueError, r"end_factor must lie in \[0, 1\]", "LinearLR", {"end_factor": 2.0}),
    (ValueError, "T_0 must be an int above 0, got 0", "CosineAnnealingWarmRestarts", {"T_0": 0}),
    (ValueError, "T_mult must be an int above 0", "CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 0}),
    (ValueError, "mode must be .* got 'square'", "CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "mode": "square"}),
    (ValueError, "base_lr must have the same length", "CyclicLR", {"base_lr": [0.1, 0.2], "max_lr": 1.0}),
    (ValueError, "total_steps must be given", "OneCycleLR", {"max_lr": 1.0}),
    (ValueError, "total_steps must be above 0, got 0", "OneCycleLR", {"max_lr": 1.0, "total_steps": 0}),
    (ValueError, "pct_start must lie in", "OneCycleLR", {"max_lr": 1.0, "total_steps": 5, "pct_start": 2.0}),
    (ValueError, "anneal_strategy", "OneCycleLR", {"max_lr": 1.0, "total_steps": 5, "anneal_strategy": "x"}),
    (ValueError, "factor must be below 1, got 1.0", "ReduceLROnPlateau", {"factor": 1.0}),
    (ValueError, "mode must be 'min' or 'max', got 'least'", "ReduceLROnPlateau", {"mode": "least"}),
    (ValueError, "at least one scheduler", "SequentialLR", {"schedulers": [], "milestones": []}),
    (KeyError, "initial_lr", "StepLR", {"step_size": 1, "last_epoch": 3}),
]
# fmt: on


@pytest.mark.parametrize(("error", "message", "name", "options"), REFUSALS)
def test_each_refusal(error: type[Exception], message: str, name: str, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        getattr(schedulers, name)(optimizer(momentum=0.9), **options)


def test_refuses_what_is_no_optimizer_and_steps_past_the_end() -> None:
    with pytest.raises(TypeError, match="int is not an Optimizer"):
        schedulers.StepLR(3, 1)  # type: ignore[arg-type]
    scheduler = schedulers.OneCycleLR(optimizer(), 1.0, total_steps=2, cycle_momentum=False)
    scheduler.step()
    scheduler.step()  # a loop ends with it
    with pytest.raises(ValueError, match="at most total_steps = 2 times"):
        scheduler.step()
    with pytest.raises(ValueError, match="cycle_momentum must be False for Adagrad"):
        schedulers.CyclicLR(optim.Adagrad([nn.Parameter(dd2424.zeros(1))]), 0.1, 1.0)
