"""Functions of the user's that run around a module's forward and backward."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dd2424._core import Tensor
from dd2424.autograd.function import Function

if TYPE_CHECKING:
    from dd2424.nn.module import Module

_numbers = itertools.count()
Hook = Callable[..., Any]


class HookHandle:
    """Removes the hook it came with: by `remove()`, or at the end of a `with` block."""

    def __init__(self, hooks: dict[int, Hook], number: int) -> None:
        self._hooks, self.id = hooks, number

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def add_hook(hooks: dict[int, Hook], hook: Hook, prepend: bool = False) -> HookHandle:
    """Put `hook` last, or first, among `hooks`."""
    number = next(_numbers)
    before = dict(hooks) if prepend else {}
    if prepend:
        hooks.clear()
    hooks[number] = hook
    hooks.update(before)
    return HookHandle(hooks, number)


class ModuleHooks:
    """The hooks of one module; a module without any has none of this."""

    def __init__(self) -> None:
        self.forward_pre: dict[int, Hook] = {}  # hook(module, args), or with kwargs
        self.forward: dict[int, Hook] = {}  # hook(module, args, output), or with kwargs
        self.backward_pre: dict[int, Hook] = {}  # hook(module, grad_output)
        self.backward: dict[int, Hook] = {}  # hook(module, grad_input, grad_output)
        self.takes_kwargs: set[int] = set()
        self.always: set[int] = set()  # forward hooks that run although forward raised

    def call(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The module's forward with everything that is hooked to it."""
        ran: set[int] = set()
        try:
            args, kwargs = self._before(module, args, kwargs)
            boundary = _Boundary(module, self) if self.backward or self.backward_pre else None
            if boundary is not None:
                args = boundary.enter(args)
            output = module.forward(*args, **kwargs)
            for number, hook in tuple(self.forward.items()):
                ran.add(number)
                extra = (kwargs,) if number in self.takes_kwargs else ()
                changed = hook(module, args, *extra, output)
                output = output if changed is None else changed
            return output if boundary is None else boundary.leave(output)
        except Exception:
            for number in self.always - ran:
                extra = (kwargs,) if number in self.takes_kwargs else ()
                self.forward[number](module, args, *extra, None)
            raise

    def _before(
        self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for number, hook in tuple(self.forward_pre.items()):
            if number in self.takes_kwargs:
                changed = hook(module, args, kwargs)
                if changed is not None:
                    args, kwargs = changed
            else:
                changed = hook(module, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        return args, kwargs


class _Edge(Function):
    """Passes tensors through, and their gradients through a function."""

    @staticmethod
    def forward(ctx: Any, on_gradients: Hook, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.on_gradients = on_gradients
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        return None, *ctx.on_gradients(grads)


class _Boundary:
    """The gradients that leave a module (grad_input) and enter it (grad_output), seen by its backward hooks."""

    def __init__(self, module: Module, hooks: ModuleHooks) -> None:
        self.module, self.hooks = module, hooks
        self.inputs = 0  # how many arguments the module has
        self.places: list[int] = []  # which of them pass through `_Edge`
        self.grad_output: tuple[Tensor | None, ...] = ()

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.inputs = len(args)
        self.places = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        return self._pass(args, self.places, self._on_grad_input)

    def leave(self, output: Any) -> Any:
        outputs = output if isinstance(output, tuple) else (output,)
        places = [i for i, o in enumerate(outputs) if isinstance(o, Tensor) and o.requires_grad]
        passed = self._pass(outputs, places, self._on_grad_output)
        return passed if isinstance(output, tuple) else passed[0]

    def _pass(self, values: tuple[Any, ...], places: list[int], on_gradients: Hook) -> tuple[Any, ...]:
        if not places:
            return values
        passed = list(values)
        for place, tensor in zip(places, _Edge.apply(on_gradients, *[values[i] for i in places]), strict=True):
            passed[place] = tensor
        return tuple(passed)

    def _on_grad_output(self, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        for hook in tuple(self.hooks.backward_pre.values()):
            changed = hook(self.module, grads)
            if changed is not None:
                grads = changed if isinstance(changed, tuple) else (changed,)
        self.grad_output = grads
        if not self.places:  # no input wants a gradient, so nothing will come by there
            self._run((None,) * self.inputs)
        return grads

    def _on_grad_input(self, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        full: list[Tensor | None] = [None] * self.inputs
        for place, grad in zip(self.places, grads, strict=True):
            full[place] = grad
        changed = self._run(tuple(full))
        return tuple(changed[place] for place in self.places)

    def _run(self, grad_input: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        for hook in tuple(self.hooks.backward.values()):
            changed = hook(self.module, grad_input, self.grad_output)
            if changed is not None:
                grad_input = changed if isinstance(changed, tuple) else (changed,)
        return grad_input
