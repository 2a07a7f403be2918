"""Data sets and loaders under PyTorch's name for them: those of `dd2424.data`."""

from dd2424._lazy import lazy_getattr
from dd2424.data import *

__getattr__ = lazy_getattr("dd2424.utils.data")
