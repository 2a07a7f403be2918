"""Batch and layer normalization in training, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from case import Case, normal
from shapes import ACTIVATIONS


def norm(name: str, layer: Callable[..., Any], n: int, d: int) -> Case:
    """`layer(torch.nn, d)` is the module; its gradients are those of sum(y * dy)."""

    def program(torch, x, dy):
        module = layer(torch.nn, d)
        leaves = [x.requires_grad_(), module.weight, module.bias]

        def step():
            for leaf in leaves:
                leaf.grad = None
            module(x).backward(dy)
            return [leaf.grad for leaf in leaves]

        return step

    return Case(
        f"{name} ({n}, {d}), forward and backward",
        program=program,
        inputs=normal((n, d), (n, d)),
        goals={"torch": 1.0},
    )


CASES = [
    *(norm("batch_norm", lambda nn, d: nn.BatchNorm1d(d), *shape) for shape in ACTIVATIONS),
    *(norm("layer_norm", lambda nn, d: nn.LayerNorm(d), *shape) for shape in ACTIVATIONS),
]
