"""What an operation costs beside its arithmetic: tensors of 8 elements, one thread, microseconds an operation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np

from case import Array, Case, Step

# Statements are compiled into their loop, as timeit does: a function call in it would cost as much as what is timed.
NAMES = "F, module, x, w, row, weight, bias, scores, labels"
FORWARD = f"""
def prepare({NAMES}):
    for leaf in [{{leaves}}]:
        leaf.requires_grad_()
    def step():
        for _ in repeat(None, {{repeats}}):
            y = {{statement}}
        return y
    return step
"""
FORWARD_BACKWARD = f"""
def prepare({NAMES}):
    leaves = [{{leaves}}]
    for leaf in leaves:
        leaf.requires_grad_()
    def step():
        y = {{start}}
        for _ in repeat(None, {{repeats}}):
            y = {{statement}}
        y.sum().backward()
        gradients = [leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None
        return gradients
    return step
"""


def inputs(rng: np.random.Generator) -> list[Array]:
    """What `NAMES` are; products of 100 factors w, or of 100 matrices `weight`, stay far from overflow."""
    x, row, bias, scores = (rng.standard_normal(shape, np.float32) for shape in ((8,), (1, 8), (8,), (2, 4)))
    w = rng.uniform(0.9, 1.1, 8).astype(np.float32)
    weight = np.linalg.qr(rng.standard_normal((8, 8)))[0].astype(np.float32)
    return [x, w, row, weight, bias, scores, np.array([1, 3])]


def loop(text: str, **parts: Any) -> Callable[..., Step]:
    names: dict[str, Any] = {"repeat": repeat}
    exec(text.format(**parts), names)
    prepare: Callable[..., Step] = names["prepare"]
    return prepare


def case(name: str, prepare: Callable[..., Step], repeats: int, goals: dict[str, float], **options: Any) -> Case:
    def program(torch, x, w, row, weight, bias, *rest):
        module = torch.nn.Linear(8, 8)
        module.weight, module.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
        return prepare(torch.nn.functional, module, x, w, row, weight, bias, *rest)

    return Case(name, program, inputs, repeats=repeats, threads=(1,), goals=goals, **options)


def taped(name: str, statement: str, leaves: str, **goals: float) -> Case:
    return case(f"{name}, taped", loop(FORWARD, statement=statement, leaves=leaves, repeats=200), 200, goals)


def chain(name: str, statement: str, leaves: str, **goals: float) -> Case:
    prepare = loop(FORWARD_BACKWARD, statement=statement, leaves=leaves, start=leaves.partition(",")[0], repeats=100)
    return case(f"{name}, chain of 100, forward and backward", prepare, 100, goals)


def untaped_add() -> Case:
    prepare = loop(FORWARD, statement="x + w", leaves="", repeats=200)
    numpy = lambda *arrays: prepare(None, None, *arrays)
    return case("add", prepare, 200, {"numpy": 1.0, "torch": 5.0}, numpy=numpy)


CASES = [
    taped("add", "x + w", "x, w", torch=5.0),
    taped("multiply", "x * w", "x, w", torch=5.0),
    taped("linear", "F.linear(row, weight, bias)", "row, weight, bias", torch=5.0),
    taped("relu", "F.relu(x)", "x", torch=5.0),
    taped("sum", "x.sum()", "x", torch=5.0),
    taped("view", "x.view(2, 4)", "x", torch=5.0),
    taped("x[3]", "x[3]", "x", torch=5.0),
    taped("x[2:6]", "x[2:6]", "x", torch=5.0),
    taped("cross_entropy", "F.cross_entropy(scores, labels)", "scores", torch=5.0),
    taped("call of a module Linear(8, 8)", "module(row)", "", torch=5.0),
    untaped_add(),
    chain("add", "y + w", "x", torch=10.0),
    chain("multiply", "y * w", "x", torch=10.0),
    chain("relu", "F.relu(y)", "x", torch=10.0),
    chain("linear", "F.linear(y, weight, bias)", "row, weight, bias", torch=5.0),
]
