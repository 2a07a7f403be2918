"""Schedulers have PyTorch's arguments, defaults and rates."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

import dd2424

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

# fmt: off
CASES: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 0.95}),
    ("StepLR", {"step_size": 4}),
    ("MultiStepLR", {"milestones": [3, 9]}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ConstantLR", {}), ("LinearLR", {}), ("PolynomialLR", {}),
    ("LinearLR", {"start_factor": 0.01, "total_iters": 12}),
    ("PolynomialLR", {"total_iters": 9, "power": 3.0}),
    ("CosineAnnealingLR", {"T_max": 7}),
    ("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.2}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 3}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 5}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 3, "step_size_down": 4, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 3, "scale_fn": lambda x: 1 / x}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20}),
    ("OneCycleLR", {"max_lr": 1.0, "epochs": 4, "steps_per_epoch": 5, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20, "three_phase": True}),
]
# fmt: on
OURS = {"InverseSquareRootLR", "WarmupCosineLR"}  # PyTorch has none
NAMES = [name for name in dd2424.optim.lr_scheduler.__all__ if name not in OURS]


def make(library: Any, name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    groups = [{"params": [library.nn.Parameter(library.zeros(1))], "lr": lr} for lr in (0.5, 0.25)]
    optimizer = library.optim.SGD(groups, momentum=0.9)
    return optimizer, getattr(library.optim.lr_scheduler, name)(optimizer, **options)


def history(library: Any, name: str, options: dict[str, Any]) -> list[Any]:
    optimizer, scheduler = make(library, name, options)
    seen = []
    for _ in range(20):
        seen.append([group[key] for group in optimizer.param_groups for key in ("lr", "momentum")])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_same_arguments_and_defaults(name: str) -> None:
    ours = inspect.signature(getattr(dd2424.optim.lr_scheduler, name)).parameters
    theirs = inspect.signature(getattr(torch.optim.lr_scheduler, name)).parameters
    assert [(p.name, p.default, p.kind) for p in ours.values()] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_same_rates(name: str, options: dict[str, Any]) -> None:
    np.testing.assert_allclose(history(dd2424, name, options), history(torch, name, options), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau_reduces_at_the_same_steps(rng: np.random.Generator, mode: str, threshold_mode: str) -> None:
    options = {"mode": mode, "threshold_mode": threshold_mode, "patience": 2, "cooldown": 1, "threshold": 0.05}
    measurements, seen = rng.standard_normal(40).tolist(), []
    for library in (dd2424, torch):
        optimizer, scheduler = make(library, "ReduceLROnPlateau", options)
        seen.append([])
        for measurement in measurements:
            scheduler.step(measurement)
            seen[-1].append([group["lr"] for group in optimizer.param_groups])
    np.testing.assert_allclose(seen[0], seen[1])
    assert seen[0][-1] != seen[0][0]


@pytest.mark.parametrize("name", ["SequentialLR", "ChainedScheduler"])
def test_combinations(name: str) -> None:
    seen = []
    for library in (dd2424, torch):
        schedulers = library.optim.lr_scheduler
        optimizer = library.optim.SGD([library.nn.Parameter(library.zeros(1))], lr=0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = [
                schedulers.LinearLR(optimizer, 0.1, total_iters=4),
                schedulers.CosineAnnealingLR(optimizer, 10),
                schedulers.ExponentialLR(optimizer, 0.5),
            ]
            if name == "SequentialLR":
                scheduler = schedulers.SequentialLR(optimizer, parts, [4, 9])
            else:
                scheduler = schedulers.ChainedScheduler(parts)
            seen.append([])
            for _ in range(14):
                seen[-1].append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                scheduler.step()
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-12)
