"""`dd2424 check`: every kernel on this machine, at each ISA level it has.

Three modes: correctness, against NumPy in float64; determinism, bit by bit for 1, 2 and 3 threads and in another
process; gradients, against finite differences. An error is counted in ULPs: units of the last place, of the type
computed in, of the exact result, or where a result is a sum, of the sum of its absolute terms. The references are
short on purpose.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator

import numpy as np

import dd2424
from dd2424.check.base import Check
from dd2424.check.gradients import derivatives
from dd2424.check.images import image_checks
from dd2424.check.kernels import kernel_checks
from dd2424.check.recurrent import recurrent_checks

__all__ = ["MODES", "Check", "all_checks", "digests", "main"]

THREADS = (1, 2, 3)
_PRINT_DIGESTS = """
import json, sys
from dd2424.check import digests
print(json.dumps(digests(sys.argv[2:], int(sys.argv[1]))))
"""


def all_checks(rng: np.random.Generator) -> Iterator[Check]:
    """The checks of every family. Sizes are odd, so that vector tails are reached, and past one thread's share."""
    yield from kernel_checks(rng)
    yield from image_checks(rng)
    yield from recurrent_checks(rng)


def main(mode: str = "correctness") -> int:
    """Print the table of one mode; 1 if any kernel fails, else 0."""
    levels = list(dd2424.supported_isas())
    before, threads = dd2424.get_isa(), dd2424.get_num_threads()
    try:
        failures, count = MODES[mode](levels)
    finally:
        dd2424.set_isa(before)
        dd2424.set_num_threads(threads)
    verdict = f"{failures} of {count} checks FAILED" if failures else f"all {count} checks passed"
    print(f"{verdict} at {len(levels)} levels ({', '.join(levels)})")
    return 1 if failures else 0


def _correctness(levels: list[str]) -> tuple[int, int]:
    checks = list(all_checks(np.random.default_rng(0)))
    width = max(len(check.name) for check in checks)
    print("largest error in ULPs against NumPy float64, by ISA level")
    print(f"{'kernel':<{width}}  {'limit':>7}  " + "  ".join(f"{level:>11}" for level in levels))
    failures = 0
    for check in checks:
        errors = [_at(level, check.error) for level in levels]
        is_bad = max(errors) > check.limit
        failures += is_bad
        cells = "  ".join(f"{error:11.2f}" for error in errors)
        print(f"{check.name:<{width}}  {check.limit:7.1f}  {cells}{'  FAIL' if is_bad else ''}")
    return failures, len(checks)


def _at(level: str, run: Callable[[], float]) -> float:
    dd2424.set_isa(level)
    return run()


def digests(levels: Iterable[str], threads: int) -> dict[str, str]:
    """For each check and level, a hash of the result's bits."""
    dd2424.set_num_threads(threads)
    checks, found = list(all_checks(np.random.default_rng(0))), {}
    for level in levels:
        dd2424.set_isa(level)
        for check in checks:
            found[f"{check.name}, {level}"] = hashlib.sha256(check.bits()).hexdigest()
    return found


def _determinism(levels: list[str]) -> tuple[int, int]:
    print(f"bits of every result with {', '.join(map(str, THREADS))} threads, and in another process")
    runs = {f"{threads} threads": digests(levels, threads) for threads in THREADS}
    code = (
        "import json, sys; from dd2424.check import digests; print(json.dumps(digests(sys.argv[2:], int(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, str(THREADS[1]), *levels]
    runs["another process"] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    first = runs.pop(f"{THREADS[0]} threads")
    others = {name: [run for run, found in runs.items() if found[name] != bits] for name, bits in first.items()}
    for name, wrong in others.items():
        if wrong:
            print(f"{name}: other bits than with one thread in {', '.join(wrong)}  FAIL")
    return sum(map(bool, others.values())), len(first)


def _gradients(levels: list[str]) -> tuple[int, int]:
    print("first and second derivatives against finite differences in float64")
    failures = count = 0
    for derivative in derivatives():
        wrong = {}
        for level in levels:
            dd2424.set_isa(level)
            wrong[level] = derivative.wrong(np.random.default_rng(0))
        notes = [f"{', '.join(orders)} at {level}" for level, orders in wrong.items() if orders]
        print(f"{derivative.name:<24}  {'; '.join(notes) + '  FAIL' if notes else 'right'}")
        failures += bool(notes)
        count += 1
    return failures, count


MODES: dict[str, Callable[[list[str]], tuple[int, int]]] = {
    "correctness": _correctness,
    "determinism": _determinism,
    "gradients": _gradients,
}
