"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424.optim.optimizer import Optimizer, Params, check_option


class SGD(Optimizer):
    """One kernel call over all parameters of a group:

        g = grad (negated by maximize) + weight_decay * p
        b = momentum * b + (1 - dampening) * g          (b = g in the first step)
        p = p - lr * (g + momentum * b if nesterov else b)

    weight_decay = 2 * lambda is the course's lambda * sum of squares. Source: Sutskever et al., "On the importance of
    initialization and momentum in deep learning", ICML 2013, for nesterov.
    Raises: ValueError for negative options, or nesterov without momentum or with dampening.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
            check_option("SGD", name, value)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"SGD: nesterov needs momentum above 0 and dampening 0, got momentum {momentum}, dampening {dampening}"
            )
        if differentiable:
            raise NotImplementedError("SGD: differentiable must be False, got True")
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening,
                                  "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
                                  "foreach": foreach, "differentiable": differentiable, "fused": fused})  # fmt: skip

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = [], []
        for parameter in group["params"]:
            grad = parameter.grad
            if grad is not None:
                params.append(parameter)
                grads.append(grad)
        if not params:
            return
        momentum, state = group["momentum"], self.state
        buffers = [state[p].get("momentum_buffer") for p in params] if momentum else []
        is_first = None in buffers
        _core.sgd_step(params, grads, buffers, group["lr"], momentum, group["dampening"], group["weight_decay"],
                       group["nesterov"], group["maximize"])  # fmt: skip
        if is_first:  # the call has put new buffers in their places
            for parameter, buffer in zip(params, buffers, strict=True):
                state[parameter]["momentum_buffer"] = buffer
