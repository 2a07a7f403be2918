"""Times every contender of a case in turns, each in a process of its own, so that drift and thread pools cancel out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from case import Case, Unavailable

HERE = Path(__file__).parent
OURS, AGAIN, LIMIT, BASELINE = "dd2424", "dd2424*", "limit", "baseline"
NO_PEERS = (AGAIN, LIMIT, BASELINE)  # AGAIN is ours once more: what it differs by is noise
NEAR_NS = 110.0  # a handoff between two threads takes less where their processors share a cache
ENOUGH_ROUNDS = 3  # with processors that share one, for only these to count
ROUNDINGS = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-8, "float16": 2.0**-11}


@dataclass
class Result:
    """The measured times of a case, in seconds a step, and what follows from them."""

    family: str
    name: str
    threads: int
    unit: str  # of `speed`
    seconds: dict[str, list[float]]  # by contender, one each round that counts
    speed: float = 0.0
    ratios: dict[str, float] = field(default_factory=dict)  # peer's time / ours; limit: the share of it that we reach
    spread: float = 0.0  # half the range between quartiles of our time, relative to the median
    goals: dict[str, float] = field(default_factory=dict)
    repeats: int = 1
    intensity: float = 0.0  # operations for each byte of inputs and results, where operations are counted
    apart: dict[str, list[float]] = field(default_factory=dict)  # rounds whose processors shared no cache: left out
    is_apart: bool = False  # no others were to be had

    @property
    def median(self) -> float:
        return float(np.median(self.seconds[OURS])) / self.repeats

    def missed(self, noise: float = 0.03) -> dict[str, float]:
        """Goals that were not reached, with what was; a goal of 1.0 means: no slower, but for noise."""
        slack = {goal: noise if goal == 1 else 0.0 for goal in self.goals.values()}
        return {k: self.ratios[k] for k, goal in self.goals.items() if self.ratios.get(k, 1e9) < goal - slack[goal]}


class Disagreement(RuntimeError):
    """Contenders that live and go on do not compute the same."""


class Contender:
    """A worker process and the pipe to it."""

    def __init__(self, name: str, threads: int, python: str, device: str = "cpu") -> None:
        self.name = name
        peers = ("OPENBLAS_", "MKL_", "KMP_", "GOMP_", "OMP_", "BLIS_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(peers)}  # as its users have it
        if "DD2424_CUDA_LIBRARY" in environment:  # seen from the folder that workers run in
            environment["DD2424_CUDA_LIBRARY"] = os.path.abspath(environment["DD2424_CUDA_LIBRARY"])
        for library in ("OMP", "OPENBLAS", "MKL"):
            environment[f"{library}_NUM_THREADS"] = str(threads)
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), name, str(threads), device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if name != OURS else None,
            text=True,
            env=environment,
            cwd=HERE,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer. Between two requests the process is stopped: pools that go on spinning would disturb the next."""
        self.send(**request)
        return self.answer()

    def send(self, **request: Any) -> None:
        assert self.process.stdin
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the process ended with {self.process.wait()}")
        self.process.send_signal(signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self.process.stdin
        self.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):  # it has died
            self.process.stdin.close()
        self.process.wait()


class Harness:
    """All contenders at one number of threads."""

    def __init__(self, peers: dict[str, str], threads: int, rounds: int, device: str = "cpu") -> None:
        """`peers`: contender -> the Python that has it."""
        self.threads, self.rounds, self.device = threads, rounds, device
        ours = dict.fromkeys((OURS, *(NO_PEERS if device == "cpu" else (AGAIN, LIMIT))), sys.executable)
        everyone = {**ours, **peers}.items()
        self.contenders = [Contender(name, threads, python, device) for name, python in everyone]

    def __enter__(self) -> Harness:
        return self

    def __exit__(self, *exception: object) -> None:
        for contender in self.contenders:
            contender.close()

    def measure(self, family: str, index: int, case: Case) -> Result:
        """Raises: RuntimeError when a contender fails, or its result is not ours; Unavailable as the case does."""
        with tempfile.TemporaryDirectory() as folder:
            ready, flops, touched = [], 0, 0
            for contender, answer in zip(self.contenders, self._prepare(family, index, folder), strict=True):
                if "error" in answer:
                    raise RuntimeError(f"{contender.name}, {case.name}: {answer['error']}")
                if "reason" in answer:
                    raise Unavailable(answer["reason"])
                if answer["ready"]:
                    ready.append(contender)
                    flops = answer["flops"] or flops
                    touched = touched or answer["touched"]
            check_agreement(case, folder, [c.name for c in ready if c.name not in NO_PEERS])
        rounds = Rounds()
        handoff = self._handoff()
        while rounds.near < self.rounds and rounds.taken < 2 * self.rounds:
            turn = rounds.taken % len(ready)
            times = {c.name: float(c.ask(do="time")["seconds"]) for c in ready[turn:] + ready[:turn]}
            before, handoff = handoff, self._handoff()
            rounds.add(times, max(before, handoff))
        return summarise(family, case, self.threads, rounds, flops, touched)

    def _prepare(self, family: str, index: int, folder: str) -> list[dict[str, Any]]:
        """Every contender's answer. On a GPU they make their inputs side by side, for its time may be lent."""
        requests = [
            {"do": "prepare", "family": family, "index": index, "result": f"{folder}/{c.name.strip('*')}.npz"}
            for c in self.contenders
        ]
        if self.device == "cpu":
            return [c.ask(**request) for c, request in zip(self.contenders, requests, strict=True)]
        for contender, request in zip(self.contenders, requests, strict=True):
            contender.send(**request)
        return [contender.answer() for contender in self.contenders]

    def _handoff(self) -> float:
        """Nanoseconds from one thread to another, now; 0 where there is one thread."""
        return float(self.contenders[0].ask(do="handoff")["ns"]) if self.threads > 1 else 0.0


class Rounds:
    """The times of all contenders, round by round. A host may move the processors that it lends between caches, and
    then what two threads exchange costs several times as much, from one second to the next: rounds of the one kind
    say nothing of the other."""

    def __init__(self) -> None:
        self.taken = self.near = 0
        self._rounds: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])  # near, apart

    def add(self, times: dict[str, float], handoff_ns: float) -> None:
        self._rounds[handoff_ns >= NEAR_NS].append(times)
        self.taken, self.near = self.taken + 1, len(self._rounds[0])

    def split(self) -> tuple[dict[str, list[float]], dict[str, list[float]], bool]:
        """Those that count, those left out, and whether the first are those of processors apart."""
        near, apart = map(_by_contender, self._rounds)
        is_apart = self.near < min(ENOUGH_ROUNDS, self.taken)
        return (apart, near, True) if is_apart else (near, apart, False)


def _by_contender(rounds: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [times[name] for times in rounds] for name in (rounds[0] if rounds else ())}


def measure_memory(family: str, index: int, threads: int, peers: dict[str, str]) -> dict[str, tuple[float, int]]:
    """By contender, each in a fresh process: seconds of the first step, and bytes that a step keeps resident."""
    found = {}
    for name, python in {OURS: sys.executable, **peers}.items():
        contender = Contender(name, threads, python)
        answer = contender.ask(do="memory", family=family, index=index)
        contender.close()
        if "error" in answer:
            raise RuntimeError(f"{name}: {answer['error']}")
        if answer["ready"]:
            found[name] = (float(answer["first"]), int(answer["bytes"]))
    return found


def check_agreement(case: Case, folder: str, names: Iterable[str]) -> None:
    """Every contender computes what we do."""
    results = {name: list(np.load(f"{folder}/{name}.npz").values()) for name in names}
    ours = results.pop(OURS)
    for name, theirs in results.items():
        if len(theirs) != len(ours):
            raise Disagreement(f"{case.name}: {name} gives {len(theirs)} arrays, dd2424 {len(ours)}")
        for x, y in zip(ours, theirs, strict=True):
            error = _difference(x, y) if x.shape == y.shape else float("inf")
            if not error <= case.tolerance * ROUNDINGS[case.dtype]:
                raise Disagreement(f"{case.name}: {name} and dd2424 differ: {error:.2e}, shapes {x.shape}, {y.shape}")


def _difference(x: np.ndarray, y: np.ndarray) -> float:
    """The largest, relative to the largest of y, but for one element in 2**18: a ReLU whose argument is a rounding from
    0 may fall on either side, and then its gradient is there or not."""
    difference = np.abs(x - y).ravel()
    most = difference.size - 1 - (difference.size >> 18)
    if np.isnan(difference).any():
        return float("nan")
    error = float(np.partition(difference, most)[most]) if difference.size else 0.0
    return error / max(float(np.abs(y).max(initial=0)), 1e-30)


def summarise(family: str, case: Case, threads: int, rounds: Rounds, flops: float, touched: float = 0) -> Result:
    """Ratios are taken round by round, and their median is what counts."""
    seconds, apart, is_apart = rounds.split()
    ours = np.array(seconds[OURS])
    ratios = {name: float(np.median(np.array(times) / ours)) for name, times in seconds.items() if name != OURS}
    if case.flops and LIMIT in ratios:
        ratios[LIMIT] *= case.flops / flops
    low, high = np.percentile(ours, [25, 75])
    unit = "GFLOP/s" if case.flops else "GB/s" if case.moved_bytes else "us"
    median = float(np.median(ours))
    speed = (case.flops or case.moved_bytes) / median / 1e9 if unit != "us" else median / case.repeats * 1e6
    return Result(
        family=family,
        name=case.name,
        threads=threads,
        unit=unit,
        seconds=seconds,
        speed=speed,
        ratios=ratios,
        spread=float((high - low) / 2 / median),
        goals=dict(case.goals),
        repeats=case.repeats,
        intensity=case.flops / touched if touched else 0.0,
        apart=apart,
        is_apart=is_apart,
    )


def to_json(results: Iterable[Result]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]
