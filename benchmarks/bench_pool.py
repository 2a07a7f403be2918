"""Pooling, forward and backward, of images in both memory formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from case import Case, normal

IMAGES = {"first layers": (64, 64, 56, 56), "CIFAR": (64, 64, 32, 32)}
POOLS: dict[str, Callable[..., Any]] = {
    "max_pool2d 2x2": lambda f, x: f.max_pool2d(x, 2),
    "max_pool2d 3x3, stride 2, padding 1": lambda f, x: f.max_pool2d(x, 3, 2, 1),
    "avg_pool2d 2x2": lambda f, x: f.avg_pool2d(x, 2),
    "adaptive_avg_pool2d to 1x1": lambda f, x: f.adaptive_avg_pool2d(x, 1),
}


def pooling(name: str, shape: tuple[int, ...], channels_last: bool) -> Case:
    pool = POOLS[name]

    def program(torch, array):
        layout = torch.channels_last if channels_last else torch.contiguous_format
        x = array.to(memory_format=layout).detach().requires_grad_()
        dy = None

        def step():
            nonlocal dy
            x.grad = None
            y = pool(torch.nn.functional, x)
            if dy is None:
                dy = torch.ones_like(y)
            y.backward(dy)
            return [y, x.grad]

        return step

    layout = "channels last" if channels_last else "channels first"
    return Case(
        f"{name} {shape}, {layout}, forward and backward",
        program=program,
        inputs=normal(shape),
        reads=1,
        writes=1,
        array_bytes=4 * shape[0] * shape[1] * shape[2] * shape[3],
        goals={"torch": 1.3},
    )


CASES = [
    pooling(name, shape, channels_last)
    for name in POOLS
    for shape in IMAGES.values()
    for channels_last in (False, True)
]

NOTES = """
The limit is a copy of an array, for the input that is read and the gradient that is written. Windows with a stride take
half as long on two threads as on one, so it is instructions that bound them, not memory: channels first, rows are
parted into the phases of their stride and woven back, which takes two to four times as long as channels last, where a
vector is 16 channels of a pixel. An average of a whole plane goes row by row: 2 ms at one thread, where the copy takes
0.9.
"""
