"""What is measured on a GPU: the same programs as on the processor, on arrays of a GPU's size.

DD2424_BENCH_TINY=1 makes them small, to try the way through them where a GPU is emulated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bench_attention import attention, decoding
from bench_conv import convolution
from bench_gemm import batched, product
from bench_loss import cross_entropy
from bench_models import training as images_step
from bench_norm import images, norm
from bench_optim import MLP, RESNET, adamw, momentum, update
from bench_rnn import characters, layer
from bench_training import step as training_step
from bench_transformer import gpt_step
from case import Case, Step, normal
from sequences import Sizes
from shapes import ASSIGNMENTS, Attention, Convolution

TINY = os.environ.get("DD2424_BENCH_TINY") == "1"
WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}


def size(full: int, tiny: int) -> int:
    return tiny if TINY else full


def on_gpu(case: Case, dtype: str = "float32", **goals: float) -> Case:
    """The case with a GPU's goals, in one kind of numbers; the largest errors of a sum are those of its order."""
    name = case.name if dtype == "float32" else f"{case.name}, {dtype}"
    return replace(case, name=name, dtype=dtype, goals=goals, array_bytes=case.array_bytes * WIDTHS[dtype] // 4,
                   numpy=None, jax=None, compiles=False, threads=(1,), tolerance=max(case.tolerance, 1024))  # fmt: skip


def rounded(case: Case) -> Case:
    """float32 that may be rounded to TF32, by each contender's own switches."""

    def program(torch: Any, *inputs: Any) -> Step:
        step = case.program(torch, *inputs)

        def run() -> Any:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            result = step()
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
            return result

        return run

    return replace(case, name=f"{case.name}, TF32", program=program, tolerance=2**18)


def whole(case: Case, **goals: float) -> Case:
    """A training step: its inputs are no kernel's, and take no turns."""
    return replace(on_gpu(case, **goals), flops=0)


def mixed(case: Case) -> Case:
    """A training step with its products in bfloat16."""

    def program(torch: Any, *inputs: Any) -> Step:
        step = case.program(torch, *inputs)

        def train() -> Any:
            with torch.autocast("cuda", dtype=torch.bfloat16):
                return step()

        return train

    return replace(case, name=f"{case.name}, autocast", program=program, tolerance=2**18)


def captured(case: Case) -> Case:
    """Its steps in a graph, of each contender's own."""

    def program(torch: Any, *inputs: Any) -> Step:
        step, side, graph = case.program(torch, *inputs), torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            result = step()

        def replay() -> Any:
            graph.replay()
            return result

        return replay

    return replace(case, name=f"{case.name}, captured", program=program)


def elementwise(name: str, function: Callable[..., Any], reads: int, dtype: str, writes: int = 1) -> Case:
    n, width = size(1 << 26, 1 << 10), WIDTHS[dtype]
    return Case(f"{name}, {n} numbers, {dtype}", lambda torch, *x: lambda: function(torch, *x), normal(*[(n,)] * reads),
                dtype=dtype, reads=reads, writes=writes, array_bytes=n * width, threads=(1,), tolerance=1024,
                goals={"torch": 1.0})  # fmt: skip


def dropped(torch: Any, x: Any) -> None:
    """Each contender drops others, so that there is nothing to compare."""
    torch.nn.functional.dropout(x, 0.1)


def rows(name: str, function: Callable[..., Any], dtype: str, writes: int) -> Case:
    """Of 16 thousand rows of 4096."""
    shape = (size(1 << 14, 5), size(4096, 64))
    width = WIDTHS[dtype]
    return Case(f"{name} {shape}, {dtype}", lambda torch, x: lambda: function(torch, x), normal(shape), dtype=dtype,
                reads=1, writes=writes, array_bytes=shape[0] * shape[1] * width, threads=(1,), tolerance=4096,
                goals={"torch": 1.0, "limit": 0.9})  # fmt: skip


def squares(sizes: Sequence[int], dtype: str, **goals: float) -> list[Case]:
    return [on_gpu(product(n, n, n, name=""), dtype, **goals) for n in sizes]


BATCH = size(128, 1)
RESNET_LAYERS = [(64, 56), (128, 28), (256, 14), (512, 7)]
TINY_NET = ((5, 7), (5,))
GPT = Sizes(width=size(512, 8), layers=size(8, 1), heads=size(8, 2), vocabulary=size(50304, 65), context=size(512, 9))
LONG = Attention(size(4, 1), size(16, 2), size(4096, 33), size(128, 8), is_causal=True)
KINDS = ("float32", "bfloat16")

CASES: dict[str, list[Case]] = {
    "gemm": [
        *squares((size(1024, 33), size(4096, 65), size(8192, 70)), "float32", torch=0.95),
        *squares((size(1024, 33), size(4096, 65), size(8192, 70)), "bfloat16", torch=0.8),
        *squares((size(4096, 65), size(8192, 70)), "float16", torch=0.8),
        *map(rounded, squares((size(4096, 65), size(8192, 70)), "float32", torch=0.8)),
        on_gpu(batched(size(256, 2), size(512, 17), size(512, 17), size(64, 9)), torch=0.9),
    ],
    "conv": [
        on_gpu(convolution(f"3x3 of {c}", Convolution(*(size(c, 3),) * 2, size(n, 6), 3, batch=BATCH), 0.7), dtype,
               torch=0.7)
        for c, n in RESNET_LAYERS for dtype in KINDS
    ] + [
        rounded(on_gpu(convolution(f"3x3 of {c}", Convolution(*(size(c, 3),) * 2, size(n, 6), 3, batch=BATCH), 0.7),
                       torch=0.7))
        for c, n in RESNET_LAYERS
    ] + [on_gpu(convolution("depthwise", Convolution(*(size(256, 3),) * 2, size(28, 6), 3,
                                                     groups=size(256, 3), batch=BATCH), 0.9), torch=0.9)],
    "norm": [
        *(on_gpu(norm("layer_norm", lambda nn, d: nn.LayerNorm(d), 1, size(1 << 14, 5), size(4096, 64)), torch=1.0)
          for _ in range(1)),
        on_gpu(images((BATCH, size(256, 3), size(28, 5), size(28, 5)), "channels_last", False), torch=1.0),
        on_gpu(images((BATCH, size(256, 3), size(28, 5), size(28, 5)), "channels_last", True), torch=1.0),
    ],
    "loss": [
        rows("softmax", lambda torch, x: torch.softmax(x, 1), "float32", 1),
        on_gpu(cross_entropy(size(8192, 5), size(50304, 70)), torch=1.0),
    ],
    "attention": [
        *(on_gpu(attention("GPT", LONG, 0, 0), dtype, torch=0.5) for dtype in WIDTHS),
        *(on_gpu(decoding("long", (size(16, 1), size(32, 2), size(4096, 33), size(128, 8))), dtype, torch=1.0)
          for dtype in KINDS),
    ],
    "rnn": [on_gpu(layer("LSTM", size(100, 3), size(64, 2), size(512, 5), size(512, 6)), torch=1.0)],
    "optim": [
        on_gpu(update("AdamW, ResNet-18", adamw(fused=True), TINY_NET if TINY else RESNET, states=2), torch=1.0),
        on_gpu(update("SGD with momentum", momentum(fused=True), TINY_NET if TINY else MLP, states=1), torch=1.0),
    ],
    "training": [
        step
        for program, goal in (
            (training_step("assignment 3", ASSIGNMENTS["assignment 3"], batch_norm=True), 3.0),
            (characters("SGD", size(100, 5), size(25, 3)), 3.0),
        )
        for step in (whole(program, torch=goal), whole(captured(program), torch=1.0))
    ] + [
        step
        for program in (images_step("small_cnn" if TINY else "resnet18", size(512, 2)), gpt_step(GPT, size(16, 2)))
        for step in (whole(program, torch=0.8), mixed(whole(program, torch=0.8)))
    ],
    "copy": [
        elementwise("copy", lambda torch, x: x.clone(), 1, "float32"),
        elementwise("to bfloat16", lambda torch, x: x.bfloat16(), 1, "float32"),
        rows("transpose", lambda torch, x: x.t().contiguous(), "float32", 1),
    ],
    "elementwise": [
        *(elementwise("x + y", lambda torch, x, y: x + y, 2, dtype) for dtype in KINDS),
        *(elementwise("gelu", lambda torch, x: torch.nn.functional.gelu(x), 1, dtype) for dtype in KINDS),
        elementwise("exp", lambda torch, x: x.exp(), 1, "float32"),
    ],
    "random": [
        elementwise("dropout", dropped, 1, "float32"),
    ],
    "reduce": [
        *(rows(f"sum, dim {d}", lambda torch, x, d=d: x.sum(d), dtype, 0) for d in (0, 1) for dtype in KINDS),
        rows("argmax, dim 1", lambda torch, x: x.argmax(1), "float32", 0),
        rows("var, dim 1", lambda torch, x: x.var(1), "float32", 0),
    ],
}  # fmt: skip
