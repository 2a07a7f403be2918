"""The fully connected layer."""

from __future__ import annotations

from dd2424 import _core
from dd2424._core import Tensor

__all__ = ["linear"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> Tensor:
    """activation(x W^T + b), in one kernel: "none", "relu", "gelu", "gelu_tanh", "silu", "tanh" or "sigmoid".

    Backward, what the activation passes on and its sum over the rows, the bias's gradient, are one kernel too.
    Shapes: input (*, C); weight (O, C); bias (O,); output (*, O).
    Raises: RuntimeError where the sizes do not fit, ValueError for another activation.
    """
    return _core.linear(input, weight, bias, activation)
