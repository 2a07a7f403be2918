"""Softmax and cross-entropy, of the course's scores and of a large vocabulary's."""

from __future__ import annotations

from typing import Any

import numpy as np

from case import Case, normal
from shapes import SCORES


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
        goals={"numpy": 1.0, "torch": 1.0},
    )


CASES = [*(cross_entropy(*shape) for shape in SCORES), softmax(*SCORES[-1])]
