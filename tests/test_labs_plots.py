"""Pictures of a run: whole PNG files of the same bytes for the same run, drawn from any shape of data."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest

from dd2424.labs import plots

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.slow


def records(count, cyclic=True):
    return [
        {"step": i, "lr": 0.1 * (i % 2 if cyclic else 1), "train_cost": 2 / (i + 1), "train_loss": 1 / (i + 1),
         "train_accuracy": i / 10, "validation_cost": 2.0, "validation_loss": 1.0, "validation_accuracy": 0.5}
        for i in range(count)
    ]  # fmt: skip


def rows(names):
    return [{"name": name, "validation_accuracy": 0.1 * i} for i, name in enumerate(names)]


DRAWN = {
    "curves": lambda p, rng: plots.save_curves(p, records(5), "x"),
    "curves of one record": lambda p, rng: plots.save_curves(p, records(1, cyclic=False), "x"),
    "grey templates": lambda p, rng: plots.save_templates(p, rng.standard_normal((60, 16)), (4, 4), [], "x"),
    "colour templates": lambda p, rng: plots.save_templates(
        p, rng.standard_normal((2, 48)), (3, 4, 4), ["a", "b"], "x"
    ),
    "one zero template": lambda p, rng: plots.save_templates(p, np.zeros((1, 16)), (4, 4), [], "x"),
    "confusion": lambda p, rng: plots.save_confusion(p, np.array([[3, 0], [0, 0]]), ["a", "b"], "x"),
    "probabilities": lambda p, rng: plots.save_probabilities(p, np.array([0.1, 0.9]), np.array([False, True]), "x"),
    "numbers": lambda p, rng: plots.save_sweep(p, rows(["lambda=0.1", "lambda=0.001"]), "x"),
    "names": lambda p, rng: plots.save_sweep(p, rows(["sigma=1 norm=no", "sigma=1 norm=yes", "sigma=0 norm=no"]), "x"),
    "failures": lambda p, rng: plots.save_sweep(p, rows(["lambda=0"]), "x"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_pictures(tmp_path, name):
    before = dict(matplotlib.rcParams)
    for out in ("a.png", "b.png"):
        DRAWN[name](tmp_path / out, np.random.default_rng(0))
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert 100 <= height <= 2000
    assert 100 <= width <= 2000
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib(monkeypatch):
    assert plots.can_plot()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not plots.can_plot()
