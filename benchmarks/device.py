"""Measures a GPU: its own limits, then every family's cases of device_cases.py against them and against PyTorch."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dd2424
import device_cases
import machine
import report
from case import Unavailable
from dd2424 import _core, cuda
from harness import LIMIT, Disagreement, Harness, Result, to_json

ROUNDS = 7
NOTES = """
Goals that were missed on an H100, and what limits them.

- **float32 products**: 81 to 82 % of the multiply-adds that the chip does without tensor cores, 0.88x cuBLAS. Tiles
  of 256 by 128 and 128 by 256, with 8 by 16 sums to a thread, reached the same 44 to 46 TFLOP/s as 128 by 128, and so
  did deeper slices. What a thread reads from shared memory is believed to be the limit; counters were not read again.
- **Convolutions in bfloat16** are products whose operands are gathered by `cp.async`, which one warpgroup does for
  two that multiply: 0.3 to 0.5x cuDNN forward, where plain matrices, brought by TMA, reach cuBLAS. Copies of boxes of
  an image by TMA are what is left to do, and results in planes without another pass.
- **float32 is float32 here.** PyTorch's convolutions and recurrent layers use TF32, of 10 bits, unless told not to.
  They differ by 2.5e-4 from ours in the run above, which compares before it measures: these cases were left out.
  Against TF32 our exact convolutions have 0.08 to 0.24 of its speed, and a step of ResNet-18 0.27. The benchmark now
  tells PyTorch not to, so that the next run compares equals.
- **float16 and TF32** came after the run above: no figure of theirs is measured, and on a GPU they have not run. The
  emulated one has tested them. float16 has the kernels of bfloat16; TF32 has `wgmma` by TMA for products along k, and
  `mma.sync` for the others and for convolutions. One launch for a step of Adam is later than the run, too.
- **LSTM** T100 B64 H512, forward and backward: 2831 us, cuDNN (TF32) 4815 us, 1.70x; forward 998 and 1822 us. The
  captured step of assignment 4 took 159 us in another run, of which its RNN alone 125: 2.5 us for each of 25 steps
  there and back, most of which is what one block waits for another's words.
- **Attention in bfloat16** is on `mma.sync`: 0.53x forward with 128 features, 0.57 to 0.68x with 64, 1.5x and more
  for short sequences. `wgmma` is what is left to do. In float32 backward computes seven products where five would do
  with the slopes of scores kept in memory.
- **Bfloat16 elementwise**: 92 % of a copy for two operands; gelu, at 69 %, computes as much for half the bytes of
  float32, where it is at 101 %.
- **Sums** have 85 to 91 % of the bandwidth in float32, and 73 to 85 % in bfloat16, whose passes take 55 to 64 us in
  all.

`benchmarks/results/h100-sweep.csv` has 230 cases more, by `python benchmarks/sweep.py`: both contenders in one process,
PyTorch's float32 with TF32 where that is its default, before and after the kernels were changed for what the first run
had shown.
"""
TEXT = """Made by `dd2424 bench --device cuda`; do not edit. The raw times are in `benchmarks/results/`.

Times are those between two events of a stream around a block of steps. Kernels work on several copies of their inputs
in turn, which together are larger than the cache. Every contender has a process of its own; they take turns, round by
round. A ratio is the peer's time over ours in the same round (above 1: we are faster), the median over rounds. *Limit*
is the share that we reach of what the chip does, in the same rounds, in a loop of multiply-adds in registers (short
types: by `mma.sync` on tensor cores; TF32 has float32's limit, without them), or in a bare walk over as much memory.
Results are compared between contenders before they are timed. A ratio in bold missed its goal.
"""


def main(given: argparse.Namespace, peers: Mapping[str, str]) -> int:
    """0, or 1 where a case failed. Raises: RuntimeError where there is no GPU."""
    cuda.init()
    began, failures = time.monotonic(), 0
    results: list[Result] = []
    left_out: list[str] = []
    chosen = [(family, index, case) for family, cases in device_cases.CASES.items()
              if family in given.families or not given.families
              for index, case in enumerate(cases) if given.only in case.name]  # fmt: skip
    chip = fingerprint(peers)
    print(*_limit_rows(chip["limits"]), sep="\n", flush=True)
    while chosen:
        with Harness(dict(peers), 1, min(given.rounds, ROUNDS), "cuda") as harness:
            while chosen:
                family, index, case = chosen.pop(0)
                if time.monotonic() - began > given.seconds:
                    left_out.append(f"{family}: {case.name}: no time was left")
                    print(f"left out: {left_out[-1]}", flush=True)
                    continue
                try:
                    results.append(harness.measure(family, index, case))
                    print(report.line(results[-1]), flush=True)
                except Unavailable as reason:
                    left_out.append(f"{family}: {case.name}: {reason}")
                    print(f"left out: {left_out[-1]}", flush=True)
                except (RuntimeError, OSError) as error:
                    failures += 1
                    left_out.append(f"{family}: {case.name}: FAILED: {error}")
                    print(left_out[-1], flush=True)
                    if not isinstance(error, Disagreement):
                        break  # a contender may have died: the others go on with fresh ones
                _write(given, chip, results, left_out, list(peers))
    _write(given, chip, results, left_out, list(peers))
    return 1 if failures else 0


def fingerprint(peers: Mapping[str, str]) -> dict[str, Any]:
    """The chip, its limits, versions and commit."""
    found = machine.fingerprint(peers, [])
    properties = _core.cuda_properties()
    return {**found, "gpu": properties["name"], "capability": properties["capability"],
            "runtime": properties["runtime"],
            "multiprocessors": properties["multiprocessors"], "memory_bytes": properties["total_bytes"],
            "limits": limits()}  # fmt: skip


def limits() -> dict[str, float]:
    """TFLOP/s in registers, GB/s of the chip's memory, microseconds of a launch."""
    tiny = device_cases.TINY
    numbers, rounds, launches = (1 << 12, 1, 20) if tiny else (1 << 28, 20_000, 2000)
    x, y = dd2424.ones(numbers, device="cuda"), dd2424.ones(numbers, device="cuda")
    moved = numbers * 4 / 1e9
    found = {
        "read, GB/s": moved / _seconds(lambda: _core.cuda_walk_memory(x, None)),
        "write, GB/s": moved / _seconds(lambda: _core.cuda_walk_memory(None, y)),
        "copy, GB/s": 2 * moved / _seconds(lambda: _core.cuda_walk_memory(x, y)),
    }
    for name, by_tensor_cores in (("float32, TFLOP/s", False), ("bfloat16 by mma.sync, TFLOP/s", True)):
        operations = _core.cuda_multiply_adds(by_tensor_cores, rounds)
        seconds = _seconds(lambda by=by_tensor_cores: _core.cuda_multiply_adds(by, rounds))
        found[name] = operations / seconds / 1e12

    def launch() -> None:
        for _ in range(launches):
            _core.cuda_launch_nothing()

    found["a launch, us"] = _seconds(launch) / launches * 1e6
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        launch()
    found["a launch in a graph, us"] = _seconds(graph.replay) / launches * 1e6
    return found


def _seconds(run: Callable[[], Any]) -> float:
    """Of the fastest of some runs, by events."""
    start, end, times = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True), []
    for _ in range(3 if device_cases.TINY else 10):
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return min(times)


def _limit_rows(found: Mapping[str, float]) -> list[str]:
    figures = " | ".join(f"{x:.4g}" for x in found.values())
    return [f"| {' | '.join(found)} |", f"|{' ---: |' * len(found)}", f"| {figures} |"]


def page(chip: Mapping[str, Any], results: Sequence[Result], left_out: Sequence[str], peers: Sequence[str]) -> str:
    """The whole of docs/benchmarks-cuda.md."""
    versions = ", ".join(f"{k} {v}" for k, v in chip["versions"].items())
    median, high = report.noise(results)
    parts = ["# Benchmarks on a GPU", "", TEXT,
             f"{chip['date']}, {chip['gpu']}, compute capability {chip['capability'] / 10:.1f}, "
             f"{chip['multiprocessors']} multiprocessors, {chip['memory_bytes'] / 2**30:.0f} GiB; {chip['runtime']}; "
             f"{versions}; commit {chip['commit']}. The same program against itself differs by {median:.1%} (median) "
             f"and {high:.1%} (95 % of cases).", "", *_limit_rows(chip["limits"]), ""]  # fmt: skip
    for family in dict.fromkeys(r.family for r in results):
        parts += [f"## {family}", "", *_table([r for r in results if r.family == family], peers), ""]
    if left_out:
        parts += ["## Not measured", "", *(f"- {each}" for each in left_out), ""]
    parts += ["## Notes", NOTES.rstrip(), ""]
    return "\n".join(parts)


def _table(results: Sequence[Result], peers: Sequence[str]) -> list[str]:
    shown = [p for p in peers if any(p in r.ratios for r in results)]
    rows = [f"| {' | '.join(['case', 'time', 'speed', 'limit', *(report.TITLES[p] for p in shown)])} |",
            f"| --- |{' ---: |' * (3 + len(shown))}"]  # fmt: skip
    for r in results:
        speed = f"{r.speed:.4g} {r.unit}" if r.unit != "us" else ""
        cells = [r.name, report._time(r.median), speed, report._cell(r, LIMIT, "{:.0%}")]
        rows.append(f"| {' | '.join([*cells, *(report._cell(r, p, '{:.2f}x') for p in shown)])} |")
    return rows


def _write(
    given: argparse.Namespace, chip: Mapping[str, Any], results: Sequence[Result], left_out: list[str], peers: list[str]
) -> None:
    if given.json:
        machine.save(given.json, {**chip, "left out": left_out}, to_json(results))
    if given.page:
        Path(given.page).write_text(page(chip, results, left_out, peers))
