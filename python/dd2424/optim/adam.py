"""Adam and its kin: steps scaled by running means of the gradient and of its square."""

from __future__ import annotations

from typing import Any

from dd2424.optim.optimizer import Params
from dd2424.optim.rule import RuleOptimizer


class _AdamRule(RuleOptimizer):
    """Two means of which each beta says how long they remember."""

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq"

    def _numbers(self, group: dict[str, Any]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        return {"beta1": beta1, "beta2": beta2, "decoupled": group["decoupled_weight_decay"]}


class Adam(_AdamRule):
    """m and v are running means of g and g^2, from zero and corrected for it; one kernel call over a group:

        m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
        p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    `weight_decay` adds its multiple of p to g, or with `decoupled_weight_decay` shrinks p by lr times it; `amsgrad`
    takes the largest v so far.
    Raises: ValueError for options out of range. `foreach`, `capturable` and `fused` change nothing.
    Source: Kingma and Ba, "Adam", arXiv:1412.6980, algorithm 1; Reddi et al., arXiv:1904.09237, for amsgrad.
    """

    _rule = "adam"

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
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
                                  "capturable": capturable, "differentiable": differentiable, "fused": fused,
                                  "decoupled_weight_decay": decoupled_weight_decay})  # fmt: skip

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None

    def _numbers(self, group: dict[str, Any]) -> dict[str, Any]:
        return {**super()._numbers(group), "variant": group["amsgrad"]}


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


class NAdam(_AdamRule):
    """Adam with Nesterov momentum, b1 rising with time as mu_t = b1 (1 - 0.96^(t * momentum_decay) / 2):

        p = p - lr * ((1 - mu_t) / (1 - mu_1...mu_t) * g + mu_(t+1) / (1 - mu_1...mu_(t+1)) * m)
                / (sqrt(v / (1 - b2^t)) + eps)

    Source: Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016.
    """

    _rule, _product = "nadam", "mu_product"

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "momentum_decay": momentum_decay, "maximize": maximize, "foreach": foreach,
                                  "capturable": capturable, "differentiable": differentiable,
                                  "decoupled_weight_decay": decoupled_weight_decay})  # fmt: skip

    def _numbers(self, group: dict[str, Any]) -> dict[str, Any]:
        return {**super()._numbers(group), "decay": group["momentum_decay"]}


class RAdam(_AdamRule):
    """Adam whose step is rectified by r_t while the variance of its scale is large, and not scaled at all in the first
    steps, where that variance has no bound.

        l_t = l - 2 t b2^t / (1 - b2^t), l = 2 / (1 - b2) - 1;  r_t^2 = (l_t - 4) (l_t - 2) l / ((l - 4) (l - 2) l_t)

    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", arXiv:1908.03265, algorithm 2.
    """

    _rule = "radam"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "maximize": maximize, "foreach": foreach, "capturable": capturable,
                                  "differentiable": differentiable,
                                  "decoupled_weight_decay": decoupled_weight_decay})  # fmt: skip


class Adamax(_AdamRule):
    """Adam with the largest |g| so far, decaying, in place of the root of v.

        u = max(b2 u, |g| + eps);  p = p - lr / (1 - b1^t) * m / u

    Source: Kingma and Ba, "Adam", arXiv:1412.6980, algorithm 2.
    """

    _rule = "adamax"

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                                  "capturable": capturable})  # fmt: skip

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "exp_avg", "exp_inf"

    def _numbers(self, group: dict[str, Any]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        return {"beta1": beta1, "beta2": beta2}
