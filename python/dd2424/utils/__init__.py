"""Helpers under PyTorch's names: `utils.data`."""

from __future__ import annotations

from dd2424._lazy import lazy_getattr

__getattr__ = lazy_getattr("dd2424.utils", ("data",))
