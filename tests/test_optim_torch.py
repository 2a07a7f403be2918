"""Optimizers have PyTorch's arguments, defaults, state and steps."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn, optim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

# fmt: off
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SGD": [{}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}],
    "Adam": [{}, {"amsgrad": True, "weight_decay": 0.1}],
    "AdamW": [{}, {"maximize": True}],
    "NAdam": [{}, {"momentum_decay": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1}],
    "RAdam": [{}, {"betas": (0.8, 0.9)}],
    "Adamax": [{}, {"weight_decay": 0.1}],
    "RMSprop": [{}, {"momentum": 0.9, "centered": True, "eps": 0.1}],
    "Adagrad": [{}, {"lr_decay": 0.1}],
    "Adadelta": [{}, {"weight_decay": 0.1}],
    "Rprop": [{}, {"lr": 0.1}],
    "ASGD": [{}, {"t0": 2.0, "lambd": 0.1}],
    "LBFGS": [{}],
}
# fmt: on
NAMES = list(OPTIONS)


def pair(name: str, options: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    values = np.linspace(-1, 1, 11)
    ours, theirs = nn.Parameter(dd2424.from_numpy(values.copy())), torch.nn.Parameter(torch.from_numpy(values.copy()))
    return ours, theirs, getattr(optim, name)([ours], **options), getattr(torch.optim, name)([theirs], **options)


def steps(count: int, ours: Any, theirs: Any, optimizer: Any, other: Any) -> None:
    for step in range(count):
        gradient = np.sin(np.arange(11.0) * (step + 1))
        ours.grad, theirs.grad = dd2424.from_numpy(gradient.copy()), torch.from_numpy(gradient.copy())
        optimizer.step()
        other.step()


@pytest.mark.parametrize("name", NAMES)
def test_same_arguments_and_defaults(name: str) -> None:
    ours = inspect.signature(getattr(optim, name)).parameters
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    assert list(ours) == list(theirs)
    for argument, parameter in theirs.items():
        assert ours[argument].default == parameter.default, argument
        assert ours[argument].kind == parameter.kind, argument


@pytest.mark.parametrize(("name", "options"), [(n, o) for n in NAMES if n != "LBFGS" for o in OPTIONS[n]])
def test_same_steps(name: str, options: dict[str, Any]) -> None:
    ours, theirs, optimizer, other = pair(name, options)
    steps(8, ours, theirs, optimizer, other)
    # PyTorch keeps NAdam's product of momenta, and ASGD's rates, in float32
    atol = 1e-8 if name in ("NAdam", "ASGD") else 1e-13
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=0, atol=atol)


@pytest.mark.parametrize(("name", "options"), [(n, o) for n in NAMES if n != "LBFGS" for o in OPTIONS[n]])
def test_same_state(name: str, options: dict[str, Any]) -> None:
    ours, theirs, optimizer, other = pair(name, options)
    steps(3, ours, theirs, optimizer, other)
    mine, torchs = optimizer.state_dict(), other.state_dict()
    assert [set(group) for group in mine["param_groups"]] == [set(group) for group in torchs["param_groups"]]
    assert mine["param_groups"][0]["params"] == torchs["param_groups"][0]["params"]
    states = {name for name, value in torchs["state"].get(0, {}).items() if value is not None}
    assert set(mine["state"].get(0, {})) == states
    for name in states:
        assert tuple(mine["state"][0][name].shape) == tuple(torchs["state"][0][name].shape)


def test_lbfgs_walks_the_same_path() -> None:
    def losses(library: Any) -> list[float]:
        start = library.tensor([-1.5, 2.0], dtype=library.float64)
        x = library.nn.Parameter(start)
        optimizer = library.optim.LBFGS([x], lr=0.01, max_iter=15)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
            loss.backward()
            return loss

        return [float(optimizer.step(closure).detach()) for _ in range(3)]

    np.testing.assert_allclose(losses(dd2424), losses(torch), rtol=1e-6)
