"""A run folder: everything a run reads and writes, locked while a run uses it."""

from __future__ import annotations

import fcntl
import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from dd2424.train.errors import RunError, UsageError, os_error_message
from dd2424.train.files import read_json, write_atomic, write_json

Record = dict[str, Any]
_LOCK = ".lock"


class RunFolder:
    """config.json, environment.json, metrics.jsonl, checkpoints/, images, weights.safetensors, result.json.

    `result.json` is written last, so its presence means that the run is finished. Use as a context
    manager: the lock (flock on `.lock`) is held inside, and the system drops it if the process dies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.weights = path / "weights.safetensors"
        self._lock: IO[str] | None = None

    @property
    def is_finished(self) -> bool:
        return (self.path / "result.json").exists()

    @property
    def is_run(self) -> bool:
        return (self.path / "config.json").exists()

    def __enter__(self) -> RunFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / _LOCK, "a+")
        except OSError as error:
            raise RunError(os_error_message(error, "cannot use run folder")) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            owner = self._lock.read().strip() or "another process"
            self._lock.close()
            raise RunError(
                f"run folder {self.path} is in use by {owner}; wait for it or choose another --out"
            ) from error
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()}")
        self._lock.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def require_empty(self) -> None:
        """Raises: UsageError naming what the folder holds, unless it holds nothing."""
        names = sorted(path.name for path in self.path.iterdir() if path.name != _LOCK)
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            hint = "; --resume continues that run" if self.is_run else ""
            raise UsageError(f"train: --out must be a new or an empty folder, got {self.path} (holds {shown}){hint}")

    def require_run(self) -> None:
        """Raises: UsageError when the folder holds something that is no run."""
        if not self.is_run:
            raise UsageError(f"train: --resume needs a run folder, got {self.path}, which has no config.json")

    def read_config(self) -> Record:
        config: Record = read_json(self.path / "config.json")
        return config

    def read_result(self) -> Record:
        result: Record = read_json(self.path / "result.json")
        return result

    def write(self, name: str, value: Any) -> None:
        """Write `value` as JSON to the file `name`, atomically."""
        write_json(self.path / name, value)

    def write_metrics(self, records: list[Record]) -> None:
        """Make metrics.jsonl hold exactly `records`, one JSON object a line."""
        write_atomic(self.path / "metrics.jsonl", "".join(map(_line, records)).encode())

    def append_metrics(self, record: Record) -> None:
        """Add one line to metrics.jsonl."""
        try:
            with open(self.path / "metrics.jsonl", "a") as file:
                file.write(_line(record))
        except OSError as error:
            raise RunError(os_error_message(error, "cannot write")) from error


def _line(record: Record) -> str:
    """JSON knows no NaN, so what is not finite is written as null."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(finite) + "\n"


def new_run_path(root: Path, name: str) -> Path:
    """Make the first of root/name-1, root/name-2, ... that does not exist. Raises: RunError when that fails."""
    number = 1
    while True:
        path = root / f"{name}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise RunError(os_error_message(error, "cannot create run folder")) from error
        else:
            return path


def latest_run_path(root: Path, name: str) -> Path | None:
    """The run root/name-N with the greatest N, or None."""
    numbers = [p.name.rpartition("-")[2] for p in root.glob(f"{name}-*") if (p / "config.json").exists()]
    numbers = sorted((n for n in numbers if n.isdigit()), key=int)
    return root / f"{name}-{numbers[-1]}" if numbers else None
