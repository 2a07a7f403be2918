"""Gates, and activations behind a product, in float64, with their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reference import elementwise

sigmoid, erfc = elementwise.sigmoid, elementwise.erfc
_TANH = np.sqrt(2 / np.pi)


def gelu_slope(x: Any) -> Any:
    return 0.5 * erfc(-x / np.sqrt(2)) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def gelu_tanh_slope(x: Any) -> Any:
    t = np.tanh(_TANH * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _TANH * (1 + 3 * 0.044715 * x * x)


def silu_slope(x: Any) -> Any:
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


# name -> the function and its derivative
ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "relu": (elementwise.UNARY["relu"], lambda x: (x > 0) * 1.0),
    "gelu": (elementwise.ACTIVATIONS["gelu"], gelu_slope),
    "gelu_tanh": (elementwise.gelu_tanh, gelu_tanh_slope),
    "silu": (elementwise.ACTIVATIONS["silu"], silu_slope),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
}


def gated(activation: str, a: Any, b: Any) -> Any:
    return ACTIVATIONS[activation][0](a) * b


def gated_gradients(activation: str, a: Any, b: Any, dy: Any) -> tuple[Any, Any]:
    """da, db."""
    function, slope = ACTIVATIONS[activation]
    return dy * b * slope(a), dy * function(a)
