"""What a run shows while it trains: a live display on a terminal with rich installed, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dd2424.train.folder import Record
from dd2424.train.trainer import Callback, Trainer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.table import Table

_SPARKS = "▁▂▃▄▅▆▇█"
_NARROW = 70  # columns: below, there is no room for a bar
_REDRAWS_PER_S = 4  # one takes some 3 ms of the interpreter
_COLUMNS = {"train_cost": "train cost", "train_accuracy": "accuracy", "validation_cost": "valid cost",
            "validation_accuracy": "accuracy"}  # fmt: skip


def show_progress() -> Callback:
    """The display that suits standard output."""
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        with contextlib.suppress(ImportError):
            return LiveProgress()
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

        self._trainer: Trainer | None = None
        self._console = rich.get_console()
        self._live: Live = rich.live.Live(
            console=self._console, get_renderable=self._render, refresh_per_second=_REDRAWS_PER_S
        )

    def on_start(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._start_s, self._start_step = time.perf_counter(), trainer.step
        self._live.start()

    def on_exit(self, trainer: Trainer) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        from rich.console import Group

        trainer = self._trainer
        return Group(self._bar(trainer), self._metrics(trainer)) if trainer is not None else ""

    def _bar(self, trainer: Trainer) -> Table:
        """How far the run is, how fast, and how much longer it takes."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        elapsed_s = time.perf_counter() - self._start_s
        rate = (trainer.step - self._start_step) / max(elapsed_s, 1e-9)
        left_s = (trainer.steps - trainer.step) / rate if rate else 0.0
        bar = Table.grid(padding=(0, 1))
        place, left = f"step {trainer.step:,}/{trainer.steps:,}", f"{_clock(left_s)} left"
        if self._console.width < _NARROW:
            bar.add_row(place, left)
        else:
            length = min(40, self._console.width - _NARROW + 8)
            bar.add_row(ProgressBar(trainer.steps, trainer.step, width=length), place, f"{rate:,.0f} steps/s",
                        f"{_clock(elapsed_s)}, {left}")  # fmt: skip
        return bar

    def _metrics(self, trainer: Trainer) -> Table:
        """A row for cost and for accuracy: the last value and the curve, of training and of validation images."""
        from rich.table import Table

        records = list(trainer.records)  # the loop goes on while this is drawn
        width = max(0, min(30, (self._console.width - 54) // 2))
        table = Table.grid(padding=(0, 1))
        for name in ("cost", "accuracy"):
            cells = [f"[bold]{name}[/bold]"]
            for part, colour in (("training", "blue"), ("validation", "yellow")):
                values = [r[key] for r in records if (key := f"{part.removesuffix('ing')}_{name}") in r]
                if values:
                    curve = f" [{colour}]{sparkline(values, width):<{width}}[/{colour}]" if width else ""
                    cells += [part, f"{values[-1]:.4f}{curve}"]
            if len(cells) > 1:
                table.add_row(*cells)
        return table


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """`values` as at most `width` blocks from the lowest to the highest, evenly taken; blanks where not finite."""
    count = min(len(values), width)
    shown = [values[i * (len(values) - 1) // max(count - 1, 1)] for i in range(count)]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(_SPARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_SPARKS[round((v - low) * scale)] if math.isfinite(v) else " " for v in shown)


def _clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
