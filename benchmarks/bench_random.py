"""Random numbers: 4 million at a time. Every contender has a generator of its own, so only shapes are compared."""

from __future__ import annotations

import math

import numpy as np

from case import Case, normal
from shapes import LARGE

GOALS = {"numpy": 1.0, "torch": 1.0}
_generator = np.random.default_rng(0)

CASES = [
    Case(
        "normal",
        program=lambda torch: lambda: torch.randn(LARGE),
        numpy=lambda: lambda: _generator.standard_normal(LARGE, np.float32),
        goals=GOALS,
        tolerance=math.inf,
    ),
    Case(
        "uniform",
        program=lambda torch: lambda: torch.rand(LARGE),
        numpy=lambda: lambda: _generator.random(LARGE, np.float32),
        goals=GOALS,
        tolerance=math.inf,
    ),
    Case(
        "dropout, p = 0.5",
        program=lambda torch, x: lambda: torch.nn.functional.dropout(x, 0.5),
        inputs=normal(LARGE),
        goals={"torch": 1.0},
        tolerance=math.inf,
    ),
]
