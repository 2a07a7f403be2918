"""Checkpointing: the gradients of a network whose activations are not kept, bit for bit, and what is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits
from dd2424 import Tensor, nn
from dd2424.amp import autocast
from dd2424.utils.checkpoint import checkpoint, checkpoint_sequential


def network() -> nn.Sequential:
    dd2424.manual_seed(3)
    layers = [nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)]
    return nn.Sequential(*layers)


def run(forward: Callable[[nn.Sequential, Tensor], Tensor], input_grad: bool) -> tuple[list[bytes], bytes]:
    """The bits of all gradients, and of a number drawn afterwards."""
    net, x = network(), dd2424.from_numpy(np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32))
    x.requires_grad_(input_grad)
    dd2424.manual_seed(7)
    forward(net, x).float().square().sum().backward()
    gradients = [t.grad for t in (x, *net.parameters())]
    return [bits(g) for g in gradients if g is not None], bits(dd2424.rand(1))


@pytest.mark.parametrize("input_grad", [True, False])
@pytest.mark.parametrize("segments", [1, 2, 4])
def test_same_bits_as_without(input_grad: bool, segments: int) -> None:
    plain = run(lambda net, x: net(x), input_grad)
    assert run(lambda net, x: checkpoint(net, x), input_grad) == plain
    assert run(lambda net, x: checkpoint_sequential(net, segments, x), input_grad) == plain
    assert len(plain[0]) == 6 + input_grad


def test_same_bits_under_autocast() -> None:
    def mixed(forward: Callable[[nn.Sequential, Tensor], Tensor]) -> Callable[[nn.Sequential, Tensor], Tensor]:
        return autocast("cpu")(forward)

    with_it = run(mixed(lambda net, x: checkpoint(net, x)), True)
    assert with_it == run(mixed(lambda net, x: net(x)), True)
    assert with_it != run(lambda net, x: net(x), True)


def test_without_the_generators_state_other_numbers_are_drawn() -> None:
    kept = run(lambda net, x: checkpoint(net, x), True)
    assert run(lambda net, x: checkpoint(net, x, preserve_rng_state=False), True) != kept


def test_arguments_of_all_kinds_and_several_results() -> None:
    x, y = (dd2424.tensor([float(v)], requires_grad=True) for v in (2, 3))

    def function(a: Tensor, power: int, b: Tensor, *, factor: float = 1.0) -> tuple[Tensor, Tensor]:
        return a**power * factor, a * b

    first, second = checkpoint(function, x, 3, y, factor=2.0)
    (first + 10 * second).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.item(), y.grad.item()) == (2 * 3 * 4 + 10 * 3, 10 * 2)


def test_activations_are_not_kept() -> None:
    layers = nn.Sequential(*(nn.Tanh() for _ in range(16)))
    held = []
    for forward in (lambda x: layers(x), lambda x: checkpoint_sequential(layers, 4, x)):
        x = dd2424.randn(1 << 16, requires_grad=True)
        before = dd2424.memory_stats()["in_use_bytes"]
        y = forward(x)
        held.append(dd2424.memory_stats()["in_use_bytes"] - before)
        y.sum().backward()
    assert held[1] < 0.6 * held[0]


def test_nothing_is_recorded_under_no_grad() -> None:
    with dd2424.no_grad():
        assert not checkpoint(network(), dd2424.ones(1, 6)).requires_grad


@pytest.mark.parametrize("segments", [0, 7])
def test_refuses_segments_that_are_not_there(segments: int) -> None:
    with pytest.raises(ValueError, match=f"segments must be from 1 to 6, got {segments}"):
        checkpoint_sequential(network(), segments, dd2424.ones(1, 6))


def test_an_error_of_the_second_call_is_the_callers() -> None:
    calls: list[Any] = []

    def function(x: Tensor) -> Tensor:
        calls.append(None)
        if len(calls) == 2:
            raise OSError("no more")
        return x * 2

    y = checkpoint(function, dd2424.ones(1, requires_grad=True))
    state = bits(dd2424.get_rng_state())
    with pytest.raises(OSError, match="no more"):
        y.backward()
    assert bits(dd2424.get_rng_state()) == state
