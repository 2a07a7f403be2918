"""What every function of linear algebra does: check, call NumPy, name what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._host import beside, host_array


class LinAlgError(RuntimeError):
    """A matrix that an algorithm cannot take: singular, or not positive definite, or one it does not converge on."""


def check_matrices(name: str, A: Tensor, square: bool = False) -> None:
    """Raises: RuntimeError unless A is (*, n, m), or (*, n, n), of float32 or float64."""
    if A.ndim < 2 or (square and A.shape[-1] != A.shape[-2]):
        expected = "(*, n, n)" if square else "(*, m, n)"
        raise RuntimeError(f"{name}: A must have shape {expected}, got {tuple(A.shape)}")
    if A.dtype not in (_core.float32, _core.float64):
        raise RuntimeError(f"{name}: A must be float32 or float64, got {A.dtype}")


def call(name: str, function: Callable[..., Any], *tensors: Tensor, **options: Any) -> Any:
    """The tensors of what a function of arrays returns. Raises: LinAlgError where it cannot."""
    try:
        result = function(*[host_array(x) for x in tensors], **options)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{name}: A must be a matrix that can be factored, got one where: {error}") from error
    if isinstance(result, tuple):
        return tuple(to_tensor(part, tensors[0]) for part in result)
    return to_tensor(result, tensors[0])


def to_tensor(array: Any, like: Tensor) -> Tensor:
    """A tensor of NumPy's result, in the dtype of the input."""
    array = np.asarray(array)
    return beside(np.ascontiguousarray(array).reshape(array.shape), like).to(like.dtype)
