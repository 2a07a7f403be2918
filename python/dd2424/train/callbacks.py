"""What happens at a run's events besides training: metrics and checkpoints into the run folder."""

from __future__ import annotations

import time

from dd2424.train.checkpoint import save_checkpoint
from dd2424.train.folder import Record, RunFolder
from dd2424.train.trainer import Callback, Trainer


class WriteMetrics(Callback):
    """Appends each record to metrics.jsonl; a resumed run first drops lines that its checkpoint does not know."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_start(self, trainer: Trainer) -> None:
        self.folder.write_metrics(trainer.records)

    def on_record(self, trainer: Trainer, record: Record) -> None:
        self.folder.append_metrics(record)


class WriteCheckpoints(Callback):
    """Writes a checkpoint at the first record after `every_s` seconds, on an interrupt, and at the end."""

    def __init__(self, folder: RunFolder, every_s: float = 20.0) -> None:
        self.folder, self.every_s = folder, every_s
        self._last_s = time.monotonic()

    def on_record(self, trainer: Trainer, record: Record) -> None:
        if time.monotonic() - self._last_s >= self.every_s:
            self._write(trainer)

    def on_stop(self, trainer: Trainer) -> None:
        self._write(trainer)

    def on_end(self, trainer: Trainer) -> None:
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        save_checkpoint(self.folder.checkpoints, trainer.step, trainer.state_dict())
        self._last_s = time.monotonic()
