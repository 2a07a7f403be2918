"""Whole steps of convolutional networks on CIFAR's shapes: training at batch 64 and inference at batch 1 to 256."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from case import Array, Case
from networks import network

MACS = {"small_cnn": 10_342_400, "vgg16": 313_725_952, "resnet18": 555_422_720}  # of one image, forward
FIRST_LAYER = {"small_cnn": 884_736, "vgg16": 1_769_472, "resnet18": 1_769_472}  # its dx is not needed
TITLES = {"small_cnn": "small CNN", "vgg16": "VGG-16", "resnet18": "ResNet-18"}


def images(batch: int) -> Callable[[np.random.Generator], list[Array]]:
    return lambda rng: [rng.standard_normal((batch, 3, 32, 32), np.float32), rng.integers(0, 10, batch)]


def training(name: str, batch: int = 64, **goals: float) -> Case:
    """Gradients of the mean loss and an update by SGD with momentum."""

    def program(torch, x, labels):
        model = network(torch, name, format_of(torch, x)).to(x.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)  # weights stay: steps are alike
        compiled, cross_entropy = torch.compile(model), torch.nn.functional.cross_entropy

        def train():
            optimizer.zero_grad()
            loss = cross_entropy(compiled(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        return train

    flops = 2 * batch * (3 * MACS[name] - FIRST_LAYER[name])
    title = f"{TITLES[name]}, training step of {batch}"
    return Case(
        title,
        program,
        images(batch),
        flops=flops,
        compiles=True,
        has_formats=True,
        tracks_memory=True,
        tolerance=2**12,
        goals=goals,
    )


def inference(name: str, batch: int, **goals: float) -> Case:
    def program(torch, x, labels):
        model = torch.compile(network(torch, name, format_of(torch, x)).eval())

        def scores():
            with torch.inference_mode():
                return model(x)

        return scores

    title = f"{TITLES[name]}, inference of {batch}"
    return Case(
        title,
        program,
        images(batch),
        flops=2 * batch * MACS[name],
        compiles=True,
        has_formats=True,
        tolerance=2**12,
        goals=goals,
    )


def format_of(torch: Any, x: Any) -> Any:
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


CASES = [
    training("small_cnn", torch=2.0, compile=1.6),
    training("vgg16", torch=1.8, compile=1.6),
    training("resnet18", torch=1.8, compile=1.6),
    *(inference("resnet18", batch, torch=1.5) for batch in (1, 4, 16, 64, 256)),
    *(inference(name, 1, torch=1.5) for name in ("small_cnn", "vgg16")),
]
