"""Tensors that a module owns."""

from __future__ import annotations

from typing import Any

from dd2424._core import Tensor, empty, make_subclass

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter"]


class Parameter(Tensor):
    """A tensor that a module learns: assigned to an attribute of a module, it is found by `module.parameters()`.

    Shapes: those of `data`, whose memory it shares; an empty one where `data` is None.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        source = empty(0) if data is None else data
        return make_subclass(cls, source.detach(), requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        copy = type(self)(self.detach().clone(), self.requires_grad)
        memo[id(self)] = copy
        return copy

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.detach(), self.requires_grad)


class Buffer(Tensor):
    """A tensor that belongs to a module's state and is not learned, such as a running mean.

    `persistent` says whether it is part of the module's `state_dict`.
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        source = empty(0) if data is None else data
        buffer = make_subclass(cls, source.detach(), False)
        buffer.persistent = persistent
        return buffer


class UninitializedParameter(Parameter):
    """A parameter whose shape the first input of its module decides; until then it holds no elements."""

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> UninitializedParameter:
        source = empty(0) if data is None else data
        return make_subclass(cls, source.detach(), requires_grad)

    def materialize(self, shape: tuple[int, ...]) -> None:
        """Become an ordinary parameter of this shape, its elements not yet set."""
        self.data = self.data.new_empty(shape)
        self.__class__ = Parameter  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<UninitializedParameter>"


class UninitializedBuffer(Buffer):
    """A buffer whose shape the first input of its module decides; until then it holds no elements."""

    def materialize(self, shape: tuple[int, ...]) -> None:
        """Become an ordinary buffer of this shape, its elements not yet set."""
        self.data = self.data.new_empty(shape)
        self.__class__ = Buffer  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<UninitializedBuffer>"


def is_lazy(value: object) -> bool:
    """Whether this is a parameter or a buffer that has no shape yet."""
    return isinstance(value, UninitializedParameter | UninitializedBuffer)
