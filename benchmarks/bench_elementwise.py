"""Elementwise operations on 16 MB: bound by memory, so the limit is the machine's bandwidth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from case import Case, normal
from shapes import LARGE, LARGE_BYTES


def elementwise(
    name: str,
    operation: Callable[..., Any],  # of PyTorch's module and the tensors
    numpy: Callable[..., Any] | None,
    shapes: Sequence[Sequence[int]] = (LARGE,),
    limit: float | None = None,
    tolerance: float = 4,
) -> Case:
    goals = {"torch": 1.0, **({"numpy": 1.0} if numpy else {}), **({"limit": limit} if limit else {})}
    return Case(
        name,
        program=lambda torch, *x: lambda: operation(torch, *x),
        inputs=normal(*shapes),
        numpy=(lambda *x: lambda: numpy(*x)) if numpy else None,
        reads=shapes.count(LARGE),
        writes=1,
        array_bytes=LARGE_BYTES,
        goals=goals,
        tolerance=tolerance,
    )


def greater() -> Case:
    """Its bools are a quarter as large as its inputs: no limit."""
    return Case(
        "x > y",
        program=lambda torch, x, y: lambda: x > y,
        inputs=normal(LARGE, LARGE),
        numpy=lambda x, y: lambda: x > y,
        goals={"numpy": 1.0, "torch": 1.0},
    )


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
]
