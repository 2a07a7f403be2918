"""Attention in float64, with the whole matrix of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def visible(queries: int, keys: int, causal: bool = False, window: int | None = None, offset: int = 0) -> Array:
    """(queries, keys): which keys a query sees by its place."""
    distance = np.arange(queries)[:, None] + offset - np.arange(keys)
    return (not causal or distance >= 0) & (window is None or np.abs(distance) < window) & np.ones_like(distance, bool)


def weights(q: Array, k: Array, seen: Array, added: Array | float = 0.0, scale: float | None = None) -> Array:
    """softmax over the keys that are seen; 0 for a query that sees none."""
    scale = max(q.shape[-1], 1) ** -0.5 if scale is None else scale
    scores = np.where(seen, scale * np.einsum("...id,...jd->...ij", q, k, dtype=np.float64) + added, -np.inf)
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    p = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    total = p.sum(-1, keepdims=True)
    return np.divide(p, total, out=np.zeros_like(p), where=total > 0)


def attention(p: Array, v: Array, keep: Array | float = 1.0) -> Array:
    """The weights' mean of the values; `keep` is what dropout multiplies the weights with."""
    return (p * keep) @ v.astype(np.float64)


def gradients(
    q: Array, k: Array, v: Array, dy: Array, p: Array, keep: Array | float = 1.0, scale: float | None = None
) -> tuple[Array, Array, Array, Array]:
    """dq, dk, dv and that of what is added to the scores."""
    scale = max(q.shape[-1], 1) ** -0.5 if scale is None else scale
    q, k, v, dy = (x.astype(np.float64) for x in (q, k, v, dy))
    dp = keep * (dy @ v.swapaxes(-1, -2))
    ds = p * (dp - (dp * p).sum(-1, keepdims=True))
    return scale * ds @ k, scale * ds.swapaxes(-1, -2) @ q, (p * keep).swapaxes(-1, -2) @ dy, ds
