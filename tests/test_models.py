"""The networks of lectures 2 to 4: initial loss, shapes, and that they learn what they are shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits, same_for_any_threads
from dd2424 import models, nn, optim
from dd2424.nn import functional as F


def points(rng: np.random.Generator, count: int = 100, inputs: int = 20, classes: int = 10) -> tuple[Any, Any]:
    x = rng.standard_normal((count, inputs)).astype(np.float32)
    return dd2424.from_numpy(x), dd2424.from_numpy(rng.integers(0, classes, count))


def train(model: nn.Module, optimizer: optim.Optimizer, x: Any, y: Any, steps: int) -> float:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return float(F.cross_entropy(model(x), y).detach())


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_initial_loss_is_the_logarithm_of_the_classes(rng: np.random.Generator, classes: int) -> None:
    x, y = points(rng, 500, classes=classes)
    small = models.LinearClassifier(20, classes, std=1e-4)
    assert F.cross_entropy(small(x), y).item() == pytest.approx(math.log(classes), rel=1e-3)
    mlp = models.MLP(20, [50], classes, std=1e-3)
    assert F.cross_entropy(mlp(x), y).item() == pytest.approx(math.log(classes), rel=1e-3)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": 0.2, "momentum": 0.9}),
        ("Adam", {"lr": 0.01}),
        ("RMSprop", {"lr": 0.003}),
        ("NAdam", {"lr": 0.01}),
    ],
)
def test_a_small_network_learns_100_points_by_heart(
    rng: np.random.Generator, batch_norm: bool, name: str, options: dict[str, Any]
) -> None:
    x, y = points(rng)
    model = models.MLP(20, [50, 50], 10, batch_norm=batch_norm)
    loss = train(model, getattr(optim, name)(model.parameters(), **options), x, y, 150)
    assert loss < 0.05
    assert (model(x).argmax(1) == y).float().mean().item() == 1


@pytest.mark.parametrize("name", ["hinge", "weston_watkins", "crammer_singer", "k_sigmoid"])
def test_every_loss_of_lecture_2_separates_what_can_be_separated(rng: np.random.Generator, name: str) -> None:
    y = rng.integers(0, 3, 60)
    x = dd2424.from_numpy((4 * np.eye(3)[y] + 0.5 * rng.standard_normal((60, 3))).astype(np.float32))
    target, hot = dd2424.from_numpy(y), F.one_hot(dd2424.from_numpy(y), 3).float()
    losses = {
        "hinge": lambda scores: F.hinge_loss(scores, 2 * hot - 1),
        "weston_watkins": lambda scores: F.weston_watkins_loss(scores, target),
        "crammer_singer": lambda scores: F.crammer_singer_loss(scores, target),
        "k_sigmoid": lambda scores: F.binary_cross_entropy_with_logits(scores, hot),
    }
    model = models.LinearClassifier(3, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        losses[name](model(x)).backward()
        optimizer.step()
    assert (model(x).argmax(1) == target).float().mean().item() == 1


def test_weight_decay_is_the_courses_regularisation(rng: np.random.Generator) -> None:
    x, y = points(rng)
    weights = []
    for uses_decay in (False, True):
        dd2424.manual_seed(1)
        model = models.LinearClassifier(20, 10)
        optimizer = optim.SGD(model.parameters(), lr=0.1, weight_decay=0.02 if uses_decay else 0.0)
        for _ in range(5):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            (loss if uses_decay else loss + 0.01 * F.l2_penalty(model.parameters())).backward()
            optimizer.step()
        weights.append(model.scores.weight.detach().numpy().copy())
    np.testing.assert_allclose(*weights, atol=1e-6)


def test_training_has_the_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    x, y = points(rng, 600, 300)

    def run() -> Any:
        model = models.MLP(300, [200, 100], 10, batch_norm=True)
        train(model, optim.Adam(model.parameters()), x, y, 3)
        return list(model.state_dict().values())

    same_for_any_threads(run)


def test_the_networks_themselves(rng: np.random.Generator) -> None:
    model = models.MLP(20, [30, 40], 10, batch_norm=True)
    shapes = [tuple(layer.weight.shape) for layer in model.layers]
    assert shapes == [(30, 20), (40, 30), (10, 40)]
    assert [layer.bias is None for layer in model.layers] == [True, True, False], "batch norm has the bias"
    assert [norm.num_features for norm in model.norms] == [30, 40]
    assert len(models.MLP(20, [], 10).layers) == 1
    wide = models.MLP(1000, [1000], 10)
    assert wide.layers[0].weight.detach().numpy().std() == pytest.approx(math.sqrt(2 / 1000), rel=0.01)
    x, _ = points(rng)
    model.eval()
    assert bits(model(x)[:5].clone()) == bits(model(x[:5])), "in evaluation a sample does not see the others"
    hidden = dd2424.relu(wide.layers[0](dd2424.ones(2, 1000)))
    np.testing.assert_allclose(
        wide(dd2424.ones(2, 1000)).detach().numpy(), wide.layers[1](hidden).detach().numpy(), rtol=1e-5
    )
