"""Optimizers for whole data sets and long runs: steps by sign alone, and averages of the path."""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424.optim.optimizer import Optimizer, Params, check_option, with_gradient


class Rprop(Optimizer):
    """Steps of a size of its own for each element, in which only the gradient's sign counts:

        size = size * (etas[1] where g kept its sign, etas[0] where it changed), within step_sizes
        p = p - sign(g) * size, but where the sign changed, which counts as g = 0

    For gradients of the whole data set: noise changes signs. Shapes: any.
    Raises: ValueError for etas that are not 0 < etas[0] < 1 < etas[1].
    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning", ICNN 1993.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_option("Rprop", "lr", lr)
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Rprop: etas must be below and above 1, got {etas}")
        if differentiable:
            raise NotImplementedError("Rprop: differentiable must be False, got True")
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
                                  "maximize": maximize, "differentiable": differentiable,
                                  "capturable": capturable})  # fmt: skip

    def _update(self, group: dict[str, Any]) -> None:
        (shrink, grow), (smallest, largest) = group["etas"], group["step_sizes"]
        for parameter, grad in with_gradient(group):
            state = self.state[parameter]
            if not state:
                state["step"] = _core.zeros((), dtype=_core.float32)
                state["prev"] = _core.zeros_like(parameter)
                state["step_size"] = _core.full_like(parameter, group["lr"])
            state["step"].add_(1)
            agreement = grad * state["prev"]
            factor = _core.ones_like(agreement).masked_fill_(agreement > 0, grow).masked_fill_(agreement < 0, shrink)
            size = state["step_size"].mul_(factor).clamp_(smallest, largest)
            grad = _core.where(agreement < 0, 0.0, grad)
            parameter.sub_(_core.sign(grad) * size)
            state["prev"].copy_(grad)


class ASGD(Optimizer):
    """Gradient descent with a falling rate, and in `state[p]["ax"]` the average of p from step t0 on:

        p = (1 - lambd * eta) p - eta g;  eta = lr / (1 + lambd * lr * t)^alpha;  ax += (p - ax) / max(1, t - t0)

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM 1992.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_option("ASGD", "lr", lr)
        check_option("ASGD", "weight_decay", weight_decay)
        if differentiable:
            raise NotImplementedError("ASGD: differentiable must be False, got True")
        super().__init__(params, {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
                                  "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                                  "capturable": capturable})  # fmt: skip

    def _update(self, group: dict[str, Any]) -> None:
        lr, decay = group["lr"], group["lambd"]
        for parameter, grad in with_gradient(group):
            state = self.state[parameter]
            if not state:
                state["step"] = _core.zeros((), dtype=_core.float32)
                state["eta"] = _core.full((), lr, dtype=_core.float64)
                state["mu"] = _core.ones((), dtype=_core.float64)
                state["ax"] = _core.zeros_like(parameter)
            state["step"].add_(1)
            step, eta = float(state["step"].item()), float(state["eta"].item())
            if group["weight_decay"]:
                grad = _core.add(grad, parameter, alpha=group["weight_decay"])
            parameter.mul_(1 - decay * eta).add_(grad, alpha=-eta)
            state["ax"].add_(parameter - state["ax"], alpha=float(state["mu"].item()))
            state["eta"].fill_(lr / (1 + decay * lr * step) ** group["alpha"])
            state["mu"].fill_(1 / max(1.0, step - group["t0"]))
