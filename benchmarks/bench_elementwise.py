"""Elementwise operations on 16 MB, bound by memory, so the limit is the machine's bandwidth; and on 256 kB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from case import Case, normal
from shapes import LARGE, LARGE_BYTES, SMALL

# The ratio to PyTorch that is aimed at, where that is more than 1
GOALS = {"exp": 1.3, "tanh": 4.0, "sigmoid": 1.3, "gelu": 1.3}


def elementwise(
    name: str,
    operation: Callable[..., Any],  # of PyTorch's module and the tensors
    numpy: Callable[..., Any] | None,
    shapes: Sequence[Sequence[int]] = (LARGE,),
    limit: float | None = None,
    tolerance: float = 4,
) -> Case:
    goals = {"torch": GOALS.get(name, 1.0), **({"numpy": 1.0} if numpy else {}), **({"limit": limit} if limit else {})}
    return Case(
        name,
        program=lambda torch, *x: lambda: operation(torch, *x),
        inputs=normal(*shapes),
        numpy=(lambda *x: lambda: numpy(*x)) if numpy else None,
        jax=lambda jax, *x: jax_operation(jax, name)(*x),
        reads=shapes.count(LARGE),
        writes=1,
        array_bytes=LARGE_BYTES,
        goals=goals,
        tolerance=tolerance,
    )


def jax_operation(jax: Any, name: str) -> Callable[..., Any]:
    """JAX's own where it has the name, else the operator that the name spells."""
    operators = {"x + y": lambda x, y: x + y, "x * 1.5": lambda x: x * 1.5, "x + row": lambda x, row: x + row}
    own = {"gelu": lambda x: jax.nn.gelu(x, approximate=False)}
    module = jax.nn if hasattr(jax.nn, name) else jax.numpy
    return {**operators, **own}.get(name) or getattr(module, name)  # type: ignore[no-any-return]


def greater() -> Case:
    """Its bools are a quarter as large as its inputs: no limit."""
    return Case(
        "x > y",
        program=lambda torch, x, y: lambda: x > y,
        inputs=normal(LARGE, LARGE),
        numpy=lambda x, y: lambda: x > y,
        goals={"numpy": 1.0, "torch": 1.0},
    )


def small(name: str, operation: Callable[..., Any], inputs: int = 1) -> Case:
    return Case(
        f"{name}, 256 kB",
        program=lambda torch, *x: lambda: operation(torch, *x),
        inputs=normal(*[SMALL] * inputs),
        goals={"torch": GOALS.get(name, 1.0)},
    )


def with_gradient(name: str, operation: Callable[..., Any], goal: float) -> Case:
    """Forward and backward; the gradient of the result is given."""

    def program(torch: Any, x: Any, dy: Any) -> Callable[[], Any]:
        x.requires_grad_()

        def step() -> Any:
            x.grad = None
            operation(torch, x).backward(dy)
            return x.grad

        return step

    return Case(f"{name}, forward and backward", program, inputs=normal(LARGE, LARGE), goals={"torch": goal})


CASES = [
    elementwise("x + y", lambda torch, x, y: x + y, lambda x, y: x + y, (LARGE, LARGE), limit=0.9),
    elementwise("x * 1.5", lambda torch, x: x * 1.5, lambda x: x * np.float32(1.5), limit=0.9),
    elementwise("relu", lambda torch, x: torch.relu(x), lambda x: np.maximum(x, 0), limit=0.9),
    elementwise("exp", lambda torch, x: torch.exp(x), np.exp),
    elementwise("tanh", lambda torch, x: torch.tanh(x), np.tanh),
    elementwise("sigmoid", lambda torch, x: torch.sigmoid(x), lambda x: 1 / (1 + np.exp(-x))),
    elementwise("gelu", lambda torch, x: torch.nn.functional.gelu(x), None),
    elementwise("x + row", lambda torch, x, row: x + row, lambda x, row: x + row, (LARGE, LARGE[1:])),
    greater(),
    small("x + y", lambda torch, x, y: x + y, 2),
    small("relu", lambda torch, x: torch.relu(x)),
    small("exp", lambda torch, x: torch.exp(x)),
    small("tanh", lambda torch, x: torch.tanh(x)),
    small("sigmoid", lambda torch, x: torch.sigmoid(x)),
    small("gelu", lambda torch, x: torch.nn.functional.gelu(x)),
    with_gradient("relu", lambda torch, x: torch.relu(x), 1.0),
    with_gradient("exp", lambda torch, x: torch.exp(x), 1.3),
    with_gradient("tanh", lambda torch, x: torch.tanh(x), 4.0),
    with_gradient("sigmoid", lambda torch, x: torch.sigmoid(x), 1.3),
    with_gradient("gelu", lambda torch, x: torch.nn.functional.gelu(x), 1.3),
    with_gradient("silu", lambda torch, x: torch.nn.functional.silu(x), 1.0),
    with_gradient("softplus", lambda torch, x: torch.nn.functional.softplus(x), 1.0),
    with_gradient("mish", lambda torch, x: torch.nn.functional.mish(x), 1.0),
]

NOTES = """
One thread computes 16 elements of `exp` in 13 cycles, of `sigmoid` and `tanh` in 22, of `gelu` in 27 (256 kB, at 3.7
GHz), where memory brings 16 in 15 cycles: so `sigmoid`, `tanh` and `gelu` are bound by arithmetic at one thread, and
what is left of it is a division and the some 14 steps of an exponential each, to four units in the last place in the
tails too. At two threads 16 MB lie in the third-level cache, whose pace is the limit that is shown.
"""
