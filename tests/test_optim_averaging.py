"""Averages of models over training: the mean, the one that forgets, batch statistics, the rate's way to a constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import nn, optim
from dd2424.optim import swa_utils


def path(rng: np.random.Generator, steps: int = 4) -> tuple[nn.Linear, list[Any]]:
    return nn.Linear(3, 2), [rng.standard_normal((2, 3)).astype(np.float32) for _ in range(steps)]


def follow(model: nn.Linear, averaged: swa_utils.AveragedModel, weights: list[Any]) -> None:
    for weight in weights:
        with dd2424.no_grad():
            model.weight.copy_(dd2424.from_numpy(weight))
        averaged.update_parameters(model)


def test_the_mean_of_all(rng: np.random.Generator) -> None:
    model, weights = path(rng)
    averaged = swa_utils.AveragedModel(model)
    follow(model, averaged, weights)
    assert_accurate(averaged.module.weight, np.mean(weights, 0, dtype=np.float64), roundings=4, scale=1.0)
    assert int(averaged.n_averaged) == 4
    assert averaged.module.weight is not model.weight
    x = dd2424.ones(1, 3)
    np.testing.assert_array_equal(averaged(x).detach().numpy(), averaged.module(x).detach().numpy())


@pytest.mark.parametrize("kind", ["avg_fn", "multi_avg_fn"])
def test_the_one_that_forgets(rng: np.random.Generator, kind: str) -> None:
    model, weights = path(rng)
    make = swa_utils.get_ema_avg_fn if kind == "avg_fn" else swa_utils.get_ema_multi_avg_fn
    averaged = swa_utils.AveragedModel(model, **{kind: make(0.75)})
    follow(model, averaged, weights)
    expected = weights[0].astype(np.float64)
    for weight in weights[1:]:
        expected = 0.75 * expected + 0.25 * weight
    assert_accurate(averaged.module.weight, expected, roundings=4, scale=1.0)


@pytest.mark.parametrize("use_buffers", [False, True])
def test_buffers_are_copied_or_averaged(use_buffers: bool) -> None:
    model = nn.BatchNorm1d(1)
    averaged = swa_utils.AveragedModel(model, use_buffers=use_buffers)
    for value in (1.0, 4.0):
        model.running_mean.fill_(value)
        averaged.update_parameters(model)
    assert float(averaged.module.running_mean) == (2.5 if use_buffers else 4.0)


def test_state_dict_has_the_count_and_the_model() -> None:
    averaged = swa_utils.AveragedModel(nn.Linear(2, 1))
    assert list(averaged.state_dict()) == ["n_averaged", "module.weight", "module.bias"]


def test_update_bn_takes_the_mean_over_all_batches(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    batches = [dd2424.from_numpy(rng.standard_normal((5, 2)).astype(np.float32)) for _ in range(3)]
    swa_utils.update_bn([(batch, None) for batch in batches], model)
    outputs = [model[0](batch).detach().numpy().astype(np.float64) for batch in batches]
    assert_accurate(model[1].running_mean, np.mean([y.mean(0) for y in outputs], 0), roundings=8, scale=1.0)
    assert_accurate(model[1].running_var, np.mean([y.var(0, ddof=1) for y in outputs], 0), roundings=8, scale=1.0)
    assert not model.training
    assert model[1].momentum == 0.1


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_swalr_goes_to_its_rate_and_stays(strategy: Any) -> None:
    optimizer = optim.SGD([nn.Parameter(dd2424.zeros(1))], lr=1.0)
    scheduler = swa_utils.SWALR(optimizer, 0.2, anneal_epochs=4, anneal_strategy=strategy)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(6):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    done = np.minimum(np.arange(7) / 4, 1)
    share = (1 - np.cos(np.pi * done)) / 2 if strategy == "cos" else done
    np.testing.assert_allclose(rates, 1 + (0.2 - 1) * share, rtol=1e-12)


def test_refusals() -> None:
    model, optimizer = nn.Linear(1, 1), optim.SGD([nn.Parameter(dd2424.zeros(1))], lr=1.0)
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\], got 2"):
        swa_utils.get_ema_multi_avg_fn(2)
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\], got -1"):
        swa_utils.get_ema_avg_fn(-1)
    with pytest.raises(ValueError, match="must not both be given"):
        functions = swa_utils.get_swa_avg_fn(), swa_utils.get_swa_multi_avg_fn()
        swa_utils.AveragedModel(model, avg_fn=functions[0], multi_avg_fn=functions[1])
    with pytest.raises(ValueError, match="anneal_strategy must be"):
        swa_utils.SWALR(optimizer, 0.1, anneal_strategy="steep")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="anneal_epochs must be"):
        swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)
    with pytest.raises(ValueError, match="one rate for each of 1 groups, got 2"):
        swa_utils.SWALR(optimizer, [0.1, 0.2])
