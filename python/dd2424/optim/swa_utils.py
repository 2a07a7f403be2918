"""Averages of a model's parameters over training: the mean of all, or one that forgets (EMA)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, Literal

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import no_grad
from dd2424.nn.module import Module
from dd2424.nn.norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from dd2424.optim.optimizer import Optimizer
from dd2424.optim.schedule import LRScheduler

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]  # fmt: skip

Average = Callable[[Tensor, Tensor, Any], Tensor]  # averaged, new, how many were averaged -> averaged
Averages = Callable[[list[Tensor], list[Tensor], Any], None]  # the same in place, for all


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """averaged = decay * averaged + (1 - decay) * new, in place. Raises: ValueError for a decay outside [0, 1]."""
    if not 0 <= decay <= 1:
        raise ValueError(f"get_ema_multi_avg_fn: decay must be in [0, 1], got {decay}")

    @no_grad()
    def update(averaged: list[Tensor], new: list[Tensor], _: Any) -> None:
        for old, current in zip(averaged, new, strict=True):
            if old.is_floating_point():
                old.add_(current.to(old.dtype) - old, alpha=1 - decay)
            else:
                old.copy_(current)

    return update


def get_swa_multi_avg_fn() -> Averages:
    """averaged = averaged + (new - averaged) / (n + 1), in place."""

    @no_grad()
    def update(averaged: list[Tensor], new: list[Tensor], num_averaged: Any) -> None:
        for old, current in zip(averaged, new, strict=True):
            if old.is_floating_point():
                old.add_(current.to(old.dtype) - old, alpha=1 / (float(num_averaged) + 1))
            else:
                old.copy_(current)

    return update


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """decay * averaged + (1 - decay) * new. Raises: ValueError for a decay outside [0, 1]."""
    if not 0 <= decay <= 1:
        raise ValueError(f"get_ema_avg_fn: decay must be in [0, 1], got {decay}")

    @no_grad()
    def average(averaged: Tensor, new: Tensor, _: Any) -> Tensor:
        return decay * averaged + (1 - decay) * new

    return average


def get_swa_avg_fn() -> Average:
    """averaged + (new - averaged) / (n + 1)."""

    @no_grad()
    def average(averaged: Tensor, new: Tensor, num_averaged: Any) -> Tensor:
        return averaged + (new - averaged) / (float(num_averaged) + 1)

    return average


class AveragedModel(Module):
    """A copy of a model whose parameters are the average of those that `update_parameters(model)` was shown.

    Without a function, the mean of all; `avg_fn` gives one tensor's new average, `multi_avg_fn` changes all in place.
    `use_buffers` averages buffers too, which otherwise are copied. Shapes: those of the model.
    Raises: ValueError where both functions are given. Source: Izmailov et al., "Averaging Weights", arXiv:1803.05407.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: avg_fn and multi_avg_fn must not both be given")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", _core.zeros((), dtype=_core.int64))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def _averaged(self, module: Module) -> list[Tensor]:
        members: list[Tensor] = list(module.parameters())
        return members + list(module.buffers()) if self.use_buffers else members

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the model's parameters, as they are now, into the average; the first are copied."""
        own = [tensor.detach() for tensor in self._averaged(self.module)]
        new = [tensor.detach() for tensor in self._averaged(model)]
        if int(self.n_averaged) == 0:
            for old, current in zip(own, new, strict=True):
                old.copy_(current)
        elif self.avg_fn is not None:
            for old, current in zip(own, new, strict=True):
                old.copy_(self.avg_fn(old, current, self.n_averaged))
        else:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(own, new, self.n_averaged)
        if not self.use_buffers:
            for old, current in zip(self.module.buffers(), model.buffers(), strict=True):
                old.detach().copy_(current.detach())
        self.n_averaged.add_(1)


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Set the running statistics of batch normalisation to their mean over the loader's batches (or over the first
    elements, where a batch is a tuple): averaged parameters have not seen any."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm1d | BatchNorm2d | BatchNorm3d)]
    if not norms:
        return
    momenta, was_training = [norm.momentum for norm in norms], model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for batch in loader:
        input = batch[0] if isinstance(batch, list | tuple) else batch
        model(input if device is None else input.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the rate at hand to `swa_lr` in anneal_epochs units of time, along a cosine or straight, and constant then.

    Raises: ValueError for another strategy or negative anneal_epochs. Source: arXiv:1803.05407, section 3.1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"SWALR: anneal_strategy must be 'cos' or 'linear', got '{anneal_strategy}'")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"SWALR: anneal_epochs must be a non-negative int, got {anneal_epochs}")
        groups = optimizer.param_groups
        rates = list(swa_lr) if isinstance(swa_lr, list | tuple) else [swa_lr] * len(groups)
        if len(rates) != len(groups):
            raise ValueError(f"SWALR: swa_lr must have one rate for each of {len(groups)} groups, got {len(rates)}")
        for group, rate in zip(groups, rates, strict=True):
            group["swa_lr"] = rate
        self.anneal_epochs, self.anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _done(self, time: int) -> float:
        if self.anneal_epochs == 0 or time >= self.anneal_epochs:
            return 1.0
        straight = max(0.0, time / self.anneal_epochs)
        return (1 - math.cos(math.pi * straight)) / 2 if self.anneal_strategy == "cos" else straight

    def get_lr(self) -> list[float]:
        before, now = self._done(self.last_epoch - 1), self._done(self.last_epoch)
        rates = []
        for group in self.optimizer.param_groups:
            # What the rate was before annealing, from what it is: so that another scheduler may change it meanwhile.
            start = group["swa_lr"] if before == 1 else (group["lr"] - before * group["swa_lr"]) / (1 - before)
            rates.append(start + (group["swa_lr"] - start) * now)
        return rates
