"""Checkpoints: one safetensors file each, whose header carries the JSON state, a format version and a checksum."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dd2424._safetensors import Array, deserialize, serialize
from dd2424._state import put_together, take_apart
from dd2424.train.errors import RunError, os_error_message
from dd2424.train.files import write_atomic

FORMAT = "dd2424-checkpoint"
FORMAT_VERSION = 1
_KEEP = 2
_FILE_NAME = re.compile(r"step-(\d{9})\.safetensors")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` as the checkpoint of `step`, then drop all but the last two.

    Raises: RunError when it cannot be written; earlier checkpoints are then unharmed.
    """
    arrays: dict[str, Array] = {}
    text = json.dumps(take_apart(state, "state", arrays))
    metadata = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "state": text}
    metadata["sha256"] = _digest(text, arrays)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(os_error_message(error, "cannot create")) from error
    path = folder / f"step-{step:09d}.safetensors"
    write_atomic(path, serialize(arrays, metadata))
    for old in checkpoint_files(folder)[:-_KEEP]:
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state in a checkpoint file, after its format version and its checksum are checked.

    Raises: RunError naming the file and what is wrong with it.
    """
    try:
        arrays, metadata = deserialize(path.read_bytes())
    except OSError as error:
        raise RunError(os_error_message(error, "cannot read")) from error
    except ValueError as error:
        raise RunError(f"checkpoint {path} is damaged: {error}") from error
    if metadata.get("format") != FORMAT:
        raise RunError(f"checkpoint {path} must have format {FORMAT}, got {metadata.get('format')}")
    version = metadata.get("format_version", "")
    if not version.isdigit() or not 1 <= int(version) <= FORMAT_VERSION:
        raise RunError(f"checkpoint {path} must have format version 1 to {FORMAT_VERSION}, got {version or 'none'}")
    text = metadata.get("state", "")
    if metadata.get("sha256") != _digest(text, arrays):
        raise RunError(f"checkpoint {path} is damaged: its content does not match its checksum")
    state: dict[str, Any] = put_together(json.loads(text), arrays)
    return state


def load_latest(folder: Path, report: Callable[[str], None]) -> dict[str, Any] | None:
    """The newest checkpoint that is whole, or None where there is none; `report` hears of damaged ones.

    Raises: RunError when there are checkpoints and every one is damaged.
    """
    error: RunError | None = None
    for path in reversed(checkpoint_files(folder)):
        try:
            state = load_checkpoint(path)
        except RunError as damage:
            error = error or damage
            report(f"{damage}; trying the one before")
        else:
            return state
    if error is not None:
        raise RunError(f"{error}; no other is left, so train again with a new --out")
    return None


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoint files in `folder`, oldest first; unfinished temporary files do not count."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _FILE_NAME.fullmatch(path.name))


def _digest(text: str, arrays: dict[str, Array]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
