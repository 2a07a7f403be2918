"""The base class of every network and layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dd2424._core import Tensor, dtype
from dd2424._device import device
from dd2424._formats import channels_last_3d, memory_format
from dd2424._grad_mode import no_grad
from dd2424.nn.module_hooks import Hook, HookHandle, ModuleHooks, add_hook
from dd2424.nn.module_members import BUFFER, PARAMETER, TRANSIENT
from dd2424.nn.module_state import Stateful
from dd2424.nn.parameter import is_lazy

__all__ = ["Module"]

M = TypeVar("M", bound="Module")


class Module(Stateful):
    """A function with parameters. Subclasses set members in `__init__` and override `forward`; calling the module
    runs `forward` and the hooks.

    Members (parameters, buffers, submodules) are plain attributes: reading `self.weight` costs one look-up.
    """

    training: bool
    _hooks: ModuleHooks | None = None

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["training"] = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass has its own."""
        raise NotImplementedError(f"{type(self).__name__}: a module must define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks is not None:
            return self._hooks.call(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def _own_hooks(self) -> ModuleHooks:
        if self._hooks is None:
            self._hooks = ModuleHooks()
        return self._hooks

    def register_forward_pre_hook(self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False) -> HookHandle:
        """Call hook(module, args) before each forward; what it returns replaces the arguments.

        With `with_kwargs` it is hook(module, args, kwargs) and returns both.
        """
        hooks = self._own_hooks()
        handle = add_hook(hooks.forward_pre, hook, prepend)
        if with_kwargs:
            hooks.takes_kwargs.add(handle.id)
        return handle

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> HookHandle:
        """Call hook(module, args, output) after each forward; what it returns replaces the output.

        With `with_kwargs` it is hook(module, args, kwargs, output); with `always_call` it runs (with output None)
        also when forward raised.
        """
        hooks = self._own_hooks()
        handle = add_hook(hooks.forward, hook, prepend)
        if with_kwargs:
            hooks.takes_kwargs.add(handle.id)
        if always_call:
            hooks.always.add(handle.id)
        return handle

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call hook(module, grad_output) when the output's gradient is known; what it returns replaces it."""
        return add_hook(self._own_hooks().backward_pre, hook, prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call hook(module, grad_input, grad_output) when the gradients of the module's tensor arguments are known;
        what it returns replaces grad_input."""
        return add_hook(self._own_hooks().backward, hook, prepend)

    register_backward_hook = register_full_backward_hook

    def train(self: M, mode: bool = True) -> M:
        """Set training (or evaluation) mode here and in every submodule: dropout and normalisation ask for it."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode must be a bool, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Set evaluation mode."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Set whether the parameters are learned; False freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the parameters' gradients, or set them to zero in place."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                parameter.grad = parameter.grad.detach().zero_()

    def _apply(self: M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> M:
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for _, parameter in self._members(PARAMETER):
                if parameter is None:
                    continue
                grad = parameter.grad
                parameter.grad = None
                parameter.data = fn(parameter.data)
                if grad is not None:
                    parameter.grad = fn(grad)
            for name, buffer in self._members(BUFFER, TRANSIENT):
                if buffer is not None:
                    self.__dict__[name] = fn(buffer)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Move and convert in place: to(device), to(dtype), to(device, dtype), to(tensor), to(memory_format=...).

        Only floating-point tensors change their dtype, and only those of images and filters (4 or 5 dimensions) their
        memory format. Raises: TypeError for a dtype that is not floating-point.
        """
        target: device | str | int | None = kwargs.pop("device", None)
        to_dtype: dtype | None = kwargs.pop("dtype", None)
        kwargs.pop("non_blocking", None)
        layout: memory_format | None = kwargs.pop("memory_format", None)
        if kwargs:
            raise TypeError(f"to: unexpected keyword argument '{next(iter(kwargs))}'")
        for argument in args:
            if isinstance(argument, dtype):
                to_dtype = argument
            elif isinstance(argument, Tensor):
                target, to_dtype = argument.device, argument.dtype
            elif argument is not None and not isinstance(argument, bool):
                target = argument
        if to_dtype is not None and not to_dtype.is_floating_point:
            raise TypeError(f"to: dtype must be floating-point, got {to_dtype}")

        def convert(tensor: Tensor) -> Tensor:
            changes: dict[str, Any] = {} if target is None else {"device": target}
            if to_dtype is not None and tensor.is_floating_point():
                changes["dtype"] = to_dtype
            tensor = tensor.to(**changes) if changes else tensor
            fits = layout is not None and tensor.ndim == (5 if layout is channels_last_3d else 4)
            return tensor.contiguous(memory_format=layout) if fits else tensor

        return self._apply(convert)

    def type(self: M, dst_type: dtype) -> M:
        """Convert every parameter and buffer to this dtype."""
        return self._apply(lambda tensor: tensor.to(dst_type))

    def float(self: M) -> M:
        """Convert floating-point members to float32."""
        return self._apply(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)

    def double(self: M) -> M:
        """Convert floating-point members to float64."""
        return self._apply(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)

    def bfloat16(self: M) -> M:
        """Convert floating-point members to bfloat16."""
        return self._apply(lambda tensor: tensor.bfloat16() if tensor.is_floating_point() else tensor)

    def half(self: M) -> M:
        """Convert floating-point members to float16, in which a GPU computes and the CPU does not."""
        return self._apply(lambda tensor: tensor.half() if tensor.is_floating_point() else tensor)

    def cpu(self: M) -> M:
        """Move to the processor's memory."""
        return self.to("cpu")

    def cuda(self: M, device: int | str | None = None) -> M:
        """Move to a GPU. Raises: what asking for a GPU raises where there is none."""
        return self.to("cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device)

    def share_memory(self: M) -> M:
        """Does nothing: processes that are forked share what they do not write."""
        return self

    def compile(self, *_: Any, **__: Any) -> None:
        """Does nothing yet: operations are fused kernels already."""

    def extra_repr(self) -> str:
        """What `repr` writes between the parentheses; for subclasses."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = [line for line in self.extra_repr().split("\n") if line]
        children = [f"({name}): " + _indented(repr(child)) for name, child in self._modules.items()]
        lines = extra + children
        if not children and len(extra) <= 1:
            return f"{self._get_name()}({''.join(extra)})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer waits for the first input to know its shape."""
        return any(is_lazy(member) for member in (*self.parameters(), *self.buffers()))


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
