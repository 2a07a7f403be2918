"""Pictures of a run as PNG files: curves, weight templates, confusion, probabilities. Needs the `labs` extra."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dd2424._safetensors import Array
from dd2424.train.files import write_atomic
from dd2424.train.folder import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 110


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def save_curves(path: Path, records: Sequence[Record], title: str) -> None:
    """Cost, loss, accuracy and, where it varies, the learning rate against steps, for training and validation."""
    rates = [record["lr"] for record in records]
    varies = len(set(rates)) > 1
    figure, axes = _figure(1, 2 + varies, 8.0 + 4.0 * varies, 3.4)
    steps = [record["step"] for record in records]
    for column, name in enumerate(("cost", "accuracy")):
        for part, colour in (("train", "tab:blue"), ("validation", "tab:orange")):
            axes[column].plot(steps, [r[f"{part}_{name}"] for r in records], color=colour, label=_LABELS[part])
            if name == "cost" and any(r[f"{part}_loss"] != r[f"{part}_cost"] for r in records):
                loss = [r[f"{part}_loss"] for r in records]
                axes[column].plot(steps, loss, color=colour, linestyle=":", label=f"{_LABELS[part]}, loss alone")
        axes[column].set_ylabel(name)
    if varies:
        axes[2].plot(steps, rates, color="tab:green")
        axes[2].set_ylabel("learning rate")
    axes[0].legend(fontsize=8)
    axes[0].set_ylim(bottom=0)
    for axis in axes:
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    _save(figure, path)


_LABELS = {"train": "training", "validation": "validation"}


def save_templates(path: Path, weights: Array, shape: tuple[int, ...], names: Sequence[str], title: str) -> None:
    """Rows of a first layer's weights as images. Shapes: weights (units, inputs); shape (H, W) or (C, H, W)."""
    count = min(len(weights), 50)
    columns = min(count, 10)
    rows = math.ceil(count / columns)
    figure, axes = _figure(rows, columns, 1.15 * columns, 1.15 * rows + 0.5 + 0.15 * bool(names))
    for axis in axes:
        axis.axis("off")
    for unit in range(count):
        template = weights[unit].reshape(shape)
        low, high = float(template.min()), float(template.max())
        if template.ndim == 3:
            image = (template.transpose(1, 2, 0) - low) / max(high - low, 1e-12)
            axes[unit].imshow(image)
        else:
            limit = max(abs(low), abs(high), 1e-12)
            axes[unit].imshow(template, cmap="RdBu_r", vmin=-limit, vmax=limit)
        if names:
            axes[unit].set_title(names[unit], fontsize=8)
    figure.suptitle(title)
    _save(figure, path)


def save_confusion(path: Path, matrix: Array, classes: Sequence[str], title: str) -> None:
    """The confusion matrix: rows are true classes, shaded by their share."""
    size = 1.6 + 0.45 * len(classes)
    figure, (axis,) = _figure(1, 1, size, size)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(matrix.shape):
        if matrix[i, j]:
            colour = "white" if share[i, j] > 0.5 else "black"
            axis.text(j, i, str(matrix[i, j]), ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    axis.set_title(title)
    _save(figure, path)


def save_probabilities(path: Path, probabilities: Array, is_right: Array, title: str) -> None:
    """Histogram of the probability given to the true class, for rightly and wrongly classified test images.

    Shapes: probabilities and is_right (N,).
    """
    figure, (axis,) = _figure(1, 1, 5.5, 3.4)
    bins = [k / 40 for k in range(41)]
    axis.hist(probabilities[is_right], bins, alpha=0.6, label=f"right ({int(is_right.sum())})")
    axis.hist(probabilities[~is_right], bins, alpha=0.6, label=f"wrong ({int((~is_right).sum())})")
    axis.set_xlabel("probability of the true class")
    axis.set_ylabel("test images")
    axis.legend()
    axis.set_title(title)
    _save(figure, path)


def save_sweep(path: Path, rows: Sequence[Record], title: str) -> None:
    """Validation accuracy of each variation of a search, as bars in the order they ran."""
    figure, (axis,) = _figure(1, 1, 7.0, 1.2 + 0.3 * len(rows))
    values = [100 * row["validation_accuracy"] for row in rows]
    axis.barh(range(len(rows)), values, color="tab:blue", alpha=0.7)
    for i, value in enumerate(values):
        axis.text(value, i, f" {value:.2f}", va="center", fontsize=8)
    axis.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axis.invert_yaxis()
    axis.set_xlim(0.9 * min(values), min(1.06 * max(values), 106))
    axis.set_xlabel("validation accuracy, %")
    axis.set_title(title)
    _save(figure, path)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure without pyplot, so that no display is looked for and nothing global remains."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.ravel())


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())
