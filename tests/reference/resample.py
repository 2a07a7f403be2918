"""Padding and resizing in float64, one dimension after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(x: Array, pads: Sequence[int], mode: str = "constant", value: float = 0.0) -> Array:
    """NumPy's own pads; what is negative is cut off first."""
    sides = [(0, 0)] * (x.ndim - len(pads) // 2) + list(zip(pads[::2], pads[1::2], strict=True))[::-1]
    x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, sides, strict=True))]
    widths = [(max(a, 0), max(b, 0)) for a, b in sides]
    options = {"constant_values": value} if mode == "constant" else {}
    return np.pad(x, widths, mode=_NUMPY_MODES[mode], **options)  # type: ignore[call-overload]


def pad_gradient(shape: Sequence[int], dy: Array, pads: Sequence[int], mode: str = "constant") -> Array:
    """Every element of dy goes to the one that the pad copied; those of a constant go nowhere."""
    places = pad(np.arange(1, np.prod(shape) + 1).reshape(shape), pads, mode)
    dx = np.zeros(1 + int(np.prod(shape)))
    np.add.at(dx, places, dy)
    return dx[1:].reshape(shape)
