"""Schedulers whose rate rises and falls: cycles, one cycle, warm restarts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dd2424.optim.optimizer import Optimizer
from dd2424.optim.schedule import LRScheduler


def _for_each(optimizer: Optimizer, name: str, value: float | list[float] | tuple[float, ...]) -> list[float]:
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"{name} must have the same length as optimizer.param_groups: {groups}, got {len(value)}")
    return list(value)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts again after T_0 units of time, then after T_mult times as many, and so on.

    Source: Loshchilov and Hutter, "SGDR", arXiv:1608.03983.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"CosineAnnealingWarmRestarts: T_0 must be an int above 0, got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"CosineAnnealingWarmRestarts: T_mult must be an int above 0, got {T_mult}")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self.T_i, self.T_cur = T_0, float(last_epoch)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on by one unit of time, or to time `epoch`, which may be a fraction."""
        time = self.last_epoch + 1 if epoch is None else epoch
        if time < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: epoch must be 0 or more, got {time}")
        self._step_count += 1
        self.T_i, self.T_cur = self.T_0, time
        if self.T_mult == 1:
            self.T_cur = time % self.T_0
        else:
            while self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        self.last_epoch = math.floor(time)
        self._set(self.get_lr())


class CyclicLR(LRScheduler):
    """From base_lr up to max_lr in step_size_up steps, down again in step_size_down, and so on: at time 0 base_lr.

        lr = base_lr + (max_lr - base_lr) * height * scale

    mode: "triangular", scale 1; "triangular2", half in every further cycle; "exp_range", gamma^time; or a `scale_fn`
    of the cycle's number or of the time (`scale_mode` "cycle", "iterations"). With `cycle_momentum` (for optimizers
    that have one) the momentum goes the other way, from max_momentum down to base_momentum.
    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range' without a scale_fn, got {mode!r}"
            )
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, _for_each(optimizer, "base_lr", base_lr), strict=True):
                group["lr"] = rate
        self.max_lrs = _for_each(optimizer, "max_lr", max_lr)
        self.step_size_up = float(step_size_up)
        self.total_size = self.step_size_up + float(step_size_up if step_size_down is None else step_size_down)
        self.mode, self.gamma, self._scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self._momentum = _Momentum(optimizer, base_momentum, max_momentum, last_epoch) if cycle_momentum else None
        super().__init__(optimizer, last_epoch)
        self.base_lrs = _for_each(optimizer, "base_lr", base_lr)

    def scale_fn(self, x: float) -> float:
        """The factor on the height of a cycle."""
        if self._scale_fn is not None:
            return self._scale_fn(x)
        if self.mode == "exp_range":
            return float(self.gamma**x)
        return 1.0 if self.mode == "triangular" else 1 / 2.0 ** (x - 1)

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1 + self.last_epoch / self.total_size - cycle
        rise = self.step_size_up / self.total_size
        height = x / rise if x <= rise else (x - 1) / (rise - 1)
        height *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self._momentum is not None:
            self._momentum.set(height)
        return [base + (top - base) * height for base, top in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name not in ("_momentum", "_scale_fn")}


class _Momentum:
    """The momentum of an optimizer, or Adam's first beta, between two bounds."""

    def __init__(self, optimizer: Optimizer, base: Any, top: Any, last_epoch: int) -> None:
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError(
                f"cycle_momentum must be False for {type(optimizer).__name__}, which has neither momentum nor betas"
            )
        self.uses_betas = "betas" in optimizer.defaults
        self.groups = optimizer.param_groups
        self.base = _for_each(optimizer, "base_momentum", base)
        self.top = _for_each(optimizer, "max_momentum", top)
        if last_epoch == -1:
            self.set(0.0)

    def set(self, height: float) -> None:
        """`height` 0 is the upper bound, 1 the lower."""
        self.put([top - (top - base) * height for base, top in zip(self.base, self.top, strict=True)])

    def put(self, values: list[float]) -> None:
        for group, value in zip(self.groups, values, strict=True):
            if self.uses_betas:
                group["betas"] = (value, *group["betas"][1:])
            else:
                group["momentum"] = value


class OneCycleLR(LRScheduler):
    """From max_lr / div_factor up to max_lr in the first pct_start of total_steps, then down to the initial rate over
    final_div_factor; along cosines ("cos") or straight ("linear"). `three_phase` goes down symmetrically first.
    Momentum goes the other way. Raises: ValueError for a step past total_steps.

    Source: Smith and Topin, "Super-Convergence", arXiv:1708.07120.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: total_steps must be given, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps <= 0:
            raise ValueError(f"OneCycleLR: total_steps must be above 0, got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must lie in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        up = float(pct_start * total_steps) - 1
        self._ends = (
            [up, 2 * pct_start * total_steps - 2, total_steps - 1.0] if three_phase else [up, total_steps - 1.0]
        )
        self.max_lrs = _for_each(optimizer, "max_lr", max_lr)
        if last_epoch == -1:
            for group, top in zip(optimizer.param_groups, self.max_lrs, strict=True):
                group["initial_lr"] = group["lr"] = top / div_factor
        self.final_div_factor = final_div_factor
        self._momentum = _Momentum(optimizer, base_momentum, max_momentum, last_epoch) if cycle_momentum else None
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, done: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * done
        return end + (start - end) / 2 * (math.cos(math.pi * done) + 1)

    def _at(self, levels: list[float]) -> float:
        begin = 0.0
        for phase, end in enumerate(self._ends):
            if self.last_epoch <= end or phase == len(self._ends) - 1:
                return self._between(levels[phase], levels[phase + 1], (self.last_epoch - begin) / (end - begin))
            begin = end
        raise AssertionError("the last phase has no end")

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:  # one step beyond the last is let pass, as in PyTorch: loops end with it
            raise ValueError(f"OneCycleLR: step must be called at most total_steps = {self.total_steps} times")
        middle = len(self._ends) - 2
        if self._momentum is not None:
            bounds = zip(self._momentum.base, self._momentum.top, strict=True)
            self._momentum.put([self._at([top, base, *[top] * (middle + 1)]) for base, top in bounds])
        return [self._at([group["initial_lr"], top, *[group["initial_lr"]] * middle,
                          group["initial_lr"] / self.final_div_factor])
                for group, top in zip(self.optimizer.param_groups, self.max_lrs, strict=True)]  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name != "_momentum"}
