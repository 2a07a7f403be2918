"""Files that are either whole or not there: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from dd2424.train.errors import RunError, os_error_message


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a crash at any instant leaves the old file or the new one.

    The bytes are on the disk before the name is, and the name is before this returns.
    Raises: RunError naming the file and the reason, such as a full disk; the old file is then unharmed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        error.filename = str(path)
        raise RunError(os_error_message(error, "cannot write")) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. Raises: RunError when the file cannot be written."""
    write_atomic(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """The JSON value in `path`. Raises: RunError naming the file when it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise RunError(os_error_message(error, "cannot read")) from error
    except ValueError as error:
        raise RunError(f"{path} must be JSON, but is damaged: {error}") from error


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
