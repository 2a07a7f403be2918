"""Normalisation in training, forward and backward: of activations, and of images in either memory format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from case import Case, fastest, normal
from shapes import ACTIVATIONS, ALEXNET, IMAGES

# Passes over the data, without a residual and with it: where a channel's planes stay in the cache between statistics
# and result, and where rows of all channels do not.
PASSES = {"contiguous_format": (5, 7), "channels_last": (8, 10)}


def norm(name: str, layer: Callable[..., Any], goal: float, n: int, d: int) -> Case:
    """`layer(torch.nn, d)` is the module; its gradients are those of sum(y * dy)."""

    def program(torch, x, dy):
        module = layer(torch.nn, d).to(x.device)
        leaves = [x.requires_grad_(), module.weight, module.bias]

        def step():
            for leaf in leaves:
                leaf.grad = None
            module(x).backward(dy)
            return [leaf.grad for leaf in leaves]

        return step

    return Case(
        f"{name} ({n}, {d}), forward and backward",
        program=program,
        inputs=normal((n, d), (n, d)),
        goals={"torch": goal},
    )


def of_images(name: str, shape: tuple[int, ...], layer: Callable[..., Any]) -> Case:
    """`layer(torch.nn.functional, x)`, forward and backward, in each contender's faster format."""

    def program(torch, *operands):
        def step_in(layout):
            x, dy = (t.detach().contiguous(memory_format=getattr(torch, layout)) for t in operands)
            x.requires_grad_()

            def step():
                x.grad = None
                layer(torch.nn.functional, x).backward(dy)
                return x.grad

            return step

        return fastest(*map(step_in, PASSES))

    return Case(f"{name} {shape}, forward and backward", program, normal(shape, shape), goals={"torch": 1.3})


def rectified(torch: Any, x: Any, weight: Any, bias: Any, residual: Any) -> Any:
    """relu(batch_norm(x) + residual): fused where the library can."""
    normalise, arguments = torch.nn.functional.batch_norm, (x, None, None, weight, bias, True)
    if torch.__name__ == "dd2424":
        return normalise(*arguments, relu=True, residual=residual)
    y = normalise(*arguments)
    return torch.relu_(y if residual is None else y.add_(residual))


def images(shape: tuple[int, ...], memory_format: str, has_residual: bool) -> Case:
    """In our memory format and PyTorch's faster one; the gradients are those of sum(y * dy)."""

    def program(torch, *operands):
        def step_in(layout):
            x, dy, residual = (t.detach().contiguous(memory_format=getattr(torch, layout)) for t in operands)
            ones, zeros = (make(shape[1], device=x.device) for make in (torch.ones, torch.zeros))
            leaves = [x, ones, zeros, *([residual] if has_residual else [])]
            for leaf in leaves:
                leaf.requires_grad_()

            def step():
                for leaf in leaves:
                    leaf.grad = None
                rectified(torch, *leaves[:3], residual if has_residual else None).backward(dy)
                return [leaf.grad for leaf in leaves]

            return step

        return step_in(memory_format) if torch.__name__ == "dd2424" else fastest(*map(step_in, PASSES))

    def inputs(rng: np.random.Generator) -> list[Any]:
        """No element is a rounding from its ReLU's corner: one on the other side moves a sum of 65,536 by 2e-3."""
        x, dy, residual = normal(shape, shape, shape)(rng)
        over = (0, 2, 3)
        y = (x - x.mean(over, keepdims=True)) / x.std(over, keepdims=True) + (residual if has_residual else 0)
        x[np.abs(y) < 1e-3] += np.copysign(np.float32(2e-3), y[np.abs(y) < 1e-3])
        return [x, dy, residual]

    size = shape[0] * shape[1] * shape[2] * shape[3]
    added = ", residual" if has_residual else ""
    return Case(
        f"batch_norm{added} and ReLU {shape}, {memory_format}, forward and backward",
        program=program,
        inputs=inputs,
        reads=1,  # the limit is a copy of as many bytes
        writes=1,
        array_bytes=4 * size * PASSES[memory_format][has_residual] // 2,
        tolerance=256,
        goals={"torch": 2.0, "limit": 0.8},
    )


CASES = [
    *(norm("batch_norm", lambda nn, d: nn.BatchNorm1d(d), 2.0, *shape) for shape in ACTIVATIONS),
    *(norm("layer_norm", lambda nn, d: nn.LayerNorm(d), 1.3, *shape) for shape in ACTIVATIONS),
    *(images(shape, layout, added) for added in (False, True) for shape in IMAGES for layout in PASSES),
    of_images("group_norm", IMAGES[1], lambda F, x: F.group_norm(x, 32)),
    of_images("instance_norm", IMAGES[1], lambda F, x: F.instance_norm(x)),
    of_images("local_response_norm", ALEXNET, lambda F, x: F.local_response_norm(x, 5)),
]

NOTES = """
A step of batch norm with a residual has six arrays, without one four. At (64, 128, 16, 16) those are 50 and 34 MB, of
which a third-level cache of 32 MB holds the less the more there are: hence the smaller share of the limit, which copies
fewer bytes at a time. With a residual the way back reads a bit for each element instead of y, and so makes one pass
less; a pass is counted where an array must come from memory or go there. The kernels alone take 8.7 to 9.7 times what a
copy takes for as many bytes where 7 passes are counted, in NCHW, and 8.5 to 11.3 times where 10 are, channels-last (two
threads, 50 to 55 GB/s). What is more in NCHW are the second passes over a channel; that its planes lie a power of two
apart costs nothing (65 channels instead of 64: the same), that each is on a page of its own does, at one thread:
without fetching the next plane meanwhile a step takes 1.2 times as long. One thread reads three arrays side by side at
41 GB/s. Batch norm of (4096, 1024) takes 8.9 to 10 times that copy where 8 passes are counted, and PyTorch some 13:
half of its time would be less than the passes take. At (64, 512, 4, 4) all arrays lie in the third-level cache, where
passes that also add, multiply and keep sums reach a third to a half of the pace of a copy. At (100, 50) a step is 4.4
us, 2.8 of them forward: four walks over 20 kB, and what two operations cost.
"""
