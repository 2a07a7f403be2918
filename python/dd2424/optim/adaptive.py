"""Optimizers that scale each element's step by the size of its gradients so far."""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424.optim.optimizer import Params, check_option
from dd2424.optim.rule import RuleOptimizer


class RMSprop(RuleOptimizer):
    """Steps divided by the root of a running mean of g^2 (about the mean of g where `centered`):

        v = alpha v + (1 - alpha) g^2;  p = p - lr * g / (sqrt(v) + eps), through a momentum buffer if asked

    Source: Hinton, "Neural Networks for Machine Learning", lecture 6e; Graves, arXiv:1308.0850, for centered.
    """

    _rule = "rmsprop"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                                  "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
                                  "maximize": maximize, "differentiable": differentiable})  # fmt: skip

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return (
            "square_avg",
            "momentum_buffer" if group["momentum"] > 0 else None,
            "grad_avg" if group["centered"] else None,
        )

    def _numbers(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"beta2": group["alpha"], "momentum": group["momentum"], "variant": group["centered"]}


class Adagrad(RuleOptimizer):
    """Steps divided by the root of the sum of g^2 so far: p = p - lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps).

    Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods", JMLR 2011.
    """

    _rule = "adagrad"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                                  "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
                                  "maximize": maximize, "differentiable": differentiable, "fused": fused})  # fmt: skip

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with options that replace the defaults."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for parameter in group["params"]:
            self._start(parameter, group)

    def _start(self, parameter: Any, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        state["step"] = _core.zeros((), dtype=_core.float32, device=parameter.device)
        state["sum"] = _core.full_like(parameter, group["initial_accumulator_value"])

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("sum",)

    def _numbers(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"decay": group["lr_decay"]}


class Adadelta(RuleOptimizer):
    """Steps in units of earlier steps: p = p - lr * sqrt(u + eps) / sqrt(v + eps) * g, v and u being running means of
    the squares of the gradient and of the step.

    Source: Zeiler, "ADADELTA", arXiv:1212.5701.
    """

    _rule = "adadelta"

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_option("Adadelta", "rho", rho, 0.0, 1.0, closed=True)
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay,
                                  "maximize": maximize, "capturable": capturable, "foreach": foreach,
                                  "differentiable": differentiable})  # fmt: skip

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "square_avg", "acc_delta"

    def _numbers(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"beta2": group["rho"]}
