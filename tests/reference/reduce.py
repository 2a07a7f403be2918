"""Reductions in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def logsumexp(x: Any, axis: Any, keepdims: bool = False) -> Any:
    top = x.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    result = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return result if keepdims else np.squeeze(result, axis if axis is not None else tuple(range(x.ndim)))


# name: f(x, axis, keepdims), and the size of what is added, by which errors are measured
REDUCTIONS: dict[str, tuple[Callable[..., Any], Callable[[Any, Any], Any]]] = {
    "sum": (np.sum, lambda x, axis: np.abs(x).sum(axis=axis)),
    "mean": (np.mean, lambda x, axis: np.abs(x).mean(axis=axis)),
    "prod": (np.prod, lambda x, axis: 0.0),
    "amax": (np.max, lambda x, axis: 0.0),
    "amin": (np.min, lambda x, axis: 0.0),
    "logsumexp": (logsumexp, lambda x, axis: np.abs(x).max(axis=axis)),
    "nansum": (np.nansum, lambda x, axis: np.abs(x).sum(axis=axis)),
    "norm": (lambda x, axis, keepdims=False: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims)), lambda x, axis: 0.0),
}


def variance(x: Any, axis: Any, correction: float, keepdims: bool = False) -> Any:
    count = np.prod([x.shape[d] for d in np.atleast_1d(axis)]) if axis is not None else x.size
    squares = ((x - x.mean(axis=axis, keepdims=True)) ** 2).sum(axis=axis, keepdims=keepdims)
    return squares / np.float64(max(count - correction, 0))


def running(x: Any, axis: int, name: str) -> Any:
    return {"cumsum": np.cumsum, "cumprod": np.cumprod, "logcumsumexp": np.logaddexp.accumulate}[name](x, axis=axis)
