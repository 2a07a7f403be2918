"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from dd2424 import _core
from dd2424._core import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after another. Shape: (total,)."""
    return _core.cat([parameter.reshape((-1,)) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters the elements of `vec`, as `parameters_to_vector` lays them out; they share its memory.

    Raises: RuntimeError where the vector has not as many elements.
    """
    members = list(parameters)
    total = sum(parameter.numel() for parameter in members)
    if vec.ndim != 1 or vec.numel() != total:
        raise RuntimeError(f"vector_to_parameters: vec must be ({total},), got {tuple(vec.shape)}")
    place = 0
    for parameter in members:
        parameter.data = vec[place : place + parameter.numel()].view_as(parameter).data
        place += parameter.numel()
