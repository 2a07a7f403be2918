"""Files of a run folder: whole or not there, and errors that a user can mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dd2424 import _files
from dd2424.train.errors import RunError, os_error_message


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` so that a crash at any instant leaves the old file or the new one.

    Raises: RunError naming the file and the reason, such as a full disk; the old file is then unharmed.
    """
    try:
        _files.write_atomic(path, data)
    except OSError as error:
        raise RunError(os_error_message(error, "cannot write")) from error


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
