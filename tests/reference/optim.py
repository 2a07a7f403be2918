"""Update rules in float64: from the first parameter p and the gradients of all steps to the last parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def _decayed(p: Array, g: Array, weight_decay: float, maximize: bool) -> Array:
    return (-g if maximize else g) + weight_decay * p


def sgd(
    p: Array,
    gradients: Sequence[Array],
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> Array:
    b: Array | None = None
    for gradient in gradients:
        g = _decayed(p, gradient, weight_decay, maximize)
        if momentum:
            b = g if b is None else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        p = p - lr * g
    return p


def adam(
    p: Array,
    gradients: Sequence[Array],
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> Array:
    m, v, largest = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    b1, b2 = betas
    for t, gradient in enumerate(gradients, 1):
        if decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        g = _decayed(p, gradient, 0 if decoupled_weight_decay else weight_decay, maximize)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        largest = np.maximum(largest, v)
        square = largest if amsgrad else v
        p = p - lr * (m / (1 - b1**t)) / (np.sqrt(square / (1 - b2**t)) + eps)
    return p


def adamw(p: Array, gradients: Sequence[Array], weight_decay: float = 1e-2, **options: Any) -> Array:
    return adam(p, gradients, weight_decay=weight_decay, decoupled_weight_decay=True, **options)


def nadam(
    p: Array,
    gradients: Sequence[Array],
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> Array:
    m, v, product = np.zeros_like(p), np.zeros_like(p), 1.0
    b1, b2 = betas
    for t, gradient in enumerate(gradients, 1):
        if decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        g = _decayed(p, gradient, 0 if decoupled_weight_decay else weight_decay, maximize)
        now, following = (b1 * (1 - 0.5 * 0.96 ** (step * momentum_decay)) for step in (t, t + 1))
        product *= now
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        direction = (1 - now) / (1 - product) * g + following / (1 - product * following) * m
        p = p - lr * direction / (np.sqrt(v / (1 - b2**t)) + eps)
    return p


def radam(
    p: Array,
    gradients: Sequence[Array],
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> Array:
    m, v = np.zeros_like(p), np.zeros_like(p)
    b1, b2 = betas
    limit = 2 / (1 - b2) - 1
    for t, gradient in enumerate(gradients, 1):
        if decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        g = _decayed(p, gradient, 0 if decoupled_weight_decay else weight_decay, maximize)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        length = limit - 2 * t * b2**t / (1 - b2**t)
        step = m / (1 - b1**t)
        if length > 5:
            r = np.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
            step = step * r * np.sqrt(1 - b2**t) / (np.sqrt(v) + eps)
        p = p - lr * step
    return p


def adamax(
    p: Array,
    gradients: Sequence[Array],
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Array:
    m, u = np.zeros_like(p), np.zeros_like(p)
    b1, b2 = betas
    for t, gradient in enumerate(gradients, 1):
        g = _decayed(p, gradient, weight_decay, maximize)
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g) + eps)
        p = p - lr / (1 - b1**t) * m / u
    return p


def rmsprop(
    p: Array,
    gradients: Sequence[Array],
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
) -> Array:
    v, mean, buffer = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for gradient in gradients:
        g = _decayed(p, gradient, weight_decay, maximize)
        v = alpha * v + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        buffer = momentum * buffer + g / (np.sqrt(v - mean**2 if centered else v) + eps)
        p = p - lr * buffer
    return p


def adagrad(
    p: Array,
    gradients: Sequence[Array],
    lr: float = 1e-2,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    maximize: bool = False,
) -> Array:
    total = np.full_like(p, initial_accumulator_value)
    for t, gradient in enumerate(gradients, 1):
        g = _decayed(p, gradient, weight_decay, maximize)
        total = total + g**2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(total) + eps)
    return p


def adadelta(
    p: Array,
    gradients: Sequence[Array],
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Array:
    v, u = np.zeros_like(p), np.zeros_like(p)
    for gradient in gradients:
        g = _decayed(p, gradient, weight_decay, maximize)
        v = rho * v + (1 - rho) * g**2
        step = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * step**2
        p = p - lr * step
    return p


def rprop(
    p: Array,
    gradients: Sequence[Array],
    lr: float = 1e-2,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50),
    maximize: bool = False,
) -> Array:
    before, size = np.zeros_like(p), np.full_like(p, lr)
    for gradient in gradients:
        g = -gradient if maximize else gradient
        agreement = np.sign(g * before)
        size = np.clip(size * np.select([agreement > 0, agreement < 0], [etas[1], etas[0]], 1.0), *step_sizes)
        g = np.where(agreement < 0, 0.0, g)
        p = p - np.sign(g) * size
        before = g
    return p


def asgd(
    p: Array,
    gradients: Sequence[Array],
    lr: float = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Array:
    for t, gradient in enumerate(gradients):
        eta = lr / (1 + lambd * lr * t) ** alpha
        g = _decayed(p, gradient, weight_decay, maximize)
        p = (1 - lambd * eta) * p - eta * g
    return p
