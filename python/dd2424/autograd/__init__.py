"""Gradients: of what, with respect to what, and whether they are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from dd2424._lazy import lazy_getattr
from dd2424.autograd.function import Function, once_differentiable
from dd2424.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck

if TYPE_CHECKING:
    from dd2424.autograd import functional as functional

__all__ = [
    "Function",
    "GradcheckError",
    "Variable",
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]

Tensors = Tensor | Sequence[Tensor]


def backward(
    tensors: Tensors,
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of every leaf they were made from, or of `inputs` alone.

    `grad_tensors` are the gradients of something further on with respect to `tensors`; 1 for scalars by default.
    Raises: RuntimeError for a tensor without a graph, or without a gradient of its own that is no scalar.
    """
    _core.backward(tensors, grad_tensors, retain_graph, create_graph, inputs)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of the sum of `outputs` with respect to `inputs`; no `.grad` is touched.

    With `create_graph` they can be differentiated again. An input that was not used gives None with `allow_unused`,
    zeros with `materialize_grads`. Raises: RuntimeError for an unused input otherwise.
    """
    if is_grads_batched:
        raise NotImplementedError("grad: is_grads_batched must be False, got True")
    return _core.grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)


def Variable(data: Tensor, requires_grad: bool = False, volatile: Any = None) -> Tensor:
    """PyTorch's old name for a tensor with a gradient."""
    return data.detach().requires_grad_(requires_grad)


__getattr__ = lazy_getattr("dd2424.autograd", ("functional",))
