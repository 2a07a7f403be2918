"""Graphs: a step's work is written down once and then done again by one call, so that small kernels do not wait for
the host."""

from __future__ import annotations

import gc
from types import TracebackType
from typing import ClassVar

from dd2424 import _core
from dd2424._core import CudaGraph, CudaGraphPool
from dd2424.cuda.devices import check_device, synchronize
from dd2424.cuda.streams import Stream, StreamContext


class CUDAGraph:
    """A captured graph. It works on the memory that its tensors had while it was captured: new inputs are copied into
    the same tensors, results read from the same ones. A replay draws the random numbers that the same calls would draw
    then.

    Raises: RuntimeError where there is no GPU.
    """

    def __init__(self, keep_graph: bool = False) -> None:
        check_device("CUDAGraph")
        self._graph = CudaGraph()

    def capture_begin(self, pool: CudaGraphPool | None = None, capture_error_mode: str = "global") -> None:
        """Write down, and do not do, what comes next on the current stream; `graph` does it all. `pool`: of another
        graph, to share its memory."""
        self._graph.capture_begin(pool)

    def capture_end(self) -> None:
        """Make what was written down ready to be replayed."""
        self._graph.capture_end()

    def replay(self) -> None:
        """Do what was captured, on the current stream."""
        self._graph.replay()

    def reset(self) -> None:
        """Forget what was captured, and let go of its memory."""
        self._graph.reset()

    def pool(self) -> CudaGraphPool:
        """The memory it works in, for other graphs that never run at the same time."""
        return self._graph.pool()


def graph_pool_handle() -> CudaGraphPool:
    """Memory for graphs that share it. Raises: RuntimeError where there is no GPU."""
    check_device("graph_pool_handle")
    return CudaGraphPool()


class graph:
    """In a `with` block: what this thread asks of the GPU is captured in a graph.

        static_x, static_y = dd2424.empty(64, 10, device="cuda"), ...
        for _ in range(3):                       # lets memory and optimizer state be made
            step(static_x, static_y)
        g = dd2424.cuda.CUDAGraph()
        optimizer.zero_grad(set_to_none=True)    # gradients must be the graph's
        with dd2424.cuda.graph(g):
            loss = step(static_x, static_y)
        for x, y in loader:
            static_x.copy_(x), static_y.copy_(y)
            g.replay()

    Nothing inside may look at values: no `item()`, no printing, no copy to the host or from it.
    Raises: RuntimeError for what a graph can't hold; nothing is captured then.
    """

    default_capture_stream: ClassVar[Stream | None] = None

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: CudaGraphPool | None = None,
        stream: Stream | None = None,
        capture_error_mode: str = "global",
    ) -> None:
        if stream is None and graph.default_capture_stream is None:
            graph.default_capture_stream = Stream()
        self.capture_stream = stream or graph.default_capture_stream
        self.cuda_graph, self._pool = cuda_graph, pool
        self._context = StreamContext(self.capture_stream)

    def __enter__(self) -> None:
        synchronize()
        gc.collect()
        _core.cuda_empty_cache()  # not what operations keep: the graph reads it
        self._context.__enter__()
        try:
            self.cuda_graph.capture_begin(self._pool)
        except RuntimeError:
            self._context.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.cuda_graph.capture_end()
            else:
                self.cuda_graph._graph.cancel()
        finally:
            self._context.__exit__(kind, error, traceback)
