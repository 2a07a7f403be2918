"""Parts of a data set: train, validation and test."""

from __future__ import annotations

from .arrays import ArrayDataset

SPLITS = ("train", "validation", "test")


def check_split(name: str, split: str, validation: int, train_size: int) -> None:
    """Raise ValueError unless `split` is a part that exists when `validation` samples are held out of train."""
    if split not in SPLITS:
        raise ValueError(f"{name}: split must be one of {', '.join(SPLITS)}, got {split!r}")
    lowest = 1 if split == "validation" else 0
    if not lowest <= validation < train_size:
        raise ValueError(f"{name}: validation must be from {lowest} to {train_size - 1} samples, got {validation}")


def hold_out(train: ArrayDataset, split: str, validation: int) -> ArrayDataset:
    """Return the last `validation` samples for split "validation", the samples before them for "train"."""
    cut = len(train) - validation
    return train.take(slice(cut, None) if split == "validation" else slice(cut))
