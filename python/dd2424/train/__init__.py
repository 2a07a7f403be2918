"""Training runs: the loop, its callbacks, run folders and checkpoints."""

from __future__ import annotations

from dd2424.train.callbacks import WriteCheckpoints, WriteMetrics
from dd2424.train.checkpoint import load_checkpoint, load_latest, save_checkpoint
from dd2424.train.errors import Interrupted, RunError, UsageError, nearest, os_error_message
from dd2424.train.folder import RunFolder, latest_run_path, new_run_path
from dd2424.train.progress import show_progress
from dd2424.train.trainer import Callback, Trainer

__all__ = [
    "Callback",
    "Interrupted",
    "RunError",
    "RunFolder",
    "Trainer",
    "UsageError",
    "WriteCheckpoints",
    "WriteMetrics",
    "latest_run_path",
    "load_checkpoint",
    "load_latest",
    "nearest",
    "new_run_path",
    "os_error_message",
    "save_checkpoint",
    "show_progress",
]
