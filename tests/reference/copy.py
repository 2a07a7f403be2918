"""Conversions between element types, by NumPy; to integers towards zero."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

DTYPES: dict[str, Any] = {
    "float32": np.float32, "float64": np.float64, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16,
    "int64": np.int64, "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
}  # fmt: skip


def convert(x: Any, dtype: str) -> Any:
    """x as `dtype`; a double is rounded once, also to the narrow floats."""
    if dtype == "bool":
        return x.astype(np.float64) != 0 if x.dtype.kind not in "biu" else x != 0
    if dtype == "bfloat16" and x.dtype == np.float64:
        return once(x)
    return x.astype(DTYPES[dtype])


def once(x: Any) -> Any:
    """float64 to the nearest bfloat16, ties to even: the candidates either side, compared exactly."""
    near = x.astype(np.float32).astype(ml_dtypes.bfloat16)
    bits = near.view(np.uint16)
    options = np.stack(
        [near, (bits - 1).astype(np.uint16).view(near.dtype), (bits + 1).astype(np.uint16).view(near.dtype)]
    )
    distance = np.abs(options.astype(np.float64) - x)
    odd = options.view(np.uint16) % 2
    order = np.lexsort((odd, distance), axis=0)[0]
    best = np.take_along_axis(options, order[None], 0)[0]
    return np.where(np.isfinite(x) & np.isfinite(near.astype(np.float64)), best, near)
