"""What a run shows while it trains: plain lines, or a live display that suits any terminal."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from dd2424.train.progress import LiveProgress, PlainProgress, show_progress, sparkline


def record(step, cost=1.5):
    return {"step": step, "epoch": step / 10, "lr": 0.01, "train_loss": cost, "train_cost": cost, "train_accuracy": 0.5,
            "validation_loss": cost, "validation_cost": cost, "validation_accuracy": 0.25}  # fmt: skip


def trainer(*records, step=20, steps=40):
    return SimpleNamespace(records=list(records), step=step, steps=steps)


def test_plain_lines(capsys):
    shown, run = PlainProgress(), trainer(record(0))
    shown.on_start(run)
    shown.on_record(run, record(10))
    shown.on_end(run)
    title, first, second, end = capsys.readouterr().out.splitlines()
    assert title.split() == ["step", "epoch", "lr", "train", "cost", "accuracy", "valid", "cost", "accuracy"]
    assert first.split() == ["0", "0.00", "1.00e-02", "1.5000", "0.5000", "1.5000", "0.2500"]
    assert second.split()[:2] == ["10", "1.00"]
    assert len(title) == len(first) == len(second) <= 80
    assert end.startswith("trained in ")


def test_which_display(monkeypatch):
    assert isinstance(show_progress(), PlainProgress)  # pytest's output is no terminal
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(show_progress(), LiveProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(show_progress(), PlainProgress)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "rich.live", None)
    assert isinstance(show_progress(), PlainProgress)


@pytest.mark.parametrize("width", [120, 80, 50])
def test_the_live_display_fits(monkeypatch, width):
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr("rich.get_console", lambda: console)
    shown, run = LiveProgress(), trainer(*[record(i, 2 / (i + 1)) for i in range(60)])
    shown.on_start(run)
    run.step = 30
    shown.on_exit(run)
    text = output.getvalue()
    assert "step 30/40" in text
    assert "validation" in text
    assert "0.2500" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
    assert max(map(len, plain.splitlines())) <= width


def test_sparklines():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, 1]) == "▁▁"
    assert sparkline([float("nan"), 0, 1]) == " ▁█"
    assert len(sparkline(list(range(100)))) == 40
    assert sparkline([]) == ""
