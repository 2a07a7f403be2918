"""Functions and modules whose two passes are captured graphs, for loops that can't be captured whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dd2424 import _core
from dd2424._core import CudaGraphPool, Tensor
from dd2424.autograd.function import Function, once_differentiable
from dd2424.cuda.graphs import CUDAGraph, graph
from dd2424.cuda.streams import Stream, current_stream, stream


class _Graphs:
    """A function of tensors on fixed memory: inputs are copied in, results are copied out."""

    def __init__(
        self, function: Callable[..., Any], parameters: list[Tensor], samples: tuple[Tensor, ...], allow_unused: bool
    ) -> None:
        if not all(isinstance(x, Tensor) and x.is_cuda for x in samples):
            raise TypeError("make_graphed_callables: sample_args must be tensors on a GPU")
        self.function, self.calls, self.allow_unused = function, 0, allow_unused
        self.inputs = [x.detach().clone().requires_grad_(x.requires_grad) for x in samples]
        self.leaves = [*self.inputs, *parameters]  # in the order of the arguments of _Replay
        self.wanted = [x for x in self.leaves if x.requires_grad]
        self.forward, self.backward = CUDAGraph(), CUDAGraph()
        self.outputs: list[Tensor] = []
        self.is_tuple = False
        self.grads: list[Tensor | None] = []
        self.grad_outputs: list[Tensor] = []

    def run(self) -> list[Tensor]:
        result = self.function(*self.inputs)
        self.is_tuple = isinstance(result, tuple | list)
        return list(result) if self.is_tuple else [result]

    def differentiate(self, outputs: list[Tensor], grads: list[Tensor]) -> list[Tensor | None]:
        reached = [y for y in outputs if y.requires_grad]
        return list(_core.grad(reached, self.wanted, grads, False, False, self.allow_unused, False))

    def warm_up(self, count: int) -> None:
        """What is made once, such as state of the allocator, is not to be captured."""
        side = Stream()
        side.wait_stream(current_stream())
        with stream(side):
            for _ in range(count):
                outputs = self.run()
                if self.wanted and any(y.requires_grad for y in outputs):
                    self.differentiate(outputs, [_core.ones_like(y) for y in outputs if y.requires_grad])
        current_stream().wait_stream(side)

    def capture(self, pool: CudaGraphPool | None) -> None:
        with graph(self.forward, pool=pool):
            self.outputs = self.run()
        self.grad_outputs = [_core.empty_like(y.detach()) for y in self.outputs if y.requires_grad]
        if self.wanted and self.grad_outputs:
            with graph(self.backward, pool=self.forward.pool()):
                found = iter(self.differentiate(self.outputs, self.grad_outputs))
            self.grads = [next(found) if x.requires_grad else None for x in self.leaves]

    def __call__(self, *inputs: Tensor) -> Any:
        if len(inputs) != len(self.inputs):
            raise TypeError(f"graphed callable: there must be {len(self.inputs)} tensors, got {len(inputs)}")
        for i, (x, static) in enumerate(zip(inputs, self.inputs, strict=True)):
            if x.shape != static.shape or x.dtype != static.dtype or x.requires_grad != static.requires_grad:
                raise RuntimeError(
                    f"graphed callable: input {i} must be like the sample, {static.dtype} {tuple(static.shape)}, "
                    f"requires_grad {static.requires_grad}; got {x.dtype} {tuple(x.shape)}, {x.requires_grad}"
                )
        results = _Replay.apply(self, *inputs, *self.leaves[len(inputs) :])
        results = results if isinstance(results, tuple) else (results,)
        return tuple(results) if self.is_tuple else results[0]


class _Replay(Function):
    """Tape node of a graphed callable. It holds one call's activations: backward comes before the next call."""

    @staticmethod
    def forward(ctx: Any, graphs: _Graphs, *leaves: Tensor) -> tuple[Tensor, ...]:
        for x, static in zip(leaves, graphs.inputs):
            static.data.copy_(x)
        graphs.forward.replay()
        graphs.calls += 1
        ctx.graphs, ctx.call = graphs, graphs.calls
        results = tuple(y.detach().clone() for y in graphs.outputs)
        ctx.mark_non_differentiable(*(y for y, z in zip(results, graphs.outputs) if not z.requires_grad))
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        graphs: _Graphs = ctx.graphs
        if ctx.call != graphs.calls:
            raise RuntimeError("graphed callable: backward must come before the next call, got one after it")
        given = [g for g, y in zip(grads, graphs.outputs) if y.requires_grad]
        for static, g in zip(graphs.grad_outputs, given):
            static.copy_(g)
        graphs.backward.replay()
        return None, *(None if g is None else g.detach().clone() for g in graphs.grads)


def make_graphed_callables(
    callables: Any,
    sample_args: Any,
    num_warmup_iters: int = 3,
    allow_unused_input: bool = False,
    pool: CudaGraphPool | None = None,
) -> Any:
    """A function of tensors, or a module, whose forward and backward passes are one launch each; or a tuple of them.

    `sample_args`: a tuple of tensors like those that will come: their shapes, dtypes and requires_grad are fixed.
    `allow_unused_input`: some may lead to no output. A module gets a new `forward` for the mode (train or eval) that it
    is in; its parameters must stay where they are.
    Raises: RuntimeError for inputs unlike the samples, or a backward pass after the next call; TypeError for samples
    that are no tensors on a GPU.
    """
    if isinstance(callables, tuple):
        return tuple(
            make_graphed_callables(each, samples, num_warmup_iters, allow_unused_input, pool)
            for each, samples in zip(callables, sample_args, strict=True)
        )
    samples: Sequence[Tensor] = (sample_args,) if isinstance(sample_args, Tensor) else sample_args
    parameters = list(callables.parameters()) if hasattr(callables, "parameters") else []
    graphs = _Graphs(callables, parameters, tuple(samples), allow_unused_input)
    graphs.warm_up(num_warmup_iters)
    graphs.capture(pool)
    if not parameters:
        return graphs
    training, plain = callables.training, callables.forward

    def forward(*inputs: Tensor) -> Any:
        return (graphs if callables.training == training else plain)(*inputs)

    graphs.function = plain
    callables.forward = forward
    return callables
