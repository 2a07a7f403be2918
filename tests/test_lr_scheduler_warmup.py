"""Schedules that begin with a rise: their values, that they go on from a checkpoint, and refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import dd2424
from dd2424 import optim
from dd2424.optim.lr_scheduler import InverseSquareRootLR, WarmupCosineLR


def optimizer(lr: float = 2.0) -> Any:
    return optim.SGD([dd2424.zeros(1, requires_grad=True)], lr=lr)


def rates(scheduler: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return found


def test_cosine() -> None:
    found = rates(WarmupCosineLR(optimizer(), 4, 12, min_ratio=0.1), 15)
    down = [0.2 + 1.8 * (1 + math.cos(math.pi * i / 8)) / 2 for i in range(9)]
    assert found == pytest.approx([0.5, 1.0, 1.5, 2.0, *down, 0.2, 0.2])


def test_cosine_without_a_rise_is_pytorchs() -> None:
    plain = rates(optim.lr_scheduler.CosineAnnealingLR(optimizer(), 10), 10)
    assert rates(WarmupCosineLR(optimizer(), 0, 10), 10) == pytest.approx(plain)


@pytest.mark.parametrize("warmup", [1, 5, 4000])
def test_inverse_square_root_is_the_transformers(warmup: int) -> None:
    width = 512
    found = rates(InverseSquareRootLR(optimizer((width * warmup) ** -0.5), warmup), 12)
    paper = [width**-0.5 * min(step**-0.5, step * warmup**-1.5) for step in range(1, 13)]
    assert found == pytest.approx(paper)


MAKERS: dict[str, Callable[[Any], Any]] = {
    "cosine": lambda o: WarmupCosineLR(o, 3, 9),
    "root": lambda o: InverseSquareRootLR(o, 3),
}


@pytest.mark.parametrize("name", MAKERS)
def test_it_goes_on_from_a_checkpoint(name: str) -> None:
    whole = rates(MAKERS[name](optimizer()), 9)
    first = MAKERS[name](optimizer())
    begun = rates(first, 5)
    second = MAKERS[name](optimizer())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert begun + rates(second, 4) == whole


def test_refusals() -> None:
    with pytest.raises(ValueError, match="InverseSquareRootLR: warmup_steps must not be negative, got -1"):
        InverseSquareRootLR(optimizer(), -1)
    with pytest.raises(ValueError, match="WarmupCosineLR: total_steps must be above warmup_steps 5, got 5"):
        WarmupCosineLR(optimizer(), 5, 5)
