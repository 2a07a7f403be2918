"""Updates of the 4.2 million parameters of a net 3072-1024-1024-10, and of the 11 million of a ResNet-18, against
PyTorch's fused kernels and its loops over lists of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from case import Case, normal
from shapes import CIFAR, CLASSES

MLP = ((1024, CIFAR), (1024,), (1024, 1024), (1024,), (CLASSES, 1024), (CLASSES,))


def stage(inputs: int, channels: int) -> list[tuple[int, ...]]:
    """Two residual blocks, each of two convolutions with their batch norms."""
    norm = [(channels,), (channels,)]
    same = [(channels, channels, 3, 3), *norm]
    shortcut = [(channels, inputs, 1, 1), *norm] if inputs != channels else []
    return [(channels, inputs, 3, 3), *norm, *same, *shortcut, *same, *same]


STEM = [(64, 3, 3, 3), (64,), (64,)]
RESNET = (*STEM, *stage(64, 64), *stage(64, 128), *stage(128, 256), *stage(256, 512), (CLASSES, 512), (CLASSES,))


def size(shapes: Sequence[Sequence[int]]) -> int:
    return sum(math.prod(shape) for shape in shapes)


def update(
    name: str,
    optimizer: Callable[..., Any],
    shapes: Sequence[Sequence[int]] = MLP,
    goal: float = 1.0,
    states: int = 0,
    limit: float | None = None,
) -> Case:
    """`optimizer(torch.optim, params)`; parameters and their gradients, which stay, are the inputs.

    Beside them, `states` arrays are read, and written as the parameters are.
    """

    def program(torch, *tensors):
        params, gradients = tensors[: len(shapes)], tensors[len(shapes) :]
        for p, gradient in zip(params, gradients, strict=True):
            p.requires_grad_().grad = gradient
        chosen = optimizer(torch.optim, params)

        def step():
            chosen.step()
            return params

        return step

    return Case(
        name,
        program,
        normal(*shapes, *shapes),
        reads=2 + states,
        writes=1 + states,
        array_bytes=4 * size(shapes),
        goals={"torch": goal, **({"limit": limit} if limit else {})},
    )


def momentum(**options: Any) -> Callable[..., Any]:
    return lambda optim, params: optim.SGD(params, lr=1e-3, momentum=0.9, **options)


def adamw(**options: Any) -> Callable[..., Any]:
    return lambda optim, params: optim.AdamW(params, lr=1e-3, **options)


CASES = [
    update("SGD with momentum", momentum(fused=True), states=1),
    update("Adam", lambda optim, params: optim.Adam(params, lr=1e-3, fused=True), states=2),
    update("SGD with momentum, ResNet-18", momentum(fused=True), RESNET, states=1, limit=0.8),
    update("SGD with momentum, ResNet-18, foreach", momentum(foreach=True), RESNET, 1.5, states=1),
    update("AdamW, ResNet-18", adamw(fused=True), RESNET, states=2, limit=0.8),
    update("AdamW, ResNet-18, foreach", adamw(foreach=True), RESNET, 1.5, states=2),
]
