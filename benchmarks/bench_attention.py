"""Attention, forward and backward, and decoding word by word."""

from __future__ import annotations

from typing import Any

from case import Case, normal
from shapes import ATTENTIONS, CACHES, Attention


def attention(name: str, sizes: Attention, torch_goal: float, limit_goal: float) -> Case:
    """The gradients are those of sum(y * dy). Products that the causal rule hides are not counted."""
    shape = (sizes.batch, sizes.heads, sizes.length, sizes.features)

    def program(torch: Any, *operands: Any) -> Any:
        *leaves, dy = operands
        for leaf in leaves:
            leaf.requires_grad_()

        def step() -> list[Any]:
            for leaf in leaves:
                leaf.grad = None
            y = torch.nn.functional.scaled_dot_product_attention(*leaves, is_causal=sizes.is_causal)
            y.backward(dy)
            return [y, *(leaf.grad for leaf in leaves)]

        return step

    seen = sizes.length**2 / (2 if sizes.is_causal else 1)
    product = 2 * sizes.batch * sizes.heads * seen * sizes.features
    rule = ", causal" if sizes.is_causal else ""
    return Case(
        f"attention {name} {shape}{rule}, forward and backward",
        program=program,
        inputs=normal(*[shape] * 4),
        flops=7 * product,
        tolerance=256,
        goals={"torch": torch_goal, **({"limit": limit_goal} if limit_goal else {})},
    )


def decoding(name: str, shape: tuple[int, int, int, int]) -> Case:
    """One query against a cache: every key and value is read once."""
    batch, heads, words, features = shape

    def program(torch: Any, q: Any, k: Any, v: Any) -> Any:
        def step() -> Any:
            with torch.no_grad():
                return torch.nn.functional.scaled_dot_product_attention(q, k, v)

        return step

    return Case(
        f"attention of one query, {name} {shape}",
        program=program,
        inputs=normal((batch, heads, 1, features), shape, shape),
        reads=2,
        array_bytes=4 * batch * heads * words * features,
        goals={"torch": 1.2},
    )


CASES = [
    *(attention(name, *sizes) for name, sizes in ATTENTIONS.items()),
    *(decoding(name, shape) for name, shape in CACHES.items()),
]

NOTES = """
At 256 and at 65 positions the causal half and the lanes that 65 leaves empty keep the products from the limit that long
sequences reach. A batch of single queries reads its keys and values once, at the pace of memory, and so does PyTorch.
"""
