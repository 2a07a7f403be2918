"""Operations of one's own, with a gradient written in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dd2424 import _core
from dd2424._core import FunctionContext, Tensor
from dd2424._grad_mode import no_grad

__all__ = ["Context", "Function", "once_differentiable"]

Context = FunctionContext
T = TypeVar("T")


class Function:
    """An operation whose `forward` and `backward` are static methods of a subclass; `Subclass.apply(...)` runs it.

        class Square(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, dy):
                (x,) = ctx.saved_tensors
                return 2 * x * dy

    `forward` is not recorded; `backward` is where a second derivative is asked for, so it is written with operations.
    It returns one gradient (or None) for each argument of `forward`. ctx has save_for_backward, saved_tensors,
    needs_input_grad, mark_dirty, mark_non_differentiable, set_materialize_grads, and takes any attribute.
    A subclass may have `setup_context(ctx, inputs, output)` beside a `forward` without ctx.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """What the operation computes: forward(ctx, *args)."""
        raise NotImplementedError("autograd.Function: a subclass must define forward")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments from those of the outputs."""
        raise NotImplementedError("autograd.Function: a subclass must define backward to be differentiated")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what backward needs; for a `forward` that takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run the operation and record it."""
        if cls.setup_context is not Function.setup_context:
            return _core.apply_function(_with_context(cls), *args)
        return _core.apply_function(cls, *args)


def _with_context(cls: type[Function]) -> type[Function]:
    """The same operation with a `forward` that takes ctx."""
    found = cls.__dict__.get("_with_context")
    if found is None:

        def forward(ctx: Any, *args: Any) -> Any:
            output = cls.forward(*args)
            cls.setup_context(ctx, args, output)
            return output

        found = type(cls.__name__, (cls,), {"forward": staticmethod(forward), "_with_context": None})
        cls._with_context = found  # type: ignore[attr-defined]
    return found


def once_differentiable(backward: Callable[..., T]) -> Callable[..., T]:
    """For a `backward` that is not written with operations: a second derivative through it is an error."""

    class Refusal(Function):
        @staticmethod
        def forward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
            return tuple(grad.clone() for grad in grads)

        @staticmethod
        def backward(ctx: Any, *_: Any) -> Any:
            raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")

    def once(ctx: Any, *grad_outputs: Any) -> Any:
        with no_grad():
            result = backward(ctx, *grad_outputs)
        if not _core.is_grad_enabled() or not any(isinstance(g, Tensor) and g.requires_grad for g in grad_outputs):
            return result
        results = result if isinstance(result, tuple) else (result,)
        places = [i for i, r in enumerate(results) if isinstance(r, Tensor)]
        guarded: list[Any] = list(results)
        tensors = [guarded[i].detach().requires_grad_() for i in places]
        for place, tensor in zip(places, Refusal.apply(*tensors), strict=True):
            guarded[place] = tensor
        return tuple(guarded)

    return once
