"""Softmax and cross-entropy, of the course's scores, of a large vocabulary's, and of every pixel of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from case import Case, normal
from shapes import SCORES, SEGMENTATION


def cross_entropy(n: int, k: int) -> Case:
    def program(torch, scores, labels):
        scores.requires_grad_()
        loss = torch.nn.functional.cross_entropy

        def step():
            scores.grad = None
            loss(scores, labels).backward()
            return scores.grad

        return step

    return Case(
        f"cross_entropy ({n}, {k}), forward and backward",
        program=program,
        inputs=lambda rng: [rng.standard_normal((n, k), np.float32), rng.integers(0, k, n)],
        goals={"torch": 1.3},
    )


def linear_cross_entropy(n: int, d: int, k: int) -> Case:
    """The last layer of a language model with its loss. PyTorch makes all scores: the faster of its ways here."""

    def program(torch, x, weight, labels):
        for leaf in (x, weight):
            leaf.requires_grad_()
        F = torch.nn.functional
        fused = torch.__name__ == "dd2424"

        def step():
            x.grad = weight.grad = None
            if fused:
                F.linear_cross_entropy(x, weight, labels).backward()
            else:
                F.cross_entropy(F.linear(x, weight), labels).backward()
            return x.grad

        return step

    def inputs(rng: np.random.Generator) -> list[Any]:
        weight = rng.standard_normal((k, d), np.float32) / np.float32(d**0.5)
        return [rng.standard_normal((n, d), np.float32), weight, rng.integers(0, k, n)]

    return Case(
        f"linear and cross_entropy {(n, d, k)}, forward and backward",
        program=program,
        inputs=inputs,
        flops=6 * n * d * k,
        tolerance=1024,
        goals={"torch": 1.0},
    )


def numpy_softmax(x: Any) -> Any:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def softmax(n: int, k: int) -> Case:
    return Case(
        f"softmax ({n}, {k})",
        program=lambda torch, x: lambda: torch.softmax(x, 1),
        inputs=normal((n, k)),
        numpy=lambda x: lambda: numpy_softmax(x),
        reads=1,
        writes=1,
        array_bytes=4 * n * k,
        goals={"numpy": 1.0, "torch": 1.3},
    )


def of_pixels(name: str, loss: Callable[..., Any]) -> Case:
    """Forward and backward of `loss(torch.nn.functional, scores, labels)`."""

    def program(torch, scores, labels):
        scores.requires_grad_()

        def step():
            scores.grad = None
            loss(torch.nn.functional, scores, labels).backward()
            return scores.grad

        return step

    n, classes, height, width = SEGMENTATION

    def inputs(rng: np.random.Generator) -> list[Any]:
        return [rng.standard_normal(SEGMENTATION, np.float32), rng.integers(0, classes, (n, height, width))]

    return Case(f"{name} {SEGMENTATION}, forward and backward", program, inputs, goals={"torch": 1.3})


def along_channels(name: str) -> Case:
    return Case(
        f"{name} {SEGMENTATION}, along channels",
        program=lambda torch, x: lambda: getattr(torch, name)(x, 1),
        inputs=normal(SEGMENTATION),
        reads=1,
        writes=1,
        array_bytes=4 * math.prod(SEGMENTATION),
        goals={"torch": 1.3},
    )


CASES = [
    *(cross_entropy(*shape) for shape in SCORES),
    softmax(*SCORES[-1]),
    linear_cross_entropy(1024, 256, 50_257),
    of_pixels("cross_entropy", lambda F, scores, labels: F.cross_entropy(scores, labels)),
    of_pixels("nll_loss of log_softmax", lambda F, scores, labels: F.nll_loss(F.log_softmax(scores, 1), labels)),
    along_channels("softmax"),
    along_channels("log_softmax"),
]

NOTES = """
Along channels the classes of a pixel lie 64 kB apart: 21 lines that share one set of a first-level cache with 8 ways,
and two of a second-level one with 16 between them. So pixels go through tiles that are copied in and out. Of 2.1 ms at
one thread the exponentials are 0.6 (13 cycles for 16); the rest are the copies, maxima and sums. The gradient of
`nll_loss` compares each pixel's class with all 21 and writes in the order of memory: beside PyTorch that is 1.4 times
as fast at one thread as adding it where it belongs.
"""
