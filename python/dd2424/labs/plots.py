"""Pictures of a run as PNG files: curves, weight templates, confusion, probabilities. Needs the `labs` extra."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from dd2424._safetensors import Array
from dd2424.train.files import write_atomic
from dd2424.train.folder import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arguments = ParamSpec("Arguments")
_DPI = 140
_STYLE: dict[Any, Any] = {
    "font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "figure.titlesize": 11, "legend.frameon": False, "legend.fontsize": 8, "grid.alpha": 0.25, "lines.linewidth": 1.6,
}  # fmt: skip
_COLOURS = {"train": "#2166ac", "validation": "#d6604d"}
_LABELS = {"train": "training", "validation": "validation"}


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def _styled(draw: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Draws in the style of this file, and leaves matplotlib's own settings as they were."""

    @functools.wraps(draw)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        import matplotlib

        with matplotlib.rc_context(_STYLE):
            draw(*args, **kwargs)

    return run


@_styled
def save_curves(path: Path, records: Sequence[Record], title: str) -> None:
    """Cost, loss, accuracy and, where it varies, the learning rate against steps, for training and validation."""
    rates = [record["lr"] for record in records]
    varies = len(set(rates)) > 1
    figure, axes = _figure(1, 2 + varies, 7.5 + 2.5 * varies, 3.0, widths=(3, 3, 2)[: 2 + varies])
    steps = [record["step"] for record in records]
    for part, colour in _COLOURS.items():
        cost, loss, accuracy = ([r[f"{part}_{name}"] for r in records] for name in ("cost", "loss", "accuracy"))
        axes[0].plot(steps, cost, color=colour, label=f"{_LABELS[part]} cost, at the end {cost[-1]:.3f}")
        if cost != loss:
            axes[0].plot(steps, loss, color=colour, linewidth=1, linestyle=":", label=f"{_LABELS[part]} loss alone")
        percent = [100 * value for value in accuracy]
        axes[1].plot(steps, percent, color=colour, label=f"{_LABELS[part]}, at the end {percent[-1]:.1f} %")
    axes[0].set_title("cost")
    axes[1].set_title("accuracy, %")
    axes[0].legend(loc="upper right")
    axes[1].legend(loc="lower right")
    if varies:
        axes[2].plot(steps, rates, color="#4d4d4d", linewidth=1.2)
        axes[2].set_title("learning rate")
    for axis in axes:
        axis.set_xlabel("step")
        axis.grid()
        axis.margins(x=0.01)
    figure.suptitle(title)
    _save(figure, path)


@_styled
def save_templates(path: Path, weights: Array, shape: tuple[int, ...], names: Sequence[str], title: str) -> None:
    """Rows of a first layer's weights as images. Shapes: weights (units, inputs); shape (H, W) or (C, H, W)."""
    count = min(len(weights), 50)
    columns = min(count, 10)
    rows = math.ceil(count / columns)
    figure, axes = _figure(rows, columns, 0.9 * columns, (0.92 + 0.18 * bool(names)) * rows + 0.3)
    for axis in axes:
        axis.axis("off")
    for unit in range(count):
        template = weights[unit].reshape(shape)
        limit = max(float(np.quantile(np.abs(template), 0.995)), 1e-12)  # a few outliers would leave all else grey
        if template.ndim == 3:
            axes[unit].imshow(np.clip(0.5 + template.transpose(1, 2, 0) / (2 * limit), 0, 1))
        else:
            axes[unit].imshow(template, cmap="RdBu_r", vmin=-limit, vmax=limit)
        if names:
            axes[unit].set_title(names[unit], fontsize=8)
    figure.suptitle(title)
    _save(figure, path)


@_styled
def save_confusion(path: Path, matrix: Array, classes: Sequence[str], title: str) -> None:
    """The confusion matrix: rows are true classes, shaded by their share."""
    size = 1.6 + 0.45 * len(classes)
    figure, (axis,) = _figure(1, 1, size, size)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(length=0)
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


@_styled
def save_probabilities(path: Path, probabilities: Array, is_right: Array, title: str) -> None:
    """Histogram of the probability given to the true class, for rightly and wrongly classified test images.

    Shapes: probabilities and is_right (N,).
    """
    figure, (axis,) = _figure(1, 1, 5.5, 3.4)
    bins = [k / 40 for k in range(41)]
    for chosen, name, colour in ((is_right, "right", "train"), (~is_right, "wrong", "validation")):
        axis.hist(
            probabilities[chosen], bins, alpha=0.65, color=_COLOURS[colour], label=f"{name}: {int(chosen.sum()):,}"
        )
    axis.set_xlabel("probability of the true class")
    axis.set_ylabel("test images")
    axis.legend()
    axis.set_title(title)
    _save(figure, path)


@_styled
def save_sweep(path: Path, rows: Sequence[Record], title: str) -> None:
    """Validation accuracy of each variation of a search: against a number on a log scale, or as bars."""
    values = [100 * row["validation_accuracy"] for row in rows]
    numbers = [_number(row["name"]) for row in rows]
    if None not in numbers:
        figure, (axis,) = _figure(1, 1, 5.5, 3.2)
        axis.semilogx(numbers, values, "o", color=_COLOURS["train"])
        best = int(np.argmax(values))
        axis.semilogx(numbers[best], values[best], "o", color=_COLOURS["validation"],
                      label=f"best: {rows[best]['name']}, {values[best]:.2f} %")  # fmt: skip
        axis.legend(loc="lower left")
        axis.set_xlabel(rows[0]["name"].partition("=")[0])
        axis.set_ylabel("validation accuracy, %")
    else:
        figure, (axis,) = _figure(1, 1, 6.5, 0.9 + 0.3 * len(rows))
        kinds = sorted({row["name"].rpartition(" ")[2] for row in rows})
        palette = list(_COLOURS.values()) if len(kinds) == 2 else ["#4d4d4d"]
        colours = [palette[kinds.index(row["name"].rpartition(" ")[2]) % len(palette)] for row in rows]
        axis.barh(range(len(rows)), values, height=0.7, color=colours)
        for i, value in enumerate(values):
            axis.text(value, i, f" {value:.1f}", va="center", fontsize=8)
        axis.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axis.invert_yaxis()
        axis.set_xlim(0, 1.08 * max(*values, 1.0))
        axis.set_xlabel("validation accuracy, %")
    axis.grid(axis="x" if None in numbers else "both")
    axis.set_title(title)
    _save(figure, path)


def _number(name: str) -> float | None:
    """The value of a variation that is named key=value, if it is a number above zero."""
    try:
        value = float(name.partition("=")[2])
    except ValueError:
        return None
    return value if value > 0 else None


def _figure(
    rows: int, columns: int, width: float, height: float, widths: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure without pyplot, so that no display is looked for and nothing global remains."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, width_ratios=widths)
    return figure, list(axes.ravel())


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())
