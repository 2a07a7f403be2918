"""Batches for a lab's loop, in an order fixed by a seed, that can go on in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from dd2424 import Tensor
from dd2424.data import ArrayDataset, DataLoader, RandomSampler


class Batches:
    """Batches (inputs (N, D) float32, labels (N,) int64) of `dataset`.

    With a `shuffle_seed` the order is new each epoch and depends on seed and epoch alone, and a last batch
    that is not full is left out; without, the order is the data set's and nothing is left out.
    """

    def __init__(self, dataset: ArrayDataset, batch: int, device: str, shuffle_seed: int | None = None) -> None:
        shuffles = shuffle_seed is not None
        self._sampler = RandomSampler(dataset, generator=shuffle_seed) if shuffles else None
        self._loader: Any = DataLoader(dataset, batch_size=batch, sampler=self._sampler, drop_last=shuffles)
        self._device = device
        self.epoch, self.position = 0, 0

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._sampler is not None:
            self._sampler.set_epoch(self.epoch)
        for inputs, labels in islice(self._loader, self.position, None):
            self.position += 1
            yield (inputs, labels) if self._device == "cpu" else (inputs.to(self._device), labels.to(self._device))
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """How many epochs are done, and how many batches of the current one."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from that place; the next pass delivers the rest of its epoch."""
        self.epoch, self.position = int(state_dict["epoch"]), int(state_dict["position"])
