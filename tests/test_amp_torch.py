"""Mixed precision beside PyTorch: dtypes of results, and a scaler's way through good and bad gradients."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

import dd2424

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def network(library: Any) -> Any:
    nn = library.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 12), nn.GELU(),
        nn.Linear(12, 5),
    )  # fmt: skip


def test_the_dtypes_along_a_network(rng: np.random.Generator) -> None:
    x, seen = rng.standard_normal((2, 3, 6, 6)).astype(np.float32), []
    for library in (dd2424, torch):
        dtypes: list[str] = []
        net = network(library)
        for layer in net:
            layer.register_forward_hook(lambda _, __, y, dtypes=dtypes: dtypes.append(str(y.dtype).split(".")[1]))
        with library.autocast("cpu", dtype=library.bfloat16):
            net(library.from_numpy(x)).float().sum().backward()
        seen.append((dtypes, [str(p.grad.dtype).split(".")[1] for p in net.parameters()]))
    assert seen[0] == seen[1]


def test_values_of_a_linear_layer(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((4, 64)).astype(np.float32), rng.standard_normal((8, 64)).astype(np.float32)
    results = []
    for library in (dd2424, torch):
        weight = library.from_numpy(w.copy()).requires_grad_()
        with library.autocast("cpu"):
            y = library.nn.functional.linear(library.from_numpy(x), weight)
        y.float().square().sum().backward()
        results.append((y.detach().float().numpy(), weight.grad.numpy()))
    for ours, theirs in zip(*results, strict=True):  # products are rounded to bfloat16 once, gradients a second time
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2 * 2**-8 * np.abs(theirs).max())


@pytest.mark.parametrize("gradients", [[1.0, 1.0, 1.0], [1.0, math.inf, 1.0, 1.0, 1.0], [math.nan, math.nan]])
def test_a_scaler_moves_alike(gradients: list[float]) -> None:
    seen = []
    for library in (dd2424, torch):
        scaler = library.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        p = library.nn.Parameter(library.tensor([2.0]))
        optimizer = library.optim.SGD([p], lr=0.25)
        path = []
        for gradient in gradients:
            optimizer.zero_grad()
            scaler.scale(gradient * p).backward()
            scaler.step(optimizer)
            scaler.update()
            path.append((p.item(), scaler.get_scale()))
        seen.append((path, sorted(scaler.state_dict())))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", ["autocast", "amp.GradScaler", "amp.custom_fwd", "amp.custom_bwd"])
def test_same_arguments(name: str) -> None:
    signatures = []
    for library in (dd2424, torch):
        found = library
        for part in name.split("."):
            found = getattr(found, part)
        signatures.append([(p.name, p.kind) for p in inspect.signature(found).parameters.values()])
    assert signatures[0] == signatures[1]
