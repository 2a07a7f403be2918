"""One contender, in a process of its own: prepares the cases it is told to, and runs blocks of their steps."""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import case as cases
from case import Array, Case, Step, Unavailable

ENOUGH_SECONDS = 0.3  # to see which of two ways is the faster
HANDOFFS = 2000
ROTATED_BYTES = 256 << 20  # of a kernel's inputs and results, several times a GPU's cache
MOST_COPIES = 8
MOST_COMPARED = 1 << 22  # about so many elements of a GPU's result, evenly from all of it
BLOCK_SECONDS = 0.01  # a block is at least so long, and at least two steps


class Worker:
    """Answers requests: prepare a case, time a block of it."""

    def __init__(self, contender: str, threads: int, device: str = "cpu") -> None:
        self.contender, self.threads, self.device = contender, threads, device
        self.torch: Any = None  # the module whose events take the time on a GPU
        self.build: Callable[[Case, Sequence[Array]], Step | None] = getattr(self, f"_{contender.rstrip('*')}")
        self.step: Step = lambda: None
        self.count = 1
        self.takes_first_format = False
        self.layout: Any = None  # of images in the case at hand, once the faster is known

    def prepare(self, family: str, index: int, result: str) -> dict[str, Any]:
        """Makes the step, runs it, keeps its result in a file, and finds how many steps fill a block."""
        case = self._case(family, index)
        self.step, self.layout = lambda: None, None
        gc.collect()
        inputs = case.inputs(np.random.default_rng(zlib.crc32(case.name.encode())))
        try:
            step = self.build(case, inputs)
        except Unavailable as reason:
            return {"ready": False, "reason": str(reason)}
        except NotImplementedError as reason:
            if self.device == "cpu":
                raise
            return {"ready": False, "reason": str(reason)}
        if step is None:
            return {"ready": False}
        try:
            results = _arrays(step())
        except NotImplementedError as reason:
            if self.device == "cpu":
                raise
            return {"ready": False, "reason": str(reason)}
        np.savez(result, *results)
        width = 2 if case.dtype == "bfloat16" else np.dtype(case.dtype).itemsize
        touched = width * sum(array.size for array in (*inputs, *results))
        self.step, self.count = self._rotating(case, inputs, step, touched), 1
        for _ in range(2):
            step()
        while self._block() < BLOCK_SECONDS / 2 and self.count < 1 << 24:
            self.count *= 2
        return {"ready": True, "count": self.count, "touched": touched}

    def _case(self, family: str, index: int) -> Case:
        module = importlib.import_module("device_cases" if self.device != "cpu" else f"bench_{family}")
        found: Case = module.CASES[family][index] if self.device != "cpu" else module.CASES[index]
        return found

    def _rotating(self, case: Case, inputs: Sequence[Array], step: Step, touched: int) -> Step:
        """On a GPU, steps on copies of a kernel's inputs in turn: what the last one left in the cache is of no use."""
        copies = min(-(-ROTATED_BYTES // max(touched, 1)), MOST_COPIES)
        if self.device == "cpu" or copies < 2 or not (case.flops or case.moved_bytes) or self.contender == "limit":
            return step
        steps = itertools.cycle([step, *(self.build(case, inputs) for _ in range(copies - 1))])
        return lambda: next(steps)()

    def time(self) -> dict[str, float]:
        self.step()  # others had the caches meanwhile, and the threads slept
        return {"seconds": self._block() / self.count}

    def handoff(self) -> dict[str, float]:
        """Nanoseconds that a word takes from one thread to another that waits for it."""
        from dd2424 import _core

        seconds = []
        for _ in range(3):
            begin = time.perf_counter()
            done = _core.machine_handoffs(HANDOFFS)
            seconds.append((time.perf_counter() - begin) / max(done, 1))
        return {"ns": min(seconds) * 1e9}

    def memory(self, family: str, index: int) -> dict[str, Any]:
        """In a fresh process: seconds of the first step, and the most memory that three of them keep resident."""
        case = self._case(family, index)
        self.takes_first_format = True
        inputs = case.inputs(np.random.default_rng(0))
        self.build(replace(case, program=lambda torch: lambda: None, inputs=list), [])  # imports are no part of it
        before = _resident("VmRSS")
        step = self.build(case, inputs)
        if step is None:
            return {"ready": False}
        begin = time.perf_counter()
        step()
        first = time.perf_counter() - begin
        for _ in range(2):
            step()
        return {"ready": True, "first": first, "bytes": _resident("VmHWM") - before}

    def _block(self) -> float:
        step, clock = self.step, time.perf_counter
        gc.disable()
        if self.torch is not None:
            return self._device_block()
        begin = clock()
        for _ in itertools.repeat(None, self.count):
            step()
        seconds = clock() - begin
        gc.enable()
        return seconds

    def _device_block(self) -> float:
        """Seconds from an event before the block to one behind it."""
        step, events = self.step, [self.torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
        for _ in itertools.repeat(None, self.count):
            step()
        events[1].record()
        events[1].synchronize()
        gc.enable()
        return float(events[0].elapsed_time(events[1])) / 1e3

    def _dd2424(self, case: Case, inputs: Sequence[Array]) -> Step:
        import dd2424

        return self._program(case.program, dd2424, case, inputs)

    def _baseline(self, case: Case, inputs: Sequence[Array]) -> Step | None:
        import dd2424

        return self._program(case.baseline, dd2424, case, inputs) if case.baseline else None

    def _torch(self, case: Case, inputs: Sequence[Array]) -> Step | None:
        """PyTorch, operation by operation."""
        import torch

        torch.compile = lambda model: model  # in this process, as in dd2424
        if self.device != "cpu":
            torch.backends.cudnn.allow_tf32 = False  # float32 is to be compared with float32
        return None if case.baseline else self._program(case.program, torch, case, inputs)

    def _compile(self, case: Case, inputs: Sequence[Array]) -> Step | None:
        """PyTorch again, where the program's call of `torch.compile` compiles."""
        import torch

        return self._program(case.program, torch, case, inputs) if case.compiles else None

    def _program(self, program: Callable[..., Step], torch: Any, case: Case, inputs: Sequence[Array]) -> Step:
        torch.set_num_threads(self.threads)

        def build(layout: Any) -> Step:
            torch.manual_seed(0)
            return program(torch, *(t.to(self.device) for t in _tensors(torch, case, inputs, layout)))

        if self.device != "cpu":
            self.torch, cases.synchronize = torch, torch.cuda.synchronize
        if not case.has_formats:
            return build(None)
        if self.layout is None:
            layouts = (torch.channels_last, torch.contiguous_format)
            self.layout = (
                layouts[0]
                if self.takes_first_format
                else min(layouts, key=lambda layout: _seconds(synchronized(build(layout)), 3))
            )
        return build(self.layout)

    def _numpy(self, case: Case, inputs: Sequence[Array]) -> Step | None:
        return case.numpy(*inputs) if case.numpy else None

    def _jax(self, case: Case, inputs: Sequence[Array]) -> Step | None:
        """Compiled, on as many processors as there are threads: its pool takes all that it may run on."""
        if case.jax is None:
            return None
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: self.threads])
        import jax

        compute = case.jax
        arrays = [jax.device_put(jax.numpy.asarray(x, dtype=_jax_type(jax, case, x))) for x in inputs]
        compiled = jax.jit(lambda *x: compute(jax, *x))
        return lambda: jax.block_until_ready(compiled(*arrays))

    def _limit(self, case: Case, inputs: Sequence[Array]) -> Step | None:
        """What the machine can do: multiply-adds in registers, or a bare walk over arrays of the same size."""
        import dd2424
        from dd2424 import _core

        dd2424.set_num_threads(self.threads)
        if self.device != "cpu":
            return self._device_limit(case)
        if case.flops:
            rounds = 20_000
            per_step = _core.machine_multiply_adds(case.dtype, rounds)
            self.flops = per_step
            return (lambda: _core.machine_multiply_adds(case.dtype, rounds)) if per_step else None
        if not case.moved_bytes:
            return None
        x = [dd2424.ones(case.array_bytes // 4) for _ in range(max(case.reads, 1))]
        y = dd2424.ones(case.array_bytes // 4) if case.writes else None
        candidates = [False, True] if case.writes else [False]
        return min((_streaming(_core, x, y, around) for around in candidates), key=_seconds)

    def _device_limit(self, case: Case) -> Step | None:
        """What the chip can do: multiply-adds in registers, or a walk over as much memory as the case moves."""
        import dd2424
        from dd2424 import _core

        self.torch = dd2424
        dd2424.cuda.init()
        rounds = 1 if device_is_tiny() else 2000
        if case.flops:
            by_tensor_cores = case.dtype in ("bfloat16", "float16")
            self.flops = _core.cuda_multiply_adds(by_tensor_cores, rounds)
            return lambda: _core.cuda_multiply_adds(by_tensor_cores, rounds)
        if not case.moved_bytes:
            return None
        numbers = case.moved_bytes // (32 if case.writes else 16) * 4
        x = dd2424.ones(numbers, device=self.device)
        y = dd2424.ones(numbers, device=self.device) if case.writes else None
        return lambda: _core.cuda_walk_memory(x, y)


def synchronized(step: Step) -> Step:
    def run() -> None:
        step()
        cases.synchronize()

    return run


def device_is_tiny() -> bool:
    return os.environ.get("DD2424_BENCH_TINY") == "1"


def _resident(field: str) -> int:
    """Bytes of this process's memory: VmRSS as it is, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field))) * 1024


def _streaming(core: Any, x: list[Any], y: Any, around: bool) -> Step:
    return lambda: core.machine_stream(x, y, around)


def _seconds(step: Step, rounds: int = 20) -> float:
    """The median of so many runs, after a first one."""
    step()
    times: list[float] = []
    while len(times) < rounds and sum(times) < ENOUGH_SECONDS:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def _tensors(torch: Any, case: Case, inputs: Sequence[Array], layout: Any) -> list[Any]:
    made = [torch.from_numpy(x).clone() for x in inputs]  # in memory as its own allocator aligns it
    if layout is not None:
        made = [t.contiguous(memory_format=layout) if t.ndim == 4 else t for t in made]
    return [t.to(getattr(torch, case.dtype)) if t.is_floating_point() else t for t in made]


def _arrays(result: Any) -> list[Array]:
    if result is None:
        return []
    if isinstance(result, list | tuple):
        return [array for part in result for array in _arrays(part)]
    if hasattr(result, "detach"):
        result = result.detach()
        if result.device.type != "cpu" and result.numel() > MOST_COMPARED:
            result = result.reshape(-1)[:: result.numel() // MOST_COMPARED | 1]
        result = result.cpu()
        result = result.to(dtype=_wider(result)).numpy()
    return [np.asarray(result, np.float64)]


def _jax_type(jax: Any, case: Case, x: Array) -> Any:
    return getattr(jax.numpy, case.dtype) if x.dtype.kind == "f" else None


def _wider(tensor: Any) -> Any:
    module = sys.modules[type(tensor).__module__.partition(".")[0]]
    return module.float64 if tensor.is_floating_point() else tensor.dtype


def main() -> None:
    contender, threads, device = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes elsewhere
    sys.path.insert(0, str(Path(__file__).parent))
    worker = Worker(contender, threads, device)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({**answer, "flops": getattr(worker, "flops", 0)}), file=answers)


if __name__ == "__main__":
    main()
