"""The base class of optimizers: parameters in groups, state for each, and how both are saved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from math import inf
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import enable_grad
from dd2424.nn.module_hooks import HookHandle, add_hook

Params = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
Closure = Callable[[], Any]


class Optimizer:
    """Changes parameters by their gradients. Subclasses override `_update`, which steps one group, or `step` itself.

    param_groups: dictionaries of "params" and their options; state: what a subclass keeps for each parameter.
    Raises: ValueError for no parameters, or one that is twice in a group; TypeError for what is no tensor.
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError("Optimizer: params must be an iterable of tensors or dictionaries, got a tensor")
        self.defaults = defaults
        self.state: dict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._pre_hooks: dict[int, Callable[..., Any]] = {}
        self._post_hooks: dict[int, Callable[..., Any]] = {}
        groups = list(params)
        if not groups:
            raise ValueError("Optimizer: params must hold at least one tensor, got none")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)  # type: ignore[arg-type]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with options that replace the defaults."""
        group = dict(param_group)
        given = group["params"]
        members = [given] if isinstance(given, Tensor) else list(given)
        if members and isinstance(members[0], tuple):
            group["param_names"] = [name for name, _ in members]
            members = [parameter for _, parameter in members]
        for parameter in members:
            if not isinstance(parameter, Tensor):
                raise TypeError(f"Optimizer: params must be tensors, got {type(parameter).__name__}")
            if not parameter.is_leaf:
                raise ValueError("Optimizer: params must be leaves, got the result of an operation")
        known = {id(parameter) for other in self.param_groups for parameter in other["params"]}
        ids = [id(parameter) for parameter in members]
        if len(set(ids)) < len(ids) or known & set(ids):
            raise ValueError("Optimizer: params must not name a tensor twice, within a group or in two")
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        group["params"] = members
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or set them to zero in place."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad = parameter.grad.detach().zero_()

    def step(self, closure: Closure | None = None) -> Any:
        """Change every parameter that has a gradient; `closure` computes loss and gradients first and is returned."""
        for hook in tuple(self._pre_hooks.values()):
            hook(self, (), {})
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        before = _core.is_grad_enabled()
        _core.set_grad_enabled(False)
        try:
            for group in self.param_groups:
                self._update(group)
        finally:
            _core.set_grad_enabled(before)
        for hook in tuple(self._post_hooks.values()):
            hook(self, (), {})
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__}: step must be overridden")

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call hook(optimizer, args, kwargs) before every step."""
        return add_hook(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call hook(optimizer, args, kwargs) after every step."""
        return add_hook(self._post_hooks, hook)

    def state_dict(self) -> dict[str, Any]:
        """State and groups with the parameters replaced by their numbers, in the order of the groups."""
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for parameter in group["params"]:
                numbers[id(parameter)] = len(numbers)
            packed = {name: value for name, value in group.items() if name != "params"}
            groups.append({**packed, "params": [numbers[id(parameter)] for parameter in group["params"]]})
        state = {numbers[id(p)] if isinstance(p, Tensor) else p: values for p, values in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over state and options, the parameters staying ours.

        Raises: ValueError where the groups have other numbers of parameters.
        """
        groups = [dict(group) for group in state_dict["param_groups"]]
        if len(groups) != len(self.param_groups):
            raise ValueError(
                f"load_state_dict: state_dict must have {len(self.param_groups)} parameter groups, got {len(groups)}"
            )
        parameters: dict[int, Tensor] = {}
        for group, own in zip(groups, self.param_groups, strict=True):
            if len(group["params"]) != len(own["params"]):
                raise ValueError(f"load_state_dict: a group must have {len(own['params'])} parameters, as in the "
                                 f"optimizer, got {len(group['params'])}")  # fmt: skip
            parameters.update(zip(group["params"], own["params"], strict=True))
        state: dict[Any, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            key = parameters.get(number, number)
            state[key] = {name: _restored(name, value, key) for name, value in values.items()}
        self.state = state
        self.param_groups = [
            {
                **self.defaults,
                **deepcopy({name: value for name, value in group.items() if name != "params"}),
                "params": own["params"],
            }
            for group, own in zip(groups, self.param_groups, strict=True)
        ]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pre_hooks, self._post_hooks = {}, {}


_COUNTERS = {"step", "mu_product", "eta", "mu"}  # numbers with a dtype of their own, whatever the parameter's


def _restored(name: str, value: Any, parameter: Any) -> Any:
    """A copy in the parameter's dtype, but for counts of steps, and on its device."""
    if not isinstance(value, Tensor):
        return deepcopy(value)
    if name not in _COUNTERS and isinstance(parameter, Tensor) and parameter.is_floating_point():
        if value.shape == parameter.shape:  # laid out as the parameter is: a kernel walks both
            return _core.empty_like(parameter).copy_(value.detach())
        return value.detach().to(parameter.device, parameter.dtype).clone()
    return value.detach().to(parameter.device).clone() if isinstance(parameter, Tensor) else value.detach().clone()


def with_gradient(group: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """The group's parameters that have a gradient, with it; negated where the group maximizes."""
    sign = -1 if group.get("maximize") else 1
    return [(p, p.grad if sign == 1 else -p.grad) for p in group["params"] if p.grad is not None]


def check_option(
    optimizer: str, name: str, value: float, low: float = 0.0, high: float = inf, closed: bool = False
) -> None:
    """Raises: ValueError where an option is not in [low, high), or in [low, high] where `closed`."""
    if not (low <= value < high or (value == high and (closed or high == inf))):
        expected = f"at least {low}" if high == inf else f"in [{low}, {high}{']' if closed else ')'}"
        raise ValueError(f"{optimizer}: {name} must be {expected}, got {value}")
