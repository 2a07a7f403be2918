"""Optimizers that scale each element's step by the size of its gradients so far."""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424.optim.optimizer import Optimizer, Params, check_option, with_gradient


def _decayed(group: dict[str, Any], parameter: Any, grad: Any) -> Any:
    return _core.add(grad, parameter, alpha=group["weight_decay"]) if group["weight_decay"] else grad


class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of g^2 (about the mean of g where `centered`):

        v = alpha v + (1 - alpha) g^2;  p = p - lr * g / (sqrt(v) + eps), through a momentum buffer if asked

    Source: Hinton, "Neural Networks for Machine Learning", lecture 6e; Graves, arXiv:1308.0850, for centered.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        for name, value in options.items():
            check_option("RMSprop", name, value)
        super().__init__(params, {**options, "centered": centered, "maximize": maximize})

    def _update(self, group: dict[str, Any]) -> None:
        alpha, lr = group["alpha"], group["lr"]
        for parameter, grad in with_gradient(group):
            state = self.state[parameter]
            if not state:
                state["step"] = _core.zeros((), dtype=_core.float32)
                state["square_avg"] = _core.zeros_like(parameter)
                if group["momentum"] > 0:
                    state["momentum_buffer"] = _core.zeros_like(parameter)
                if group["centered"]:
                    state["grad_avg"] = _core.zeros_like(parameter)
            state["step"].add_(1)
            grad = _decayed(group, parameter, grad)
            square = state["square_avg"].mul_(alpha).add_(_core.square(grad), alpha=1 - alpha)
            if group["centered"]:
                mean = state["grad_avg"]
                mean.add_(grad - mean, alpha=1 - alpha)
                square = square - _core.square(mean)
            scaled = grad / _core.sqrt(square).add_(group["eps"])
            if group["momentum"] > 0:
                scaled = state["momentum_buffer"].mul_(group["momentum"]).add_(scaled)
            parameter.add_(scaled, alpha=-lr)


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of g^2 so far: p = p - lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps).

    Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods", JMLR 2011.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                   "initial_accumulator_value": initial_accumulator_value}  # fmt: skip
        for name, value in options.items():
            check_option("Adagrad", name, value)
        super().__init__(params, {**options, "maximize": maximize})
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["step"] = _core.zeros((), dtype=_core.float32)
                state["sum"] = _core.full_like(parameter, group["initial_accumulator_value"])

    def _update(self, group: dict[str, Any]) -> None:
        for parameter, grad in with_gradient(group):
            state = self.state[parameter]
            state["step"].add_(1)
            grad = _decayed(group, parameter, grad)
            rate = group["lr"] / (1 + (state["step"].item() - 1) * group["lr_decay"])
            total = state["sum"].add_(_core.square(grad))
            parameter.add_(grad / _core.sqrt(total).add_(group["eps"]), alpha=-rate)


class Adadelta(Optimizer):
    """Steps in units of earlier steps: p = p - lr * sqrt(u + eps) / sqrt(v + eps) * g, v and u being running means of
    the squares of the gradient and of the step.

    Source: Zeiler, "ADADELTA", arXiv:1212.5701.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            check_option("Adadelta", name, value)
        if not 0 <= rho <= 1:
            raise ValueError(f"Adadelta: rho must be in [0, 1], got {rho}")
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def _update(self, group: dict[str, Any]) -> None:
        rho, eps = group["rho"], group["eps"]
        for parameter, grad in with_gradient(group):
            state = self.state[parameter]
            if not state:
                state["step"] = _core.zeros((), dtype=_core.float32)
                state["square_avg"], state["acc_delta"] = _core.zeros_like(parameter), _core.zeros_like(parameter)
            state["step"].add_(1)
            grad = _decayed(group, parameter, grad)
            square = state["square_avg"].mul_(rho).add_(_core.square(grad), alpha=1 - rho)
            delta = _core.sqrt(state["acc_delta"] + eps) / _core.sqrt(square + eps) * grad
            state["acc_delta"].mul_(rho).add_(_core.square(delta), alpha=1 - rho)
            parameter.add_(delta, alpha=-group["lr"])
