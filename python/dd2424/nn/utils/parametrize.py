"""Parameters that are functions of others: what is learned is the function's argument."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dd2424._core import Tensor
from dd2424._grad_mode import no_grad
from dd2424.nn.container import ModuleDict, ModuleList
from dd2424.nn.module import Module
from dd2424.nn.parameter import Parameter

_cache: dict[tuple[int, str], Tensor] | None = None


class ParametrizationList(ModuleList):
    """The functions behind one tensor, applied one after the other, and what they are applied to: `original`, or
    `original0`, `original1` ... where the first function takes several tensors."""

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        value: Any = original.detach()
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    value = module.right_inverse(value)
        self.is_tensor = isinstance(value, Tensor)
        if self.is_tensor:
            value = [value]
        for name, tensor in zip(self._names(len(value)), value, strict=True):
            if isinstance(original, Parameter):
                setattr(self, name, Parameter(tensor, original.requires_grad))
            else:
                self.register_buffer(name, tensor)
        self.count = len(value)

    def _names(self, count: int) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{number}" for number in range(count)]

    def _originals(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._names(self.count)]

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the result is `value`. Raises: RuntimeError where a function has no inverse."""
        given: Any = value
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrize: {type(module).__name__} must have a right_inverse to be assigned to"
                    )
                given = module.right_inverse(given)
            for own, tensor in zip(self._originals(), [given] if self.is_tensor else given, strict=True):
                own.copy_(tensor)

    def forward(self) -> Tensor:
        first, *others = list(self)
        value: Tensor = first(*self._originals())
        for module in others:
            value = module(value)
        return value


@contextmanager
def cached() -> Iterator[None]:
    """Within it, every parametrized tensor is computed once."""
    global _cache
    before, _cache = _cache, {} if _cache is None else _cache
    try:
        yield
    finally:
        _cache = before


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module has a parametrized tensor, or one of this name."""
    lists = module.__dict__.get("parametrizations")
    if not isinstance(lists, ModuleDict):
        return False
    return len(lists) > 0 if tensor_name is None else tensor_name in lists


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make the parameter or buffer a function of what is learned in its place; returns the module.

    The learned tensor is `parametrization.right_inverse(value)` where there is such a method, else the value so far.
    A second function is applied to the first one's result. Shapes: the tensor's are kept, unless `unsafe`.
    Raises: ValueError for a name the module has not, or a function that changes shape or dtype.
    """
    if is_parametrized(module, tensor_name):
        _append(module.parametrizations[tensor_name], parametrization)
        return module
    own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    if tensor_name not in own:
        raise ValueError(f"register_parametrization: tensor_name must be a parameter or buffer of "
                         f"{type(module).__name__}, got '{tensor_name}'")  # fmt: skip
    original = own[tensor_name]
    functions = ParametrizationList([parametrization], original, unsafe)
    _check(functions, original, tensor_name)
    if not is_parametrized(module):
        plain = type(module)
        module.__class__ = type(f"Parametrized{plain.__name__}", (_Parametrized, plain), {"_plain": plain})
        module.parametrizations = ModuleDict()
    delattr(module, tensor_name)
    module.parametrizations[tensor_name] = functions
    return module


def _check(functions: ParametrizationList, original: Tensor, name: str) -> None:
    if functions.unsafe:
        return
    value = functions()
    if value.shape != original.shape or value.dtype != original.dtype:
        kept, got = f"{original.dtype} {tuple(original.shape)}", f"{value.dtype} {tuple(value.shape)}"
        raise ValueError(f"register_parametrization: the function must keep {name}'s dtype and shape {kept}, got {got}")


def _append(functions: ParametrizationList, parametrization: Module) -> None:
    before = functions().detach()
    functions.append(parametrization)
    _check(functions, before, "the tensor")
    if hasattr(parametrization, "right_inverse"):
        functions.right_inverse(before)


class _Parametrized:
    """Mixed into the class of a module that has parametrized tensors: they are computed where they are asked for."""

    _plain: type[Module]

    def __getattr__(self, name: str) -> Any:  # only where nothing was found
        functions = self.__dict__.get("parametrizations")
        if functions is None or name not in functions:
            return super().__getattr__(name)  # type: ignore[misc]
        if _cache is None:
            return functions[name]()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = functions[name]()
        return _cache[key]

    def __setattr__(self, name: str, value: Any) -> None:
        functions = self.__dict__.get("parametrizations")
        if functions is not None and name in functions:
            functions[name].right_inverse(value)
        else:
            super().__setattr__(name, value)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make it an ordinary tensor again: with its present value, or with `leave_parametrized=False` the original one.

    Raises: ValueError for what is not parametrized, or an original of several tensors that would be left.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"remove_parametrizations: tensor_name must be parametrized, got '{tensor_name}'")
    functions: ParametrizationList = module.parametrizations[tensor_name]
    originals = functions._originals()
    if not leave_parametrized and not functions.is_tensor:
        raise ValueError("remove_parametrizations: leave_parametrized must be True where there are several originals")
    learned = isinstance(originals[0], Parameter)
    value = functions().detach() if leave_parametrized else originals[0].detach()
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
        module.__class__ = module._plain
    if learned:
        module.register_parameter(tensor_name, Parameter(value, originals[0].requires_grad))
    else:
        module.register_buffer(tensor_name, value)
    return module
