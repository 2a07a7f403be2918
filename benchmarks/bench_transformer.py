"""Steps of a GPT and a ViT, greedy generation with a cache, and PyTorch's encoder layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from case import Array, Case
from networks import fill
from sequences import Sizes, gpt, vit

SMALL = Sizes(width=128, layers=4, heads=4)
CIFAR_VIT = Sizes(width=192, layers=6, heads=3)
GENERATED = 64


def macs(s: Sizes, length: int, is_causal: bool) -> int:
    """Multiply-adds of one sequence in all blocks, forward."""
    pairs = length * (length + 1) // 2 if is_causal else length**2
    return s.layers * (length * 12 * s.width**2 + 2 * pairs * s.width)


def update(torch: Any, model: Any, loss: Any) -> Any:
    """A step of AdamW that leaves the weights where they are, so that all steps are alike."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)

    def train() -> Any:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value

    return train


def gpt_step(s: Sizes, batch: int, **goals: float) -> Case:
    def inputs(rng: np.random.Generator) -> list[Array]:
        return [rng.integers(0, s.vocabulary, (batch, s.context)) for _ in range(2)]

    def program(torch, tokens, targets):
        model = fill(torch, gpt(torch, s)).to(tokens.device)
        scores, cross_entropy = torch.compile(model), torch.nn.functional.cross_entropy
        return update(torch, model, lambda: cross_entropy(scores(tokens).view(-1, s.vocabulary), targets.view(-1)))

    flops = 6 * batch * (macs(s, s.context, True) + s.context * s.width * s.vocabulary)
    name = f"GPT, {s.layers} layers of {s.width}, T{s.context}, training step of {batch}"
    return Case(name, program, inputs, flops=flops, compiles=True, tolerance=2**12, goals=goals)


def vit_step(s: Sizes, batch: int, **goals: float) -> Case:
    def inputs(rng: np.random.Generator) -> list[Array]:
        return [rng.standard_normal((batch, 3, 32, 32), np.float32), rng.integers(0, 10, batch)]

    def program(torch, images, labels):
        model = fill(torch, vit(torch, s))
        scores, cross_entropy = torch.compile(model), torch.nn.functional.cross_entropy
        return update(torch, model, lambda: cross_entropy(scores(images), labels))

    length = (32 // s.patch) ** 2 + 1
    name = f"ViT, {s.layers} layers of {s.width}, training step of {batch}"
    flops = 6 * batch * macs(s, length, False)
    return Case(name, program, inputs, flops=flops, compiles=True, tolerance=2**12, goals=goals)


def generation(s: Sizes, **goals: float) -> Case:
    """Batch 1, the most likely token each time, keys and values kept."""

    def program(torch, prompt):
        model = fill(torch, gpt(torch, s)).eval()
        return lambda: model.generate(prompt, GENERATED, temperature=0)

    return Case(
        f"GPT, {s.layers} layers of {s.width}, {GENERATED} tokens of batch 1",
        program,
        lambda rng: [rng.integers(0, s.vocabulary, (1, 8))],
        repeats=GENERATED,
        threads=(1,),
        goals=goals,
    )


def encoder_layer(n: int, t: int, width: int, heads: int, norm_first: bool, **goals: float) -> Case:
    def program(torch, x, dy):
        options = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
        layer = fill(torch, torch.nn.TransformerEncoderLayer(width, heads, 4 * width, **options))
        x.requires_grad_()

        def step():
            layer.zero_grad()
            x.grad = None
            layer(x).backward(dy)
            return x.grad

        return step

    order = "before" if norm_first else "behind"
    return Case(
        f"TransformerEncoderLayer ({n}, {t}, {width}), norms {order}, forward and backward",
        program,
        lambda rng: [rng.standard_normal((n, t, width), np.float32) for _ in range(2)],
        flops=6 * n * macs(Sizes(width, 1, heads), t, False),
        tolerance=2**12,
        goals=goals,
    )


CASES = [
    gpt_step(SMALL, 16, torch=2.0, compile=1.5),
    vit_step(CIFAR_VIT, 32, torch=1.5),
    generation(SMALL, torch=3.0),
    generation(Sizes(width=384, layers=6, heads=6, context=256), torch=1.5),
    encoder_layer(16, 128, 256, 4, False, torch=1.3),
    encoder_layer(16, 128, 256, 4, True, torch=1.3),
]

NOTES = """
Arithmetic alone takes 46 ms of the GPT step at the limit of two cores. The micro-kernels take three quarters of the
step's time, at 92 % of the limit by the arithmetic that is counted, which leaves out the scores that the way back makes
again. The rest is packing (5 %), gelu there and back (4 % or less), norms with the residual (3 %), what attention does
besides its products (4 %), sums of bias gradients, AdamW and losses (2 %). Two threads wait for one another for 5 %.
By sampling, one thread's step is 74 % micro-kernels; packing, the gelu, the norms, attention's transposes, the sums of
bias gradients and AdamW follow with 1 to 2 % each, so that nothing is left to fuse. With two threads the same
micro-kernels take 13 % longer in all, for half of what a core reads the other has written. Half of PyTorch's time would
be the arithmetic alone. The Vision Transformer's step is likewise.
"""
