"""Networks by family."""

from __future__ import annotations

from dd2424.models.linear import LinearClassifier
from dd2424.models.mlp import MLP

__all__ = ["MLP", "LinearClassifier"]
