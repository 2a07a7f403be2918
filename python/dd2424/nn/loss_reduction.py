"""What the modules of losses share."""

from __future__ import annotations

from dd2424._types import Reduction
from dd2424.functional.loss_reduction import legacy_reduction
from dd2424.nn.module import Module


class Loss(Module):
    """A loss: `reduction` says how the losses of the samples become one number ("mean", "sum") or stay ("none")."""

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.reduction: Reduction = legacy_reduction(size_average, reduce, reduction)
