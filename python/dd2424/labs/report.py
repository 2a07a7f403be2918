"""What a lab prints: its data, its confusion matrix, its figure, and what to try next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dd2424._safetensors import Array


def confusion_matrix(labels: Array, predictions: Array, classes: int) -> Array:
    """How often label i was predicted as j. Shapes: labels and predictions (N,); result (classes, classes) int64."""
    counts = np.bincount(labels.astype(np.int64) * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes)


def confusion_table(matrix: Array, classes: Sequence[str]) -> str:
    """The confusion matrix as text: a row for each true class, with its share of right predictions last."""
    names = [name[:10] for name in classes]
    widths = [max(len(name), len(str(matrix[:, j].max())), 3) for j, name in enumerate(names)]
    left = max(len("true"), *map(len, names))
    lines = [f"{'true':>{left}} | " + " ".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True)) + "   right"]
    for i, name in enumerate(names):
        cells = " ".join(f"{count or '.':>{w}}" for count, w in zip(matrix[i], widths, strict=True))
        total = matrix[i].sum()
        right = f"{100 * matrix[i, i] / total:5.1f} %" if total else "      -"
        lines.append(f"{name:>{left}} | {cells} {right}")
    return "\n".join(lines)


def worst_confusions(matrix: Array, classes: Sequence[str], count: int = 3) -> str:
    """The most frequent mistakes in words, or that there is none."""
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = [divmod(int(index), len(classes)) for index in order]
    texts = [f"{classes[i]} taken for {classes[j]} ({wrong[i, j]})" for i, j in pairs if wrong[i, j]]
    return "most frequent mistakes: " + ", ".join(texts) if texts else "no mistakes"
