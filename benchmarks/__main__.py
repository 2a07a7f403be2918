"""Measures every kernel family against the machine's limits and its peers: `python benchmarks --help`."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import ladder  # noqa: E402
import machine  # noqa: E402
import report  # noqa: E402
from case import Case, Unavailable  # noqa: E402
from dd2424 import check  # noqa: E402
from harness import Harness, Result, measure_memory, to_json  # noqa: E402

FAMILIES = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
PACKAGES = {"numpy": "numpy", "torch": "torch", "compile": "torch", "jax": "jax"}


def main() -> int:
    if sys.argv[1:2] == ["ladder"]:
        return ladder.main(sys.argv[2:])
    given = _arguments()
    if given.mode in check.MODES:
        return check.main(given.mode)
    if given.device == "cuda":
        import device

        return device.main(given, _peers([p for p in given.peers.split(",") if p == "torch"], given.peer_python, True))
    chosen = _cases(given.families or FAMILIES, given.only)
    if not chosen:
        print(f"benchmarks: no case has {given.only!r} in its name", file=sys.stderr)
        return 2
    peers = _peers(given.peers.split(","), given.peer_python)
    if given.mode == "memory":
        return _memory(given, chosen, {k: v for k, v in peers.items() if k == "torch"})
    before = json.loads(given.compare.read_text()) if given.compare else None  # --json may overwrite it
    results: list[Result] = []
    failures = 0
    memory = _memory_tables(given, chosen, peers) if given.page else {}
    for threads in map(int, given.threads.split(",")):
        failures += _measure(given, threads, peers, chosen, results)
        _write(given, results, peers, memory)
    median, high = report.noise(results)
    missed = sum(bool(r.missed()) for r in results)
    print(f"noise: {median:.1%} (median), {high:.1%} (95 % of cases); goals missed: {missed}; failures: {failures}")
    if before:
        print(*report.slower(before, results) or ["nothing got slower"], sep="\n")
    return 1 if failures else 0


def _measure(
    given: argparse.Namespace,
    threads: int,
    peers: dict[str, str],
    chosen: list[tuple[str, int, Case]],
    results: list[Result],
) -> int:
    """Appends to results; how many cases failed, for which the figures of the others are not lost."""
    failures, left = 0, [each for each in chosen if threads in each[2].threads]
    while left:
        with Harness(peers, threads, given.rounds) as harness:
            while left:
                family, index, case = left.pop(0)
                try:
                    results.append(harness.measure(family, index, case))
                    print(report.line(results[-1]), flush=True)
                except Unavailable as reason:
                    print(f"{case.name}: left out, {reason}")
                except (RuntimeError, OSError) as error:
                    failures += 1
                    print(f"FAILED: {case.name}: {error}", flush=True)
                    break  # a contender may have died: the others go on with fresh ones
    return failures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dd2424 bench", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"default: all of {', '.join(FAMILIES)}")
    parser.add_argument(
        "--mode",
        default="speed",
        choices=("speed", "memory", *check.MODES),
        help="memory: of a step, and how long the first one takes; the others are those of `dd2424 check`",
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default: cpu")
    parser.add_argument(
        "--seconds", type=float, default=1e9, metavar="N", help="on a GPU: leave out what is not begun until then"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their name")
    parser.add_argument("--threads", default="1,2", metavar="N,N", help="default: 1,2")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of every contender; default: 15")
    parser.add_argument(
        "--peers", default="numpy,torch,compile,jax", metavar="NAME,NAME", help="those not installed are left out"
    )
    parser.add_argument("--peer-python", default=_peer_python(), metavar="PATH", help="the Python that has PyTorch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw results")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page, such as docs/benchmarks.md")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="say what got slower since")
    given = parser.parse_args()
    unknown = [family for family in given.families if family not in FAMILIES]
    if unknown:
        parser.error(f"FAMILY must be one of {', '.join(FAMILIES)}, got {unknown[0]}")
    return given


def _memory(given: argparse.Namespace, chosen: list[tuple[str, int, Case]], peers: dict[str, str]) -> int:
    threads = int(given.threads.split(",")[-1])
    print(report.MEMORY_HEAD)
    for family, index, case in chosen:
        print(report.memory_line(case.name, measure_memory(family, index, threads, peers)), flush=True)
    return 0


def _memory_tables(
    given: argparse.Namespace, chosen: list[tuple[str, int, Case]], peers: dict[str, str]
) -> dict[str, str]:
    """By family, for cases that ask for it."""
    threads = int(given.threads.split(",")[-1])
    found: dict[str, dict[str, dict[str, tuple[float, int]]]] = {}
    for family, index, case in chosen:
        if case.tracks_memory:
            beside = {name: python for name, python in peers.items() if name == "torch"}
            found.setdefault(family, {})[case.name] = measure_memory(family, index, threads, beside)
    return {family: report.memory_table(measured) for family, measured in found.items()}


def _peer_python() -> str:
    beside = HERE.parent / ".venv-peers/bin/python"
    return str(beside) if beside.exists() else sys.executable


def _cases(families: list[str], text: str) -> list[tuple[str, int, Case]]:
    found = []
    for family in families:
        cases: list[Case] = importlib.import_module(f"bench_{family}").CASES
        found += [(family, index, case) for index, case in enumerate(cases) if text in case.name]
    return found


def _peers(wanted: list[str], python: str, on_gpu: bool = False) -> dict[str, str]:
    """Those that are installed, for a GPU where one is asked for, each with its Python."""
    found = {}
    for name in filter(None, wanted):
        if name not in PACKAGES:
            raise SystemExit(f"benchmarks: --peers must be of {', '.join(PACKAGES)}, got {name}")
        own = sys.executable if name == "numpy" else python
        code = "import torch; torch.ones(1).cuda()" if on_gpu else f"import {PACKAGES[name]}"
        done = subprocess.run([own, "-c", code], capture_output=True, check=False)
        if done.returncode == 0:
            found[name] = own
        else:
            print(f"{name}: not installed in {own}{' for a GPU' if on_gpu else ''}, left out")
    return found


def _write(given: argparse.Namespace, results: list[Result], peers: dict[str, str], memory: dict[str, str]) -> None:
    fingerprint = machine.fingerprint(peers, [int(n) for n in given.threads.split(",")])
    if given.json:
        machine.save(given.json, fingerprint, to_json(results))
    if given.page:
        picture = given.page.parent / "images" / "roofline.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        drawn = report.plot(picture, fingerprint, results)
        shown = "images/roofline.png" if drawn else None
        given.page.write_text(report.page(fingerprint, results, list(peers), shown, _notes(results, memory)))


def _notes(results: list[Result], memory: dict[str, str]) -> dict[str, str]:
    """What stands under the tables of the families measured: of memory, and what their files say."""
    found = {}
    for family in dict.fromkeys(r.family for r in results):
        own = getattr(importlib.import_module(f"bench_{family}"), "NOTES", "").strip()
        if texts := [text for text in (memory.get(family), own) if text]:
            found[family] = "\n\n".join(texts)
    return found


if __name__ == "__main__":
    sys.exit(main())
