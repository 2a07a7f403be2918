"""What a run shows while it trains: a live display on a terminal with rich installed, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from dd2424.train.folder import Record
from dd2424.train.trainer import Callback, Trainer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_SPARKS = "▁▂▃▄▅▆▇█"
_COLUMNS = {"train_cost": "train cost", "train_accuracy": "accuracy", "validation_cost": "valid cost",
            "validation_accuracy": "accuracy"}  # fmt: skip


def progress() -> Callback:
    """The display that suits standard output."""
    if sys.stdout.isatty():
        try:
            return LiveProgress()
        except ImportError:
            pass
    return PlainProgress()


class PlainProgress(Callback):
    """One line a record."""

    def on_start(self, trainer: Trainer) -> None:
        self._start_s = time.perf_counter()
        print(f"{'step':>8} {'epoch':>7} {'lr':>9} " + " ".join(f"{title:>10}" for title in _COLUMNS.values()))
        for record in trainer.records:
            self.on_record(trainer, record)

    def on_record(self, trainer: Trainer, record: Record) -> None:
        values = " ".join(f"{record.get(name, float('nan')):10.4f}" for name in _COLUMNS)
        print(f"{record['step']:8d} {record['epoch']:7.2f} {record['lr']:9.2e} {values}", flush=True)

    def on_end(self, trainer: Trainer) -> None:
        print(f"trained in {time.perf_counter() - self._start_s:.1f} s")


class LiveProgress(Callback):
    """A bar and, for each metric, its course so far, redrawn several times a second.

    Raises: ImportError where rich is not installed.
    """

    def __init__(self) -> None:
        import rich.live

        self._live: Live = rich.live.Live(get_renderable=self._render, refresh_per_second=8)
        self._trainer: Trainer | None = None

    def on_start(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._start_s, self._start_step = time.perf_counter(), trainer.step
        self._live.start()

    def on_exit(self, trainer: Trainer) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        trainer = self._trainer
        if trainer is None:
            return ""
        elapsed_s = time.perf_counter() - self._start_s
        rate = (trainer.step - self._start_step) / max(elapsed_s, 1e-9)
        bar = Table.grid(padding=(0, 1))
        text = f"step {trainer.step}/{trainer.steps}  {rate:,.0f} steps/s  {elapsed_s:.1f} s"
        bar.add_row(ProgressBar(trainer.steps, trainer.step, width=40), text)
        table = Table.grid(padding=(0, 2))
        for name, title in _COLUMNS.items():
            values = [record[name] for record in trainer.records if name in record]
            if values:
                kind = "training" if name.startswith("train") else "validation"
                table.add_row(f"{kind} {title.split()[-1]}", f"{values[-1]:.4f}", sparkline(values))
        return Group(bar, table)


def sparkline(values: list[float], width: int = 40) -> str:
    """`values` as a line of blocks, lowest to highest, at most `width` of them (the last ones)."""
    shown = values[-width:]
    low, high = min(shown), max(shown)
    scale = (len(_SPARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_SPARKS[round((value - low) * scale)] for value in shown)
