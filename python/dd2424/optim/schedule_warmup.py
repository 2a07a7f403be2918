"""Schedulers that begin with a rise from near 0, as Transformers are trained."""

from __future__ import annotations

import math

from dd2424.optim.optimizer import Optimizer
from dd2424.optim.schedule import LRScheduler


class _WarmupLR(LRScheduler):
    """The initial rate times (time + 1) / warmup_steps, until that is 1; then times what `_factor` says."""

    def __init__(self, optimizer: Optimizer, warmup_steps: int, last_epoch: int = -1) -> None:
        if warmup_steps < 0:
            raise ValueError(f"{type(self).__name__}: warmup_steps must not be negative, got {warmup_steps}")
        self.warmup_steps = warmup_steps
        super().__init__(optimizer, last_epoch)

    def _factor(self, time: int) -> float:
        raise NotImplementedError(f"{type(self).__name__}: _factor must be overridden")

    def get_lr(self) -> list[float]:
        time = self.last_epoch
        factor = (time + 1) / self.warmup_steps if time < self.warmup_steps else self._factor(time)
        return [base * factor for base in self.base_lrs]

    _get_closed_form_lr = get_lr


class WarmupCosineLR(_WarmupLR):
    """A linear rise over `warmup_steps`, then half a cosine down to `min_ratio` of the initial rate at `total_steps`.

    The first update has the rate initial / warmup_steps; after total_steps the rate stays.
    Raises: ValueError for a negative warmup_steps, or a total_steps that is not above it.
    Source: Loshchilov and Hutter, "SGDR", arXiv:1608.03983; Brown et al., arXiv:2005.14165, appendix B (warm-up).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        total_steps: int,
        min_ratio: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if total_steps <= warmup_steps:
            raise ValueError(
                f"WarmupCosineLR: total_steps must be above warmup_steps {warmup_steps}, got {total_steps}"
            )
        self.total_steps, self.min_ratio = total_steps, min_ratio
        super().__init__(optimizer, warmup_steps, last_epoch)

    def _factor(self, time: int) -> float:
        share = min((time - self.warmup_steps) / (self.total_steps - self.warmup_steps), 1.0)
        return self.min_ratio + (1 - self.min_ratio) * (1 + math.cos(math.pi * share)) / 2


class InverseSquareRootLR(_WarmupLR):
    """A linear rise over `warmup_steps`, then a fall with one over the square root of time.

        lr = initial * min((t + 1) / w, sqrt(w / (t + 1)))

    With the initial rate 1 / sqrt(d_model * w) it is the Transformer's own.
    Raises: ValueError for a negative warmup_steps.
    Source: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, equation 3.
    """

    def _factor(self, time: int) -> float:
        return math.sqrt(max(self.warmup_steps, 1) / (time + 1))
