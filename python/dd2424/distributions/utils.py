"""What distributions share: parameters of one shape, probabilities and their logarithms, values computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, overload

import dd2424
from dd2424 import Size, Tensor, broadcast_shapes, enable_grad

__all__ = ["broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits"]
T = TypeVar("T")


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors of one shape from numbers and tensors. Numbers take dtype and device of the first tensor, or the default.

    Raises: ValueError for what is neither.
    """
    for value in values:
        if not isinstance(value, Tensor | int | float):
            raise ValueError(f"broadcast_all: values must be numbers or tensors, got {type(value).__name__}")
    first = next((v for v in values if isinstance(v, Tensor)), None)
    kind = dd2424.get_default_dtype() if first is None else first.dtype
    place = None if first is None else first.device
    tensors = [v if isinstance(v, Tensor) else dd2424.tensor(v, dtype=kind, device=place) for v in values]
    shape = broadcast_shapes(*(tuple(t.shape) for t in tensors))
    return tuple(t.expand(shape) for t in tensors)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities one rounding inside of 0 and 1, so that logarithms are finite."""
    eps = dd2424.finfo(probs.dtype).eps
    return probs.clamp(eps, 1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """sigmoid(logits) where each element is a variable of two values; else softmax over the last dimension."""
    return dd2424.sigmoid(logits) if is_binary else dd2424.softmax(logits, -1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """log(p / (1 - p)) where each element is a variable of two values; else log p."""
    inside = clamp_probs(probs)
    return inside.log() - (-inside).log1p() if is_binary else inside.log()


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over the last `dims` dimensions."""
    return value.sum(tuple(range(-dims, 0))) if dims else value


def open_uniform(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uniform on (0, 1), of the dtype of `like`: without 0, whose logarithm is infinite."""
    return dd2424.rand(shape, dtype=like.dtype, device=like.device).clamp_(min=dd2424.finfo(like.dtype).tiny)


def standard_normal(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Normal with mean 0 and variance 1, of the dtype of `like`."""
    return dd2424.randn(shape, dtype=like.dtype, device=like.device)


class lazy_property(Generic[T]):
    """A property computed when first read and kept on the object; its gradient is recorded even under no_grad."""

    def __init__(self, wrapped: Callable[[Any], T]) -> None:
        self.wrapped, self.name, self.__doc__ = wrapped, wrapped.__name__, wrapped.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> lazy_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> lazy_property[T] | T:
        if instance is None:
            return self
        if self.name not in vars(instance):
            with enable_grad():
                vars(instance)[self.name] = self.wrapped(instance)
        found: T = vars(instance)[self.name]
        return found

    def __set__(self, instance: object, value: T) -> None:
        vars(instance)[self.name] = value


def size(*parts: Sequence[int]) -> Size:
    """A Size of all dimensions of the parts, one after the other."""
    return Size([n for part in parts for n in part])


def batch_size(*parameters: Any) -> Size:
    """The batch shape that the parameters, numbers or tensors, give to a distribution over numbers."""
    return size(broadcast_shapes(*(tuple(p.shape) for p in parameters if isinstance(p, Tensor))))


def exactly_one(owner: str, **options: Any) -> str:
    """The name of the one option that is not None. Raises: ValueError for none or several."""
    given = [name for name, value in options.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"{owner}: one of {', '.join(options)} must be given, got {' and '.join(given) or 'none'}")
    return given[0]
