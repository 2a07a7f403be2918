"""What each rung of the readable kernels buys: `dd2424 bench ladder [--device cuda]`. docs/ladder.md explains them."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import dd2424
from dd2424 import _core

RUNGS = ("naive", "blocked", "vectorised", "threaded", "fast")
PAGE = Path(__file__).parents[1] / "docs"
ROUNDS, PEAK_ROUNDS, LEAST_SECONDS = 5, 20_000, 0.01


@dataclass
class Rung:
    """A rung's speed, median over rounds, and its share of the multiply-adds that as many threads can do."""

    work: str
    rung: str
    threads: int
    gflops: float
    share: float


def product(n: int) -> tuple[float, Callable[[], Any]]:
    """A product of two n by n matrices: its floating-point operations, and a function that computes it."""
    a, b = dd2424.randn(n, n), dd2424.randn(n, n)
    return 2 * n**3, lambda: a @ b


def convolution(batch: int, channels: int, size: int) -> tuple[float, Callable[[], Any]]:
    """A 3x3 convolution and both of its gradients."""
    x = dd2424.randn(batch, channels, size, size).contiguous(memory_format=dd2424.channels_last).requires_grad_()
    weight = dd2424.randn(channels, channels, 3, 3).contiguous(memory_format=dd2424.channels_last).requires_grad_()
    dy = dd2424.randn(batch, channels, size, size).contiguous(memory_format=dd2424.channels_last)

    def step() -> None:
        x.grad = weight.grad = None
        dd2424.nn.functional.conv2d(x, weight, padding=1).backward(dy)

    return 3 * 2 * batch * channels**2 * size**2 * 9, step


WORK: dict[str, Callable[[], tuple[float, Callable[[], Any]]]] = {
    "product of (512, 512)": lambda: product(512),
    "3x3 convolution, 64 channels, forward and backward": lambda: convolution(4, 64, 32),
}


def seconds(step: Callable[[], Any]) -> float:
    """Of one call, over as many as take LEAST_SECONDS."""
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < LEAST_SECONDS or count == 0:
        step()
        count += 1
    return (time.perf_counter() - begin) / count


def measure(name: str) -> list[Rung]:
    """All rungs in turns, and in each round what the machine can do, at one thread or where it pays at all."""
    flops, step = WORK[name]()
    threads = dict.fromkeys(RUNGS[:3], 1) | dict.fromkeys(RUNGS[3:], dd2424.get_num_threads())
    speeds: dict[str, list[float]] = {rung: [] for rung in RUNGS}
    shares: dict[str, list[float]] = {rung: [] for rung in RUNGS}
    for _ in range(ROUNDS):
        for rung in RUNGS:
            dd2424.set_num_threads(threads[rung])
            begin = time.perf_counter()
            peak = _core.machine_multiply_adds("float32", PEAK_ROUNDS)
            peak_speed = peak / (time.perf_counter() - begin)
            with dd2424.kernels(rung):
                speeds[rung].append(flops / seconds(step))
            shares[rung].append(speeds[rung][-1] / peak_speed)
    dd2424.set_num_threads(max(threads.values()))
    return [
        Rung(name, rung, threads[rung], float(np.median(speeds[rung])) / 1e9, float(np.median(shares[rung])))
        for rung in RUNGS
    ]


def measure_on_gpu(n: int = 4096, rounds: int = 3) -> list[Rung]:
    """A product of two n by n matrices by every rung in turns, between events of a stream."""
    cuda = dd2424.cuda
    cuda.init()
    a, b = dd2424.randn(n, n, device="cuda"), dd2424.randn(n, n, device="cuda")

    def elapsed(step: Callable[[], Any]) -> float:
        start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        step()
        start.record()
        step()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    speeds: dict[str, list[float]] = {rung: [] for rung in RUNGS}
    shares: dict[str, list[float]] = {rung: [] for rung in RUNGS}
    for _ in range(rounds):
        for rung in RUNGS:
            operations = _core.cuda_multiply_adds(False, 2000)
            peak_speed = operations / elapsed(lambda: _core.cuda_multiply_adds(False, 2000))
            with dd2424.kernels(rung):
                speeds[rung].append(2 * n**3 / elapsed(lambda: a @ b))
            shares[rung].append(speeds[rung][-1] / peak_speed)
    name = f"product of ({n}, {n}), {cuda.get_device_name()}"
    return [Rung(name, r, 1, float(np.median(speeds[r])) / 1e9, float(np.median(shares[r]))) for r in RUNGS]


def table(rungs: list[Rung]) -> str:
    """The rungs as Markdown."""
    rows = [
        "| work | rung | threads | GFLOP/s | of the peak | over naive |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    naive = {r.work: r.gflops for r in rungs if r.rung == RUNGS[0]}
    rows += [
        f"| {r.work} | {r.rung} | {r.threads} | {r.gflops:.3g} | {r.share:.1%} | {r.gflops / naive[r.work]:.3g}x |"
        for r in rungs
    ]
    return "\n".join(rows)


def draw(rungs: list[Rung], path: Path) -> None:
    """A bar for each rung, by GFLOP/s on a logarithmic scale, with its share of the peak."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(WORK), figsize=(10, 3), layout="constrained", sharex=True)
    for axes, work in zip(panels, WORK, strict=True):
        shown = [r for r in rungs if r.work == work]
        names = [f"{r.rung}, {r.threads} thread{'s' if r.threads > 1 else ''}" for r in shown]
        bars = axes.barh(names, [r.gflops for r in shown], color=[f"C{i}" for i in range(len(shown))])
        axes.bar_label(bars, [f" {r.gflops:.3g} ({r.share:.1%})" for r in shown], fontsize=8)
        axes.set_xscale("log")
        axes.set_xlim(right=20 * max(r.gflops for r in rungs))
        axes.invert_yaxis()
        axes.set_title(work, fontsize=9)
        axes.set_xlabel("GFLOP/s (share of the peak)")
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main(arguments: list[str]) -> int:
    """Measure, print the table, and write the figure and the raw speeds where asked to."""
    parser = argparse.ArgumentParser(prog="dd2424 bench ladder", description=__doc__)
    parser.add_argument("--figure", type=Path, metavar="FILE", help="write the figure, such as docs/images/ladder.png")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: of a product on the GPU")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw speeds")
    given = parser.parse_args(arguments)
    rungs = measure_on_gpu() if given.device == "cuda" else [rung for name in WORK for rung in measure(name)]
    print(table(rungs))
    if given.json:
        given.json.write_text(json.dumps([asdict(rung) for rung in rungs], indent=1) + "\n")
    if given.figure and given.device == "cpu":
        draw(rungs, given.figure)
    return 0
