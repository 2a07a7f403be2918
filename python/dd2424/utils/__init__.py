"""Helpers under PyTorch's names: `utils.checkpoint`, `utils.data`, `utils.tensorboard`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dd2424._lazy import lazy_getattr

if TYPE_CHECKING:
    from dd2424.utils import checkpoint as checkpoint, data as data, tensorboard as tensorboard

__getattr__ = lazy_getattr("dd2424.utils", ("checkpoint", "data", "tensorboard"))
