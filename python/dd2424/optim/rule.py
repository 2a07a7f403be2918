"""What optimizers share whose step over a group is one kernel call."""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424.optim.optimizer import Optimizer, Params, check_option


class RuleOptimizer(Optimizer):
    """An optimizer whose rule is a kernel: every step is one call over all parameters of a group.

    Subclasses name the rule, say what state it keeps (`_state_names`, in the kernel's order; None for what the group's
    options leave out) and which numbers it reads (`_numbers`).
    Raises: ValueError for options out of range; NotImplementedError for differentiable=True.
    """

    _rule: str
    _product: str | None = None  # the number besides "step" that the kernel counts on
    _blocks_done: Any = None  # on a GPU: how a kernel knows its last block, so that a step is one launch

    def __init__(self, params: Params, options: dict[str, Any]) -> None:
        name = type(self).__name__
        for option, value in options.items():
            if option == "betas":
                for number, beta in enumerate(value):
                    check_option(name, f"betas[{number}]", beta, 0.0, 1.0)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                check_option(name, option, value)
        if options.get("differentiable"):
            raise NotImplementedError(f"{name}: differentiable must be False, got True")
        super().__init__(params, options)

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        raise NotImplementedError

    def _numbers(self, group: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def _state_of(self, parameter: Any, names: tuple[str | None, ...]) -> dict[str, Any]:
        state = self.state[parameter]
        if not state:
            state["step"] = _core.zeros((), dtype=_core.float32, device=parameter.device)
            if self._product is not None:
                state[self._product] = _core.ones((), dtype=_core.float64, device=parameter.device)
            for name in names:
                if name is not None:
                    state[name] = _core.zeros_like(parameter)
        return state

    def _counter_on(self, device: Any) -> Any:
        if self._blocks_done is None and not _core.cuda_is_capturing():  # captured zeros would be none before a replay
            self._blocks_done = _core.zeros((), dtype=_core.int32, device=device)
        return self._blocks_done

    def _update(self, group: dict[str, Any]) -> None:
        params = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not params:
            return
        names = self._state_names(group)
        states = [self._state_of(parameter, names) for parameter in params]
        _core.adaptive_step(
            self._rule,
            params,
            [parameter.grad for parameter in params],
            [[] if name is None else [state[name] for state in states] for name in names],
            [state["step"] for state in states],
            [] if self._product is None else [state[self._product] for state in states],
            group["lr"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            maximize=group["maximize"],
            blocks_done=self._counter_on(params[0].device) if params[0].is_cuda else None,
            **self._numbers(group),
        )
