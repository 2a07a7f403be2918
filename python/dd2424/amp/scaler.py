"""Gradients in float16: a scaled loss, so that small ones survive."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from dd2424._autocast import is_autocast_available
from dd2424._core import Tensor
from dd2424._grad_mode import no_grad
from dd2424.optim.optimizer import Optimizer


class GradScaler:
    """Multiplies the loss, so that gradients too small for float16 survive, and divides them again before the step.

    A step whose gradients are not finite is left out and the factor multiplied by `backoff_factor`; after
    `growth_interval` good steps in a row it is multiplied by `growth_factor`.

        scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()

    Source: Micikevicius et al., "Mixed precision training", section 3.2, arXiv:1710.03740.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and not is_autocast_available(device):
            warnings.warn("GradScaler: there is no GPU to use, so nothing is scaled", stacklevel=2)
            enabled = False
        if growth_factor <= 1:
            raise ValueError(f"GradScaler: growth_factor must be above 1, got {growth_factor}")
        if not 0 < backoff_factor < 1:
            raise ValueError(f"GradScaler: backoff_factor must lie between 0 and 1, got {backoff_factor}")
        self._enabled, self._scale = enabled, float(init_scale)
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval, self._good_steps = growth_interval, 0
        self._is_finite: dict[
            int, bool
        ] = {}  # by optimizer: its gradients are divided already, and this is how they are
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """A loss, or losses in lists and tuples, times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, Iterable) and not isinstance(outputs, str):
            return type(outputs)(map(self.scale, outputs))  # type: ignore[call-arg]
        raise ValueError(f"GradScaler: outputs must be tensors, or lists and tuples of them, got {outputs!r}")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the factor now: to clip them before `step`, say.

        Raises: RuntimeError for a second time before `update`, or after `step`.
        """
        if not self._enabled:
            return
        if id(optimizer) in self._is_finite or id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler: unscale_ must be called once for an optimizer, before step, until update")
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        with no_grad():
            for gradient in gradients:
                gradient.mul_(1 / self._scale)
            self._is_finite[id(optimizer)] = all(bool(gradient.isfinite().all()) for gradient in gradients)

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """The optimizer's step on divided gradients, or nothing where any of them is not finite.

        Raises: RuntimeError for a second time before `update`.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("GradScaler: step must be called without a closure")
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler: step must be called once for an optimizer, until update")
        if id(optimizer) not in self._is_finite:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        return optimizer.step(*args, **kwargs) if self._is_finite[id(optimizer)] else None

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """The factor for the next iteration, by what the gradients of this one were, or `new_scale`.

        Raises: RuntimeError where no gradient has been looked at since the last time.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._is_finite:
            raise RuntimeError("GradScaler: update must come after step or unscale_")
        elif not all(self._is_finite.values()):
            self._scale, self._good_steps = self._scale * self._backoff_factor, 0
        elif self._good_steps + 1 == self._growth_interval:
            self._scale, self._good_steps = self._scale * self._growth_factor, 0
        else:
            self._good_steps += 1
        self._is_finite.clear()
        self._stepped.clear()

    def is_enabled(self) -> bool:
        return self._enabled

    def get_scale(self) -> float:
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """The factor and how it moves; nothing where the scaler is disabled."""
        if not self._enabled:
            return {}
        return {"scale": self._scale, "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
                "growth_interval": self._growth_interval, "_growth_tracker": self._good_steps}  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave. Raises: RuntimeError for an empty one."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("GradScaler: state_dict must not be empty, as that of a disabled scaler is")
        self._scale, self._good_steps = float(state_dict["scale"]), int(state_dict["_growth_tracker"])
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
