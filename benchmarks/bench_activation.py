"""What lies between a Transformer's products, forward and backward: gates, activations with a bias, norms of a sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from case import Case, normal

ROWS = 2048  # 16 sequences of 128
WIDTH, HIDDEN = 256, 1024


def fused(name: str, ours: Callable[..., Any], theirs: Callable[..., Any], *shapes: tuple[int, ...]) -> Case:
    """`ours(functional, *x)` in our terms, `theirs` in what PyTorch has; the gradients of the results are given."""

    def program(torch, *arrays):
        mine = ours if torch.__name__ == "dd2424" else theirs
        outputs = mine(torch.nn.functional, *arrays[: len(shapes)])
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        leaves, drawn = arrays[: len(shapes)], arrays[len(shapes) :]
        upstream = [dy[:, : y.shape[1]].contiguous() for y, dy in zip(outputs, drawn, strict=False)]
        for leaf in leaves:
            leaf.requires_grad_()

        def step():
            for leaf in leaves:
                leaf.grad = None
            made = mine(torch.nn.functional, *leaves)
            torch.autograd.backward(list(made) if isinstance(made, tuple) else [made], upstream)
            return [leaf.grad for leaf in leaves]

        return step

    return Case(
        f"{name}, forward and backward",
        program,
        normal(*shapes, *[(ROWS, 2 * HIDDEN)] * 2),
        tolerance=256,
        goals={"torch": 1.3},
    )


def halves(activation: str) -> Callable[..., Any]:
    def program(functional, x):
        a, b = x.chunk(2, -1)
        return getattr(functional, activation)(a) * b

    return program


def norm_of_sum(functional: Any, x: Any, residual: Any, weight: Any, bias: Any) -> Any:
    total = x + residual
    return functional.layer_norm(total, (WIDTH,), weight, bias), total


CASES = [
    fused("swiglu of halves", lambda f, x: f.swiglu(x), halves("silu"), (ROWS, 2 * HIDDEN)),
    fused("geglu of halves", lambda f, x: f.geglu(x), halves("gelu"), (ROWS, 2 * HIDDEN)),
    fused("silu(a) * b", lambda f, a, b: f.swiglu(a, b), lambda f, a, b: f.silu(a) * b, *[(ROWS, HIDDEN)] * 2),
    fused(
        "linear, bias and gelu",
        lambda f, x, weight, bias: f.linear(x, weight, bias, "gelu"),
        lambda f, x, weight, bias: f.gelu(f.linear(x, weight, bias)),
        (ROWS, WIDTH), (HIDDEN, WIDTH), (HIDDEN,),
    ),
    fused(
        "layer norm of a sum",
        lambda f, x, residual, weight, bias: f.add_layer_norm(x, residual, (WIDTH,), weight, bias),
        norm_of_sum,
        (ROWS, WIDTH), (ROWS, WIDTH), (WIDTH,), (WIDTH,),
    ),
]  # fmt: skip
