"""Activations that are computed again on the way back instead of being kept: time for memory."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Any

from dd2424 import _core, autograd
from dd2424._autocast import autocast
from dd2424._core import Tensor
from dd2424._grad_mode import enable_grad
from dd2424.functional.creation import empty
from dd2424.functional.random import get_rng_state, set_rng_state

__all__ = ["checkpoint", "checkpoint_sequential"]

DEVICES = ("cpu", "cuda")


class _Surroundings:
    """What a function's result depends on beside its arguments: the generator's state and the dtypes of autocast."""

    def __init__(self, keeps_rng: bool) -> None:
        self.rng = get_rng_state() if keeps_rng else None
        self.dtypes = {device: _core.autocast_dtype(device) for device in DEVICES}

    @contextlib.contextmanager
    def again(self) -> Any:
        now = get_rng_state()
        if self.rng is not None:
            set_rng_state(self.rng)
        try:
            with contextlib.ExitStack() as stack:
                for device, dtype in self.dtypes.items():
                    if dtype is not None:
                        stack.enter_context(autocast(device, dtype))
                stack.enter_context(enable_grad())
                yield
        finally:
            if self.rng is not None:
                set_rng_state(now)


class _Checkpoint(autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], keeps_rng: bool, recorded: Tensor, *args: Any) -> Any:
        ctx.function, ctx.surroundings = function, _Surroundings(keeps_rng)
        ctx.arguments = [None if isinstance(x, Tensor) else x for x in args]
        ctx.places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        inputs = [x.detach().requires_grad_(x.requires_grad) for x in ctx.saved_tensors]
        arguments = list(ctx.arguments)
        for place, x in zip(ctx.places, inputs, strict=True):
            arguments[place] = x
        with ctx.surroundings.again():
            results = ctx.function(*arguments)
        pairs = zip(results if isinstance(results, tuple) else (results,), gradients, strict=True)
        wanted = [(y, dy) for y, dy in pairs if isinstance(y, Tensor) and y.requires_grad and dy is not None]
        if wanted:
            autograd.backward([y for y, _ in wanted], [dy for _, dy in wanted])
        found: list[Tensor | None] = [None] * len(arguments)
        for place, x in zip(ctx.places, inputs, strict=True):
            found[place] = x.grad
        return None, None, None, *found


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), of which only the arguments are kept: the walk back calls it a second time.

    The second call draws the same random numbers (`preserve_rng_state`) and computes in the same dtypes (`autocast`):
    gradients are bitwise those without it. They go to arguments that are tensors and, by `backward` but not by
    `autograd.grad`, to every parameter inside. Running statistics of batch norm are updated twice, as in PyTorch.
    `use_reentrant` is taken for the sake of PyTorch's signature: there is nothing to choose.

    Source: Chen et al., "Training deep nets with sublinear memory cost", arXiv:1604.06174.
    """
    called = functools.partial(function, **kwargs) if kwargs else function
    if not _core.is_grad_enabled():
        return called(*args)
    # An argument that is recorded, for parameters inside want gradients even where no other argument does.
    return _Checkpoint.apply(called, preserve_rng_state, empty(0, requires_grad=True), *args)


def checkpoint_sequential(
    functions: Iterable[Callable[..., Any]], segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """The functions one after another in so many `segments`, each but the last under `checkpoint`.

    Raises: ValueError where there are fewer functions than segments, or no segment.
    """
    chain = list(functions)
    if not 1 <= segments <= len(chain):
        raise ValueError(f"checkpoint_sequential: segments must be from 1 to {len(chain)}, got {segments}")
    length = len(chain) // segments

    def run(begin: int, end: int) -> Callable[[Any], Any]:
        return lambda x: functools.reduce(lambda value, function: function(value), chain[begin:end], x)

    for segment in range(segments - 1):
        input = checkpoint(run(segment * length, (segment + 1) * length), input, **kwargs)
    return run((segments - 1) * length, len(chain))(input)
