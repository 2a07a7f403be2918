"""Copies and casts of 16 MB: bound by memory."""

from __future__ import annotations

import numpy as np

from case import Case, normal
from shapes import LARGE, LARGE_BYTES, SMALL

CASES = [
    Case(
        "clone",
        program=lambda torch, x: lambda: x.clone(),
        inputs=normal(LARGE),
        numpy=lambda x: lambda: x.copy(),
        reads=1,
        writes=1,
        array_bytes=LARGE_BYTES,
        goals={"limit": 0.9, "numpy": 1.0, "torch": 1.0},
    ),
    Case(
        "transposed to contiguous",
        program=lambda torch, x: lambda: x.T.contiguous(),
        inputs=normal(LARGE),
        numpy=lambda x: lambda: np.ascontiguousarray(x.T),
        reads=1,
        writes=1,
        array_bytes=LARGE_BYTES,
        goals={"numpy": 1.0, "torch": 1.0},
    ),
    Case(
        "float32 to bfloat16",
        program=lambda torch, x: lambda: x.to(torch.bfloat16),
        inputs=normal(LARGE),
        reads=2,  # of the result's size
        writes=1,
        array_bytes=LARGE_BYTES // 2,
        goals={"torch": 1.0},
    ),
    Case(
        "bytes to float32",
        program=lambda torch, x: lambda: x.to(torch.float32),
        inputs=lambda rng: [rng.integers(0, 256, LARGE, np.uint8)],
        numpy=lambda x: lambda: x.astype(np.float32),
        goals={"numpy": 1.0, "torch": 1.0},
    ),
    Case(
        "copy of 256 kB",
        program=lambda torch, x: lambda: x.clone(),
        inputs=normal(SMALL),
        numpy=lambda x: lambda: x.copy(),
        goals={"numpy": 1.0, "torch": 1.0},
    ),
]
