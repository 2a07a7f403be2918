"""The labs by name."""

from __future__ import annotations

from dd2424.labs.base import Lab
from dd2424.labs.deep_mlp import DeepMlpLab
from dd2424.labs.linear import LinearLab
from dd2424.labs.mlp import MlpLab
from dd2424.train import UsageError, nearest

LABS: dict[str, Lab] = {lab.name: lab for lab in (LinearLab(), MlpLab(), DeepMlpLab())}


def get_lab(name: str) -> Lab:
    """Raises: UsageError naming the labs there are."""
    if name not in LABS:
        raise UsageError(f"train: unknown lab {name!r}{nearest(name, LABS)}")
    return LABS[name]
