"""Gradients held within bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import no_grad
from dd2424.linalg import vector_norm


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    members = [parameters] if isinstance(parameters, Tensor) else parameters
    return [parameter.grad for parameter in members if parameter.grad is not None]


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors as if they were one vector. Shape: (). Raises: RuntimeError where it is asked for and the
    norm is not finite."""
    members = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not members:
        return _core.zeros(())
    norms = _core.stack([vector_norm(tensor, norm_type) for tensor in members])
    total = vector_norm(norms, norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(f"clip_grad_norm_: the total norm must be finite, got {total.item()}")
    return total


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients in place so that their common norm is at most max_norm; the norm before is returned.

    Shapes: any; the norm (). Raises: RuntimeError where it is asked for and the norm is not finite.
    Source: Pascanu et al., "On the difficulty of training recurrent neural networks", arXiv:1211.5063, algorithm 1.
    """
    grads = _gradients(parameters)
    if not grads:
        return _core.zeros(())
    in_one_kernel = norm_type == 2 and not error_if_nonfinite and len({grad.dtype for grad in grads}) == 1
    if in_one_kernel and grads[0].dtype in (_core.float32, _core.float64):
        return _core.clip_grad_norm(grads, max_norm)
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    _scale("clip_grad_norm_", grads, max_norm, total)
    return total


def _scale(op: str, grads: list[Tensor], max_norm: float, total: Tensor) -> None:
    _core.check_scalable(op, grads)
    factor = _core.clamp(max_norm / (total + 1e-6), None, 1.0)
    for grad in grads:
        grad.mul_(factor.to(grad.dtype))


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients in place by max_norm / total_norm where that is below 1."""
    if total_norm.numel() != 1:
        raise RuntimeError(f"clip_grads_with_norm_: total_norm must be one number, got shape {tuple(total_norm.shape)}")
    _scale("clip_grads_with_norm_", _gradients(parameters), max_norm, total_norm)


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every element of the gradients to [-clip_value, clip_value], in place."""
    grads = _gradients(parameters)
    _core.check_scalable("clip_grad_value_", grads)
    for grad in grads:
        grad.clamp_(-clip_value, clip_value)
