"""Batches of images as float64 NumPy writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def normalized(images: Array, mean: Any, std: Any, scale: float) -> Array:
    """(image / scale - mean) / std for bytes (N, *D); mean and std broadcast to (*D)."""
    return (images.astype(np.float64) / scale - mean) / std


def statistics(images: Array, axes: tuple[int, ...], scale: float, keepdims: bool) -> tuple[Array, Array]:
    """Mean and standard deviation (1/N) of image / scale over `axes`; what never varies has deviation 1."""
    values = images.astype(np.float64)
    std = values.std(axis=axes, keepdims=keepdims) / scale
    mean, std = values.mean(axis=axes, keepdims=keepdims) / scale, np.where(std > 0, std, 1.0)
    return (mean[0], std[0]) if keepdims else (mean, std)
