"""Adam and its kin: steps scaled by running means of the gradient and of its square."""

from __future__ import annotations

import math
from typing import Any

from dd2424 import _core
from dd2424.optim.optimizer import Optimizer, Params, check_option, with_gradient


class Adam(Optimizer):
    """m and v are running means of g and g^2, from zero and corrected for it:

        m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
        p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    `weight_decay` adds its multiple of p to g, or with `decoupled_weight_decay` shrinks p by lr times it; `amsgrad`
    takes the largest v so far.
    Source: Kingma and Ba, "Adam", arXiv:1412.6980, algorithm 1; Reddi et al., arXiv:1904.09237, for amsgrad.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        name = type(self).__name__
        for option, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            check_option(name, option, value)
        for number, beta in enumerate(betas):
            check_option(name, f"betas[{number}]", beta, 0.0, 1.0)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
                                  "capturable": capturable, "differentiable": differentiable, "fused": fused,
                                  "decoupled_weight_decay": decoupled_weight_decay})  # fmt: skip

    def _update(self, group: dict[str, Any]) -> None:
        (beta1, beta2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
        for parameter, grad in with_gradient(group):
            state = self.state[parameter]
            if not state:
                state["step"] = _core.zeros((), dtype=_core.float32)
                state["exp_avg"], state["exp_avg_sq"] = _core.zeros_like(parameter), _core.zeros_like(parameter)
                if group["amsgrad"]:
                    state["max_exp_avg_sq"] = _core.zeros_like(parameter)
            state["step"].add_(1)
            step = state["step"].item()
            if decay and group["decoupled_weight_decay"]:
                parameter.mul_(1 - lr * decay)
            elif decay:
                grad = _core.add(grad, parameter, alpha=decay)
            mean, square = state["exp_avg"], state["exp_avg_sq"]
            mean.mul_(beta1).add_(grad, alpha=1 - beta1)
            square.mul_(beta2).add_(_core.square(grad), alpha=1 - beta2)
            if group["amsgrad"]:
                square = state["max_exp_avg_sq"].copy_(_core.maximum(state["max_exp_avg_sq"], square))
            root = _core.sqrt(square).div_(math.sqrt(1 - beta2**step)).add_(group["eps"])
            parameter.add_(mean / root, alpha=-lr / (1 - beta1**step))


class AdamW(Adam):
    """`Adam` with weight decay that shrinks the parameter itself: p = p - lr * weight_decay * p.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, foreach=foreach,
                         capturable=capturable, differentiable=differentiable, fused=fused,
                         decoupled_weight_decay=True)  # fmt: skip


class Adamax(Optimizer):
    """Adam with the largest |g| so far, decaying, in place of the root of v.

    Source: Kingma and Ba, "Adam", arXiv:1412.6980, algorithm 2.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        for option, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            check_option("Adamax", option, value)
        for number, beta in enumerate(betas):
            check_option("Adamax", f"betas[{number}]", beta, 0.0, 1.0)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "maximize": maximize})  # fmt: skip

    def _update(self, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        for parameter, grad in with_gradient(group):
            state = self.state[parameter]
            if not state:
                state["step"] = _core.zeros((), dtype=_core.float32)
                state["exp_avg"], state["exp_inf"] = _core.zeros_like(parameter), _core.zeros_like(parameter)
            state["step"].add_(1)
            if group["weight_decay"]:
                grad = _core.add(grad, parameter, alpha=group["weight_decay"])
            mean, largest = state["exp_avg"], state["exp_inf"]
            mean.mul_(beta1).add_(grad, alpha=1 - beta1)
            largest.copy_(_core.maximum(largest * beta2, _core.abs(grad) + group["eps"]))
            parameter.add_(mean / largest, alpha=-group["lr"] / (1 - beta1 ** state["step"].item()))
