"""A data set as a lab sees it: three parts, each dimension standardised by the training part's statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dd2424.data import ArrayDataset
from dd2424.train import UsageError


@dataclass(frozen=True)
class Source:
    """A whole data set before a lab cuts it."""

    name: str
    train: ArrayDataset
    test: ArrayDataset
    _cuts: dict[tuple[int, int], LabData] = field(default_factory=dict, compare=False, repr=False)

    def cut(self, train: int, validation: int, batch: int) -> LabData:
        """The first `train` images (0: all that are left) train, the next `validation` validate.

        Raises: UsageError when there are not so many, or fewer than one batch.
        """
        total = len(self.train)
        train = train or total - validation
        if train <= 0 or train + validation > total:
            raise UsageError(
                f"train: train + validation must be at most the {total} training images of {self.name}, "
                f"got {max(train, 0)} + {validation}"
            )
        if batch > train:
            raise UsageError(f"train: batch must be at most the {train} training images, got {batch}")
        if (train, validation) not in self._cuts:  # a search asks again and again
            first, second = self.train.take(slice(0, train)), self.train.take(slice(train, train + validation))
            data = LabData.standardised(self.name, first, second, self.test, self.train.classes)
            self._cuts[train, validation] = data
        return self._cuts[train, validation]


@dataclass(frozen=True)
class LabData:
    """Training, validation and test images as flat float32 rows, z-scored in each dimension."""

    name: str
    train: ArrayDataset
    validation: ArrayDataset
    test: ArrayDataset
    classes: Sequence[str]

    @classmethod
    def standardised(
        cls, name: str, train: ArrayDataset, validation: ArrayDataset, test: ArrayDataset, classes: Sequence[str]
    ) -> LabData:
        """Mean and standard deviation are those of `train`, for every part."""
        mean, std = train.statistics("pixel")
        parts = [part.normalized(mean, std, flatten=True) for part in (train, validation, test)]
        return cls(name, parts[0], parts[1], parts[2], classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """One image as stored: (H, W) or (C, H, W)."""
        return self.train.images.shape[1:]

    @property
    def inputs(self) -> int:
        return int(np.prod(self.shape))

    def steps_per_epoch(self, batch: int) -> int:
        """A last batch that is not full is left out."""
        return len(self.train) // batch

    def only(self, classes: tuple[int, ...]) -> LabData:
        """The images of two classes, labelled 0 and 1, standardised by their own statistics."""
        train, validation, test = (_only(part, classes) for part in (self.train, self.validation, self.test))
        return LabData.standardised(self.name, train, validation, test, [self.classes[k] for k in classes])


def _only(part: ArrayDataset, classes: tuple[int, ...]) -> ArrayDataset:
    chosen = np.isin(part.labels, classes)
    labels = (part.labels[chosen] == classes[1]).astype(np.int64)
    return ArrayDataset(part.images[chosen], labels, scale=part.scale)
