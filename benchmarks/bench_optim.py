"""Updates of the 4.2 million parameters of a net 3072-1024-1024-10, against PyTorch's fused kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from case import Case, normal
from shapes import CIFAR, CLASSES

SHAPES = ((1024, CIFAR), (1024,), (1024, 1024), (1024,), (CLASSES, 1024), (CLASSES,))


def update(name: str, optimizer: Callable[..., Any]) -> Case:
    """`optimizer(torch.optim, params)`; parameters and their gradients, which stay, are the inputs."""

    def program(torch, *tensors):
        params, gradients = tensors[: len(SHAPES)], tensors[len(SHAPES) :]
        for p, gradient in zip(params, gradients, strict=True):
            p.requires_grad_().grad = gradient
        chosen = optimizer(torch.optim, params)

        def step():
            chosen.step()
            return params

        return step

    return Case(name, program, normal(*SHAPES, *SHAPES), goals={"torch": 1.0})


CASES = [
    update("SGD with momentum", lambda optim, params: optim.SGD(params, lr=1e-3, momentum=0.9, fused=True)),
    update("Adam", lambda optim, params: optim.Adam(params, lr=1e-3, fused=True)),
]
