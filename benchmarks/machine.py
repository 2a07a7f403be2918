"""What a figure was measured on."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import dd2424
from dd2424 import _core
from harness import OURS


def fingerprint(peers: Mapping[str, str], threads: Sequence[int]) -> dict[str, Any]:
    """Processor, caches, limits for each number of threads, versions and commit."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "caches": _caches(),
        "system": f"{platform.system()} {platform.release()}, {platform.libc_ver()[0]} {platform.libc_ver()[1]}",
        "isa": dd2424.get_isa(),
        "limits": [limits(n) for n in threads],
        "versions": {
            "dd2424": dd2424.__version__,
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            **{name: _version(name, python) for name, python in peers.items() if name not in (OURS, "numpy")},
        },
        "commit": _commit(),
    }


# Bytes that are read, and how often a chunk of them in a row: in the first- and second-level cache, in the last, beyond
LEVELS = {"L1": (16 << 10, 2000), "L2": (256 << 10, 100), "L3": (8 << 20, 1), "memory": (256 << 20, 1)}


def limits(threads: int) -> dict[str, Any]:
    """What the machine can do with so many threads: GFLOP/s, GB/s of reading by cache level, nanoseconds of a call, and
    of a handoff from one thread to another, which tells whether two cores share a cache: where they do not, a buffer
    that one writes and the other reads costs more than the second core brings."""
    dd2424.set_num_threads(threads)
    found: dict[str, Any] = {"threads": threads, "GFLOP/s": {}, "GB/s": {}}
    for dtype in ("float32", "float64", "bfloat16"):
        flops = _core.machine_multiply_adds(dtype, 20_000)
        if flops:
            found["GFLOP/s"][dtype] = flops / _best(lambda d=dtype: _core.machine_multiply_adds(d, 20_000)) / 1e9
    for level, (size, repeats) in LEVELS.items():
        x = dd2424.ones(size // 4)
        seconds = _best(lambda x=x, n=repeats: _core.machine_stream([x], None, False, n))
        found["GB/s"][level] = size * repeats / seconds / 1e9
    x = dd2424.ones(8)
    begin = time.perf_counter()
    for _ in range(10_000):
        x + x
    found["call_ns"] = (time.perf_counter() - begin) * 1e5
    handoffs = _core.machine_handoffs(20_000)
    if handoffs:
        found["handoff_ns"] = _best(lambda: _core.machine_handoffs(20_000)) / handoffs * 1e9
    return found


def _best(run: Callable[[], Any]) -> float:
    """Seconds of the fastest of some runs: a limit is what can be reached."""
    times = []
    for _ in range(15):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _caches() -> list[str]:
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return found


def _version(peer: str, python: str) -> str:
    package = "torch" if peer == "compile" else peer
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "?"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip() or importlib.metadata.version("dd2424")


def save(path: Path, fingerprint: Mapping[str, Any], results: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 1, "machine": fingerprint, "results": results}, indent=1) + "\n")
