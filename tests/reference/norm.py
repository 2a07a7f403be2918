"""Normalisations in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def _column(v: Array | None, ndim: int, default: float) -> Array | float:
    return default if v is None else v.reshape((1, -1) + (1,) * (ndim - 2))


def centred(x: Array, axes: tuple[int, ...]) -> Array:
    """x less the mean: less its first value first, which is exact where values are close."""
    x = x.astype(np.float64)
    x = x - x[tuple(slice(0, 1) if d in [a % x.ndim for a in axes] else slice(None) for d in range(x.ndim))]
    return x - x.mean(axes, keepdims=True)


def standardised(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    x = centred(x, axes) if x.size else x
    return x / np.sqrt((x**2).mean(axes, keepdims=True) + eps)


def batch_norm(x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5) -> Array:
    y = standardised(x, (0, *range(2, x.ndim)), eps)
    return y * _column(weight, x.ndim, 1.0) + _column(bias, x.ndim, 0.0)


def batch_norm_gradients(x: Array, dy: Array, weight: Array | None = None, eps: float = 1e-5) -> tuple[Array, ...]:
    """dx, dweight, dbias."""
    axes = (0, *range(2, x.ndim))
    normal, rstd = standardised(x, axes, eps), 1 / np.sqrt((centred(x, axes) ** 2).mean(axes, keepdims=True) + eps)
    g = dy * _column(weight, x.ndim, 1.0)
    dx = rstd * (g - g.mean(axes, keepdims=True) - normal * (g * normal).mean(axes, keepdims=True))
    return dx, (dy * normal).sum(axes), dy.sum(axes)


def batch_norm_with(
    x: Array, mean: Array, var: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Array:
    """By statistics that are given."""
    normal = (x - _column(mean, x.ndim, 0.0)) / np.sqrt(_column(var, x.ndim, 1.0) + eps)
    return normal * _column(weight, x.ndim, 1.0) + _column(bias, x.ndim, 0.0)


def running(before: Array, value: Array, momentum: float) -> Array:
    return (1 - momentum) * before + momentum * value


def layer_norm(x: Array, dims: int, weight: Array | float = 1.0, bias: Array | float = 0.0, eps: float = 1e-5) -> Array:
    return standardised(x, tuple(range(-dims, 0)), eps) * weight + bias


def layer_norm_gradients(x: Array, dy: Array, weight: Array, eps: float = 1e-5) -> tuple[Array, ...]:
    """dx, dweight, dbias; over the last dimension of (N, D)."""
    dx, *_ = batch_norm_gradients(x.T, (dy.astype(np.float64) * weight).T, None, eps)
    return dx.T, (dy * standardised(x, (1,), eps)).sum(0), dy.astype(np.float64).sum(0)


def rms_norm_gradients(x: Array, dy: Array, weight: Array, eps: float = 1e-5) -> tuple[Array, Array]:
    """dx, dweight; over the last dimension of (N, D)."""
    rstd = 1 / np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + eps)
    g, normal = dy.astype(np.float64) * weight, x * rstd
    return rstd * (g - normal * (g * normal).mean(1, keepdims=True)), (dy * normal).sum(0)


def rms_norm(x: Array, dims: int, weight: Array | float = 1.0, eps: float = 1e-5) -> Array:
    x = x.astype(np.float64)
    return x / np.sqrt((x**2).mean(tuple(range(-dims, 0)), keepdims=True) + eps) * weight


def group_norm(
    x: Array, groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Array:
    y = standardised(x.reshape((x.shape[0], groups, -1)), (2,), eps).reshape(x.shape)
    return y * _column(weight, x.ndim, 1.0) + _column(bias, x.ndim, 0.0)


def instance_norm(x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5) -> Array:
    return group_norm(x, x.shape[1], weight, bias, eps)


def _squares(x: Array, size: int) -> Array:
    """For each channel, the sum of squares over its window."""
    squares = np.asarray(x, np.float64) ** 2
    channels = range(x.shape[1])
    return np.stack([squares[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1].sum(1) for c in channels], 1)


def local_response_norm(x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    y: Array = x / (k + alpha * _squares(x, size) / size) ** beta
    return y


def local_response_norm_gradient(x: Array, dy: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """The gradient of sum(y * dy) by x: each channel counts in the windows that it is in."""
    x, dy = np.asarray(x, np.float64), np.asarray(dy, np.float64)
    s = k + alpha * _squares(x, size) / size
    dx, terms = dy / s**beta, dy * x / s ** (beta + 1)
    for c in range(x.shape[1]):
        over = terms[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1].sum(1)
        dx[:, c] -= 2 * alpha * beta / size * x[:, c] * over
    return dx
