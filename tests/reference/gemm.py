"""Products of matrices in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def product(a: Array, b: Array) -> Array:
    """c_ij = sum_k a_ik b_kj, batches broadcast."""
    return np.matmul(a.astype(np.float64), b.astype(np.float64))


def scale(a: Array, b: Array) -> Array:
    """sum_k |a_ik| |b_kj|: what a sum's rounding errors are measured by."""
    return np.matmul(np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64)))


def gelu(x: Array) -> Array:
    """x Phi(x), Phi the normal distribution."""
    from math import erf, sqrt

    return x * np.vectorize(lambda v: 0.5 * (1 + erf(v / sqrt(2))))(x)


EPILOGUES = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "gelu": gelu,
}


def linear(x: Array, weight: Array, bias: Array | None, activation: str) -> Array:
    """activation(x W^T + b)."""
    y = product(x, weight.T)
    return EPILOGUES[activation](y if bias is None else y + bias.astype(np.float64))


def einsum(equation: str, *operands: Array) -> Array:
    """NumPy's, in float64."""
    return np.asarray(np.einsum(equation, *[x.astype(np.float64) for x in operands]))


def cdist(x1: Array, x2: Array, p: float) -> Array:
    """(sum_d |x1_id - x2_jd|^p)^(1 / p)."""
    return np.asarray(np.linalg.norm(x1[..., :, None, :] - x2[..., None, :, :], p, axis=-1))
