"""Results as a page of Markdown and as lines of a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness import AGAIN, BASELINE, LIMIT, NEAR_NS, Result

TITLES = {"numpy": "NumPy", "torch": "PyTorch", "compile": "torch.compile", "jax": "JAX", BASELINE: "baseline"}


def noise(results: Sequence[Result]) -> tuple[float, float]:
    """What the same program differs by from itself, interleaved: the median and the 95th percentile of |ratio - 1|."""
    errors = [abs(r.ratios[AGAIN] - 1) for r in results if AGAIN in r.ratios]
    return (float(np.median(errors)), float(np.percentile(errors, 95))) if errors else (0.0, 0.0)


def line(result: Result) -> str:
    """One result for the terminal."""
    peers = "  ".join(f"{TITLES[k]} {v:5.2f}x" for k, v in result.ratios.items() if k in TITLES)
    limit = f"{result.ratios[LIMIT]:6.1%} of limit" if LIMIT in result.ratios else " " * 15
    missed = result.missed()
    note = f"   MISSED {', '.join(f'{k} {result.goals[k]:g}' for k in missed)}" if missed else ""
    head = f"{result.name:52.52} {result.threads}t{'†' if result.is_apart else ' '}{_time(result.median):>9}"
    return f"{head} {result.speed:8.4g} {result.unit:8} {limit}  {peers}{note}"


MEMORY_HEAD = "| case | resident | PyTorch's | first step | PyTorch's |\n| --- | ---: | ---: | ---: | ---: |"


def memory_line(name: str, measured: Mapping[str, tuple[float, int]]) -> str:
    """A row: what a step keeps resident beyond imports, and how long the first step takes."""
    cells = [f"{measured[c][1] / 2**20:.0f} MiB" if c in measured else "" for c in ("dd2424", "torch")]
    cells += [_time(measured[c][0]) if c in measured else "" for c in ("dd2424", "torch")]
    return f"| {name} | {' | '.join(cells)} |"


def memory_table(measured: Mapping[str, Mapping[str, tuple[float, int]]]) -> str:
    """By case and contender: seconds of the first step, and bytes that a step keeps resident."""
    says = (
        "In a fresh process, the most memory that steps keep resident, without what imports take; and the first step."
    )
    return "\n".join([says, "", MEMORY_HEAD, *(memory_line(name, found) for name, found in measured.items())])


def page(
    machine: Mapping[str, Any],
    results: Sequence[Result],
    peers: Sequence[str],
    plot: str | None,
    notes: Mapping[str, str],
) -> str:
    """The whole of docs/benchmarks.md. `notes`: what a family says of its figures, most of all of the missed ones."""
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    median, high = noise(results)
    parts = [
        "# Benchmarks",
        "",
        "Made by `make bench`; do not edit. The raw times are in `benchmarks/results/`.",
        "",
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {', '.join(machine['caches'])}; "
        f"level {machine['isa']}; {versions}; commit {machine['commit']}.",
        "",
        "Every contender runs in a process of its own, in turns with the others, round by round. A ratio is the peer's "
        "time over ours in the same round (above 1: we are faster), the median over rounds. *Limit* is the share that "
        "we reach of what the machine does, in the same rounds, in a loop of multiply-adds in registers (GFLOP/s), or "
        "in a bare walk over as many arrays of the same size (GB/s). *Baseline* is the same work of ours in its barest "
        "form, where no peer has it: an epoch's steps without its data. Results are compared between contenders before "
        "they are timed. With two threads only rounds count whose processors share a cache, by the handoff from one to "
        f"the other before and after ({NEAR_NS:.0f} ns): a host that lends processors moves them. † marks a case that "
        f"had too few such rounds. The same program against itself differs by {median:.1%} (median) and {high:.1%} "
        "(95 % of cases): the noise of this run. A ratio in bold missed its goal.",
        "",
    ]
    parts += [*_limits(machine.get("limits", [])), ""]
    if plot:
        parts += [f"![Roofline, and the share of the limit that each case reaches]({plot})", ""]
    for family in dict.fromkeys(r.family for r in results):
        parts += [f"## {family}", "", *_table([r for r in results if r.family == family], peers), ""]
        if family in notes:
            parts += [notes[family], ""]
    return "\n".join(parts)


def _limits(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the machine can do, by number of threads."""
    if not measured:
        return []
    kinds, levels = measured[0]["GFLOP/s"], measured[0]["GB/s"]
    head = [
        "threads",
        *(f"{kind}, GFLOP/s" for kind in kinds),
        *(f"{level}, GB/s" for level in levels),
        "a call, ns",
        "a handoff, ns",
    ]
    rows = [f"| {' | '.join(head)} |", f"|{' ---: |' * len(head)}"]
    for limits in measured:
        figures = [*limits["GFLOP/s"].values(), *limits["GB/s"].values(), limits["call_ns"]]
        handoff = f"{limits['handoff_ns']:.0f}" if "handoff_ns" in limits else ""
        rows.append(f"| {limits['threads']} | {' | '.join(f'{x:.0f}' for x in figures)} | {handoff} |")
    return rows


def _table(results: Sequence[Result], peers: Sequence[str]) -> list[str]:
    shown = [p for p in (*peers, BASELINE) if any(p in r.ratios for r in results)]
    head = ["case", "threads", "time", "speed", "limit", *(TITLES[p] for p in shown)]
    rows = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for r in results:
        speed = f"{r.speed:.4g} {r.unit}" if r.unit != "us" else ""
        cells = [r.name, f"{r.threads}{'†' * r.is_apart}", _time(r.median), speed, _cell(r, LIMIT, "{:.0%}")]
        rows.append(f"| {' | '.join([*cells, *(_cell(r, p, '{:.2f}x') for p in shown)])} |")
    return rows


def _cell(result: Result, key: str, text: str) -> str:
    if key not in result.ratios:
        return ""
    shown = text.format(result.ratios[key])
    return f"**{shown}** (goal {text.format(result.goals[key])})" if key in result.missed() else shown


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def slower(before: Mapping[str, Any], results: Sequence[Result], threshold: float = 0.1) -> list[str]:
    """Cases whose speed, relative to the limit or to the peers measured beside it, fell by more than `threshold`."""
    old = {(r["family"], r["name"], r["threads"]): r["ratios"] for r in before["results"]}
    lines = []
    for r in results:
        then = old.get((r.family, r.name, r.threads))
        yardsticks = [k for k in (LIMIT, "torch", "numpy") if then and k in then and k in r.ratios]
        if then and yardsticks:
            change = float(np.median([r.ratios[k] / then[k] for k in yardsticks]))
            if change < 1 - threshold:
                lines.append(
                    f"{r.family}: {r.name}, {r.threads} threads: {1 - change:.0%} slower against {yardsticks[0]}"
                )
    return lines


def plot(path: Path, machine: Mapping[str, Any], results: Sequence[Result]) -> bool:
    """A roofline of the cases whose operations are counted, and the share of the limit that every case reaches.

    False without matplotlib, or without anything to show.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    shown = [r for r in results if LIMIT in r.ratios]
    if not shown:
        return False
    most = max(r.threads for r in shown)
    shown = [r for r in shown if r.threads == most]
    families = list(dict.fromkeys(r.family for r in shown))
    on_roof = [r.family for r in shown if r.unit == "GFLOP/s"]  # these share a legend, so they come first
    colours = {family: f"C{i % 10}" for i, family in enumerate(dict.fromkeys([*on_roof, *families]))}
    height = 0.3 * len(families) + 0.8
    figure, (roof, shares) = pyplot.subplots(
        2, 1, figsize=(8, 4.5 + height), height_ratios=(4.5, height), layout="constrained"
    )
    _draw_roofline(roof, machine, [r for r in shown if r.intensity and r.unit == "GFLOP/s"], most, colours)
    _draw_shares(shares, shown, most, colours)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True


def _draw_roofline(
    axes: Any, machine: Mapping[str, Any], results: Sequence[Result], threads: int, colours: Mapping[str, str]
) -> None:
    """Pace over intensity, both logarithmic, under the roofs of memory and of arithmetic."""
    limits = next((x for x in machine.get("limits", []) if x["threads"] == threads), None)
    intensities = np.geomspace(0.5, 1e6, 80)
    if limits:
        for kind, style in (("float32", "-"), ("bfloat16", "--")):
            peak = limits["GFLOP/s"].get(kind)
            if peak:
                roof = np.minimum(peak, intensities * limits["GB/s"]["memory"])
                axes.plot(intensities, roof, style, color="black", linewidth=1, label=f"{kind}: {peak:.0f} GFLOP/s")
    for family in dict.fromkeys(r.family for r in results):
        mine = [r for r in results if r.family == family]
        x, y = [r.intensity for r in mine], [r.speed for r in mine]
        axes.scatter(x, y, s=14, color=colours[family], label=family, zorder=3)
    axes.set(xscale="log", yscale="log", ylabel=f"GFLOP/s, {threads} threads")
    axes.set_xlabel("operations for each byte")
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_shares(axes: Any, results: Sequence[Result], threads: int, colours: Mapping[str, str]) -> None:
    """A row for each family with a dot for each case; cases that lie close stand above each other."""
    families = list(dict.fromkeys(r.family for r in results))
    for row, family in enumerate(families):
        shares = sorted(100 * r.ratios[LIMIT] for r in results if r.family == family)
        heights = [row + 0.16 * (i % 3 - 1) for i in range(len(shares))]
        axes.scatter(shares, heights, s=14, color=colours[family])
    axes.axvline(100, color="black", linewidth=0.8)
    axes.set_yticks(range(len(families)), families)
    axes.set_ylim(len(families) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="y", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"% of what the machine does, {threads} threads; above 100: fewer products, or a cache")
    axes.spines[["top", "right"]].set_visible(False)
