"""Recurrent layers over whole sequences, forward and backward, and a training step of assignment 4's network."""

from __future__ import annotations

from typing import Any

import numpy as np

from case import Array, Case
from shapes import CHARACTERS, RECURRENT

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
SMALL_BATCH = 8  # below it overhead and the caches decide

NOTES = """
At T50 the products run at 115 of 118 GFLOP/s a core and take four fifths of an LSTM's time: units there and back
take 5 % (the way back reads and writes 1 kB for 16 units), packing 5 %, sums of bias gradients and transposing the
gradients of weights 2 %, waiting 3 %. 1.2 times PyTorch would be 88 % of the limit.
A step of one sequence is two products of a matrix and a vector, there and back, whose weights (160 kB for an LSTM of
100 units) come from the second-level cache each time: 1.4 microseconds at its 115 GB/s, which takes 70 of one thread's
200, and no kernel can be faster there. Two threads halve that (0.8 and 0.7 for a step's products), at the price of two
handoffs a step; the products over all steps are too small to gain more than a third by them. On the way back the
weights are read where they lie. PyTorch's time for that case varies by half from run to run: 3.6 to 4.9 of ours.
In bfloat16 the kernels run in float32, states and sums included, and results are rounded once: 2.1 times as fast as
step by step, and 0.6 to 0.8 of PyTorch's speed, whose products are of bfloat16 and whose state is rounded at each step.
The product of a one-hot input has multiply-adds for 3.4 microseconds at the peak, of the 108 of assignment 4's step,
and its gradient as many: gathers would gain 6 % at most, and whether an input is one-hot would have to be looked at.
"""


def layer(kind: str, steps: int, batch: int, inputs: int, hidden: int, projected: int = 0) -> Case:
    """The gradients are those of sum(y * dy)."""
    sums, outputs = GATES[kind] * hidden, projected or hidden
    options = {"proj_size": projected} if projected else {}

    def draw(rng: np.random.Generator) -> list[Array]:
        weights = [(sums, inputs), (sums, outputs), (sums,), (sums,), *([(outputs, hidden)] if projected else [])]
        scaled = [rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(hidden**0.5) for shape in weights]
        return [*(rng.standard_normal((steps, batch, n), np.float32) for n in (inputs, outputs)), *scaled]

    def program(torch, x, dy, *weights):
        module = getattr(torch.nn, kind)(inputs, hidden, **options).to(x.device)
        leaves = [x.requires_grad_(), *module.parameters()]
        with torch.no_grad():
            for parameter, values in zip(leaves[1:], weights, strict=True):
                parameter.copy_(values)

        def step():
            for leaf in leaves:
                leaf.grad = None
            module(x)[0].backward(dy)
            return [leaf.grad for leaf in leaves]

        return step

    return Case(
        f"{kind} T{steps} B{batch} I{inputs} H{hidden}{f' P{projected}' if projected else ''}, forward and backward",
        program=program,
        inputs=draw,
        flops=3 * 2 * steps * batch * (sums * (inputs + outputs) + projected * hidden),
        tolerance=1024,
        goals={"torch": 4.0 if batch < SMALL_BATCH else 1.2},
    )


def characters(optimizer: str, hidden: int = 100, steps: int = 25) -> Case:
    """One step of assignment 4: a sequence of one-hot characters, tanh units, and the loss at every step."""

    def draw(rng: np.random.Generator) -> list[Array]:
        shapes = [(hidden, CHARACTERS), (hidden, hidden), (hidden,), (hidden,), (CHARACTERS, hidden), (CHARACTERS,)]
        weights = [0.1 * rng.standard_normal(shape, np.float32) for shape in shapes]
        return [rng.integers(0, CHARACTERS, steps + 1), rng.standard_normal((1, 1, hidden), np.float32), *weights]

    def program(torch, text, h, *weights):
        network, head = torch.nn.RNN(CHARACTERS, hidden), torch.nn.Linear(hidden, CHARACTERS)
        network, head = network.to(h.device), head.to(h.device)
        parameters = [*network.parameters(), *head.parameters()]
        with torch.no_grad():
            for parameter, values in zip(parameters, weights, strict=True):
                parameter.copy_(values)
        update = getattr(torch.optim, optimizer)(parameters, lr=0.001)
        one_hot, cross_entropy = torch.nn.functional.one_hot, torch.nn.functional.cross_entropy

        def step() -> Any:
            update.zero_grad()
            x = one_hot(text[:-1], CHARACTERS).float().unsqueeze(1)
            y, _ = network(x, h)
            loss = cross_entropy(head(y.squeeze(1)), text[1:])
            loss.backward()
            update.step()
            return loss

        return step

    return Case(f"step, assignment 4, {optimizer}", program, draw, tolerance=256, goals={"torch": 8.0})


CASES = [
    *(layer(kind, *shape) for shape in RECURRENT for kind in GATES),
    layer("LSTM", 50, 32, 128, 256, projected=128),
    characters("Adagrad"),
    characters("Adam"),
]
