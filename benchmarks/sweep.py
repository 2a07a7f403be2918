"""Many operations on a GPU, ours and PyTorch's, in one process: wide where `dd2424 bench --device cuda` is exact.

PyTorch's are as it comes, convolutions and recurrent layers of float32 in TF32. Results are not compared here, and the
times are medians of a few blocks between events. `python benchmarks/sweep.py --seconds 60 --csv FILE`.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dd2424

Step = Callable[[], Any]
Make = Callable[[Any], Step]  # of the module that computes
Cases = Iterator[tuple[str, Make]]
TINY = os.environ.get("DD2424_BENCH_TINY") == "1"
KINDS = ("float32", "bfloat16")


def size(full: int, tiny: int = 0) -> int:
    return (tiny or max(2, full // 64)) if TINY else full


def randn(T: Any, *shape: int, dtype: str = "float32", grad: bool = False, last: bool = False) -> Any:
    """Normal numbers; `last`: channels of images last."""
    x = T.randn(*shape, device="cuda").to(getattr(T, dtype))
    x = x.contiguous(memory_format=T.channels_last) if last else x
    return x.detach().requires_grad_(grad)


def both_ways(T: Any, function: Step, *leaves: Any) -> Step:
    """Forward and backward, whose gradient lies as the result does."""
    y = function()
    dy = randn(T, *y.shape, last=y.ndim == 4 and not y.is_contiguous()).to(y.dtype)

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        function().backward(dy)

    return step


def products() -> Cases:
    for dtype in KINDS:
        for n, turned in (
            (512, "nn"),
            (1024, "nn"),
            (2048, "nn"),
            (4096, "nn"),
            (8192, "nn"),
            (4096, "nt"),
            (4096, "tn"),
        ):

            def product(T: Any, n: int = size(n, 33), turned: str = turned, dtype: str = dtype) -> Step:
                a, b = (x.t() if way == "t" else x for way, x in
                        zip(turned, (randn(T, n, n, dtype=dtype) for _ in range(2)), strict=True))  # fmt: skip
                return lambda: a @ b

            yield f"gemm {dtype} {n} {turned}", product
        shapes = (
            (128, 50, 3072),
            (16, 4096, 4096),
            (1, 4096, 4096),
            (8192, 512, 2048),
            (8192, 2048, 512),
            (64, 2048, 512),
        )
        for m, n, k in shapes:

            def linear(T: Any, back: bool, m: int = m, n: int = n, k: int = k, dtype: str = dtype) -> Step:
                x = randn(T, size(m), size(k), dtype=dtype, grad=back)
                w = randn(T, size(n), size(k), dtype=dtype, grad=back)
                function = lambda: T.nn.functional.linear(x, w)
                return both_ways(T, function, x, w) if back else function

            yield f"linear {dtype} {m}x{n}x{k}", lambda T, make=linear: make(T, False)
            yield f"linear f+b {dtype} {m}x{n}x{k}", lambda T, make=linear: make(T, True)


def elements() -> Cases:
    flat: dict[str, Callable[..., Any]] = {
        "x+y": lambda T, x, y: x + y, "x*2": lambda T, x, y: x * 2.0, "relu": lambda T, x, y: T.relu(x),
        "tanh": lambda T, x, y: T.tanh(x), "sigmoid": lambda T, x, y: T.sigmoid(x), "x>y": lambda T, x, y: x > y,
        "where": lambda T, x, y: T.where(x > 0, x, y), "x**3": lambda T, x, y: x**3, "sqrt": lambda T, x, y: T.sqrt(x),
        "sin": lambda T, x, y: T.sin(x), "x+y.bf16": lambda T, x, y: x + y.to(T.bfloat16),
    }  # fmt: skip
    for name, function in flat.items():

        def make(T: Any, function: Callable[..., Any] = function) -> Step:
            x, y = (randn(T, size(1 << 26, 999)) for _ in range(2))
            return lambda: function(T, x, y)

        yield f"ew {name}", make
    rows: dict[str, Callable[..., Any]] = {
        "x + row": lambda T, x: x + x[0], "x * column": lambda T, x: x * x[:, :1],
        "slice cols": lambda T, x: x[:, : x.shape[1] // 2].contiguous(),
        "t contiguous": lambda T, x: x.t().contiguous(),
        "sum": lambda T, x: x.sum(), "sum 0": lambda T, x: x.sum(0), "sum 1": lambda T, x: x.sum(1),
        "max 1": lambda T, x: x.max(1), "argmax 0": lambda T, x: x.argmax(0), "norm": lambda T, x: x.norm(),
        "cumsum 1": lambda T, x: x.cumsum(1), "sort 1": lambda T, x: x.sort(1), "topk 1": lambda T, x: x.topk(10, 1),
        "softmax": lambda T, x: T.softmax(x, 1), "log_softmax": lambda T, x: T.log_softmax(x, 1),
        "logsumexp": lambda T, x: T.logsumexp(x, 1), "cat": lambda T, x: T.cat([x, x], 1),
        "tril": lambda T, x: T.tril(x),
        "masked_fill": lambda T, x: x.masked_fill(x > 0, 0.0), "flip": lambda T, x: x.flip(0),
        "dropout": lambda T, x: T.nn.functional.dropout(x, 0.1), "randn": lambda T, x: T.randn(x.shape, device="cuda"),
    }  # fmt: skip
    for name, function in rows.items():

        def make_rows(T: Any, function: Callable[..., Any] = function) -> Step:
            x = randn(T, size(1 << 14, 7), size(4096, 65))
            return lambda: function(T, x)

        yield f"2d {name}", make_rows


def indices() -> Cases:
    many, wide = size(1 << 14, 7), size(4096, 65)

    def embedding(T: Any) -> Step:
        words = size(50304, 99)
        w, i = randn(T, words, size(768, 16), grad=True), T.randint(0, words, (many,), device="cuda")
        return both_ways(T, lambda: T.nn.functional.embedding(i, w), w)

    def select(T: Any) -> Step:
        x, i = randn(T, many, wide), T.randint(0, many, (many,), device="cuda")
        return lambda: x.index_select(0, i)

    def add(T: Any) -> Step:
        x, i, y = randn(T, many, wide), T.randint(0, many, (many,), device="cuda"), randn(T, many, wide)
        return lambda: y.index_add_(0, i, x)

    def gather(T: Any) -> Step:
        x, i = randn(T, many, wide), T.randint(0, wide, (many, 128), device="cuda")
        return lambda: x.gather(1, i)

    yield from (("embedding f+b", embedding), ("index_select", select), ("index_add", add), ("gather", gather))


def norms() -> Cases:
    shapes = {
        "stem": (128, 64, 56, 56),
        "mid": (128, 256, 28, 28),
        "late": (128, 512, 7, 7),
        "cifar": (512, 64, 32, 32),
    }

    def of_images(T: Any, layer: Callable[..., Any], shape: tuple[int, ...], last: bool) -> Step:
        x, module = randn(T, *((2, 32, 5, 5) if TINY else shape), grad=True, last=last), layer(T).to("cuda")
        return both_ways(T, lambda: module(x), x, *module.parameters())

    for name, shape in shapes.items():
        for last in (False, True):

            def batch(T: Any, shape: tuple[int, ...] = shape, last: bool = last) -> Step:
                return of_images(T, lambda T: T.nn.BatchNorm2d(32 if TINY else shape[1]), shape, last)

            yield f"batch_norm f+b {name} {'cl' if last else 'nchw'} float32", batch
    yield (
        "GroupNorm f+b",
        lambda T: of_images(T, lambda T: T.nn.GroupNorm(32, 32 if TINY else 256), shapes["mid"], False),
    )
    for dtype in KINDS:
        for name in ("LayerNorm", "RMSNorm"):

            def of_rows(T: Any, name: str = name, dtype: str = dtype) -> Step:
                x = randn(T, size(1 << 14, 5), size(4096, 64), dtype=dtype, grad=True)
                module = getattr(T.nn, name)(x.shape[1]).to("cuda").to(x.dtype)
                return both_ways(T, lambda: module(x), x, *module.parameters())

            yield f"{name} f+b {dtype}", of_rows
    for many, classes in ((8192, 50304), (1 << 20, 21), (100, 10)):

        def entropy(T: Any, many: int = many, classes: int = classes) -> Step:
            x = randn(T, *((5, 70) if TINY else (many, classes)), grad=True)
            y = T.randint(0, x.shape[1], (x.shape[0],), device="cuda")

            def step() -> None:
                x.grad = None
                T.nn.functional.cross_entropy(x, y).backward()

            return step

        yield f"cross_entropy f+b ({many}, {classes})", entropy


def images() -> Cases:
    """Inputs, outputs, pixels along a side, taps, stride and batch."""
    layers = {"56x64": (64, 64, 56, 3, 1, 128), "28x128": (128, 128, 28, 3, 1, 128),
              "14x256": (256, 256, 14, 3, 1, 128),
              "7x512": (512, 512, 7, 3, 1, 128), "stem": (3, 64, 224, 7, 2, 64), "cifar first": (3, 64, 32, 3, 1, 512),
              "1x1": (256, 64, 56, 1, 1, 64), "stride2": (128, 256, 28, 3, 2, 128)}  # fmt: skip

    def convolution(T: Any, shape: tuple[int, ...], dtype: str, last: bool, slopes: str, groups: int = 1) -> Step:
        inputs, outputs, side, taps, stride, batch = (4 * groups, 4 * groups, 9, *shape[3:5], 2) if TINY else shape
        x = randn(T, batch, inputs, side, side, dtype=dtype, last=last, grad="x" in slopes)
        w = randn(T, outputs, inputs // groups, taps, taps, dtype=dtype, last=last, grad="w" in slopes)
        function = lambda: T.nn.functional.conv2d(x, w, stride=stride, padding=taps // 2, groups=groups)
        return both_ways(T, function, x, w) if slopes else function

    for dtype in KINDS:
        for last in (True, False):
            for name, shape in layers.items():
                for slopes, passes in (("", "fwd"), ("w", "f+dw"), ("xw", "f+b")):

                    def make(T: Any, given: tuple[Any, ...] = (shape, dtype, last, slopes)) -> Step:
                        return convolution(T, *given)

                    yield f"conv {passes} {dtype} {'cl' if last else 'nchw'} {name}", make
    deep = (256, 256, 28, 3, 1, 128)
    yield "conv depthwise f+b cl", lambda T: convolution(T, deep, "float32", True, "xw", 4 if TINY else 256)

    def pool(T: Any, shape: tuple[int, ...], last: bool, function: Callable[..., Any]) -> Step:
        x = randn(T, *((2, 4, 8, 8) if TINY else shape), last=last, grad=True)
        return both_ways(T, lambda: function(T.nn.functional, x), x)

    for last in (True, False):
        form = "cl" if last else "nchw"
        yield (
            f"max_pool f+b {form}",
            lambda T, last=last: pool(T, (128, 64, 112, 112), last, lambda F, x: F.max_pool2d(x, 3, 2, 1)),
        )
        yield (
            f"global avg f+b {form}",
            lambda T, last=last: pool(T, (128, 512, 7, 7), last, lambda F, x: F.adaptive_avg_pool2d(x, 1)),
        )
    yield (
        "bilinear f+b",
        lambda T: pool(T, (16, 64, 128, 128), False, lambda F, x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    )


def sequences() -> Cases:
    for dtype in KINDS:
        for shape in ((4, 16, 4096, 128), (4, 16, 4096, 64), (16, 8, 512, 64), (64, 8, 64, 64)):
            for causal in (True, False):

                def attend(T: Any, back: bool, given: tuple[Any, ...] = (shape, dtype, causal)) -> Step:
                    shape, dtype, causal = given
                    leaves = [randn(T, *((1, 2, 33, 8) if TINY else shape), dtype=dtype, grad=back) for _ in range(3)]
                    attention = T.nn.functional.scaled_dot_product_attention
                    function = lambda: attention(*leaves, is_causal=causal)
                    return both_ways(T, function, *leaves) if back else function

                yield f"attention fwd {dtype} {shape} causal={causal}", lambda T, make=attend: make(T, False)
                yield f"attention f+b {dtype} {shape} causal={causal}", lambda T, make=attend: make(T, True)

        def decode(T: Any, dtype: str = dtype) -> Step:
            b, h, t, d = (1, 2, 33, 8) if TINY else (16, 32, 4096, 128)
            q, k, v = (randn(T, b, h, n, d, dtype=dtype) for n in (1, t, t))
            return lambda: T.nn.functional.scaled_dot_product_attention(q, k, v)

        yield f"decode {dtype}", decode
    for kind in ("LSTM", "GRU", "RNN"):
        for t, b, h in ((100, 64, 512), (25, 1, 100), (25, 32, 100)):

            def layer(T: Any, back: bool, given: tuple[Any, ...] = (kind, t, b, h)) -> Step:
                kind, t, b, h = (given[0], 3, 2, 6) if TINY else given
                module, x = getattr(T.nn, kind)(h, h).to("cuda"), randn(T, t, b, h, grad=True)
                function = lambda: module(x)[0]
                return both_ways(T, function, x, *module.parameters()) if back else function

            yield f"{kind} fwd T{t} B{b} H{h}", lambda T, make=layer: make(T, False)
            yield f"{kind} f+b T{t} B{b} H{h}", lambda T, make=layer: make(T, True)


def small() -> Cases:
    """What a call costs."""
    functions: dict[str, Callable[..., Any]] = {
        "x+y": lambda T, x: x + x, "sum": lambda T, x: x.sum(), "matmul": lambda T, x: x @ x,
        "relu": lambda T, x: T.relu(x),
    }  # fmt: skip
    for name, function in functions.items():

        def make(T: Any, function: Callable[..., Any] = function) -> Step:
            x = randn(T, 8, 8)
            return lambda: function(T, x)

        yield f"small {name} (8,8)", make


def microseconds(T: Any, step: Step) -> float:
    """Of a step, the median of some blocks of at least two milliseconds."""
    for _ in range(2):
        step()
    T.cuda.synchronize()
    begin = time.perf_counter()
    step()
    T.cuda.synchronize()
    once = time.perf_counter() - begin
    count = max(1, min(50, int(0.003 / max(once, 1e-6))))
    blocks = 1 if TINY else max(3, min(12, int(0.15 / max(once * count, 1e-6))))
    times = []
    for _ in range(blocks):
        start, end = T.cuda.Event(enable_timing=True), T.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(count):
            step()
        end.record()
        end.synchronize()
        times.append(float(start.elapsed_time(end)) * 1e3 / count)
    return statistics.median(times)


def measured(module: Any, make: Make) -> float | None:
    """None where it failed, which is said, and of ours ends the program with 1."""
    try:
        module.manual_seed(0)
        return microseconds(module, make(module))
    except RuntimeError as error:
        print(f"{module.__name__}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
        return None
    finally:
        module.cuda.empty_cache()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1e9, help="leave out what is not begun until then")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their name")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    given = parser.parse_args()
    modules = [dd2424]
    try:
        import torch

        modules += [torch] if torch.cuda.is_available() else []
    except ImportError:
        pass
    began, rows = time.monotonic(), []
    for family in (products, elements, indices, norms, images, sequences, small):
        for name, make in family():
            if given.only not in name or time.monotonic() - began > given.seconds:
                continue
            times = [measured(module, make) for module in modules]
            rows.append([name, *("" if t is None else f"{t:.1f}" for t in times)])
            print(
                ", ".join(f"{m.__name__} {t} us" for m, t in zip(modules, rows[-1][1:], strict=True)), name, flush=True
            )
    if given.csv:
        with given.csv.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([["case", *(f"{m.__name__}, us" for m in modules)], *rows])
    return 1 if any(row[1] == "" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
