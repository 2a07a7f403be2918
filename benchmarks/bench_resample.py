"""Padding and resizing images, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from case import Array, Case, normal


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


def sampled(shape: tuple[int, ...], places: tuple[int, ...]) -> Case:
    """Images at random places, some of them outside, with the gradients of both."""

    def inputs(rng: np.random.Generator) -> list[Array]:
        x, dy = (rng.standard_normal(size, np.float32) for size in (shape, (*shape[:2], *places)))
        return [x, rng.uniform(-1.1, 1.1, (shape[0], *places, len(places))).astype(np.float32), dy]

    def program(torch, x, grid, dy):
        leaves = [x.requires_grad_(), grid.requires_grad_()]

        def step():
            for leaf in leaves:
                leaf.grad = None
            torch.nn.functional.grid_sample(*leaves, align_corners=False).backward(dy)
            return [leaf.grad for leaf in leaves]

        return step

    name = f"grid_sample of {shape} at {places}, forward and backward"
    return Case(name, program=program, inputs=inputs, tolerance=1024, goals={"torch": 1.0})


IMAGES, SMALL, PADDED = (64, 64, 32, 32), (16, 64, 32, 32), (64, 64, 34, 34)
LARGE = (16, 64, 64, 64)  # twice SMALL
CASES = [
    *resample("pad 1", lambda F, x: F.pad(x, (1, 1, 1, 1)), IMAGES, PADDED),
    *resample("reflect 1", lambda F, x: F.pad(x, (1, 1, 1, 1), "reflect"), IMAGES, PADDED),
    *resample("nearest x2", lambda F, x: F.interpolate(x, scale_factor=2), SMALL, LARGE),
    *resample("bilinear x2", lambda F, x: F.interpolate(x, scale_factor=2, mode="bilinear"), SMALL, LARGE),
    *resample("bicubic x2", lambda F, x: F.interpolate(x, scale_factor=2, mode="bicubic"), SMALL, LARGE),
    *resample("area /2", lambda F, x: F.interpolate(x, scale_factor=0.5, mode="area"), LARGE, SMALL),
    *resample(
        "antialiased bilinear /3.5",
        lambda F, x: F.interpolate(x, 64, mode="bilinear", antialias=True),
        (8, 3, 224, 224),
        (8, 3, 64, 64),
    ),
    *resample("unfold 3", lambda F, x: F.unfold(x, 3, padding=1), (8, 64, 32, 32), (8, 576, 1024)),
    *resample("fold 3", lambda F, x: F.fold(x, 32, 3, padding=1), (8, 576, 1024), (8, 64, 32, 32)),
    *resample("pixel_shuffle 2", lambda F, x: F.pixel_shuffle(x, 2), SMALL, (16, 16, 64, 64)),
    sampled((8, 32, 64, 64), (64, 64)),
]
