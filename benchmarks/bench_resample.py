"""Padding and resizing images, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from case import Case, normal


def resample(name: str, function: Callable[..., Any], shape: tuple[int, ...], out: tuple[int, ...]) -> list[Case]:
    """`function(torch.nn.functional, x)`, and then with its gradient."""

    def forward(torch, x, dy):
        return lambda: function(torch.nn.functional, x)

    def both(torch, x, dy):
        x.requires_grad_()

        def step():
            x.grad = None
            function(torch.nn.functional, x).backward(dy)
            return x.grad

        return step

    return [
        Case(f"{name} of {shape}{passes}", program=program, inputs=normal(shape, out), goals={"torch": 1.3})
        for passes, program in (("", forward), (", forward and backward", both))
    ]


CASES = [
    *resample("pad 1", lambda F, x: F.pad(x, (1, 1, 1, 1)), (64, 64, 32, 32), (64, 64, 34, 34)),
    *resample("reflect 1", lambda F, x: F.pad(x, (1, 1, 1, 1), "reflect"), (64, 64, 32, 32), (64, 64, 34, 34)),
]
