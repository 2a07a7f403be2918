"""GPUs: what there is of them. This build has no CUDA library, so there are none."""

from __future__ import annotations

from typing import Any

from dd2424._device import require_cpu
from dd2424._lazy import lazy_getattr


def is_available() -> bool:
    """Whether there is a GPU that this build can use."""
    return False


def device_count() -> int:
    """How many GPUs there are."""
    return 0


def manual_seed(seed: int) -> None:
    """Seed the GPU's generator; without a GPU there is nothing to seed."""


def manual_seed_all(seed: int) -> None:
    """Seed every GPU's generator; without a GPU there is nothing to seed."""


def synchronize(device: Any = None) -> None:
    """Wait for a GPU. Raises: RuntimeError where there is none."""
    require_cpu("synchronize", "cuda")


def empty_cache() -> None:
    """Give back the memory held for GPUs; without a GPU there is none."""


__getattr__ = lazy_getattr("dd2424.cuda")
