"""A module's state as a flat dictionary of tensors, and back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dd2424._core import Tensor
from dd2424._grad_mode import no_grad
from dd2424.nn.module_hooks import HookHandle, add_hook
from dd2424.nn.module_members import BUFFER, MODULE, PARAMETER, Members
from dd2424.nn.parameter import Parameter, is_lazy

EXTRA_STATE = "_extra_state"
StateDict = Mapping[str, Any]


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Stateful(Members):
    """Members that can be saved and loaded under PyTorch's keys: parameters, persistent buffers, then submodules."""

    _state_hooks: dict[str, dict[int, Callable[..., Any]]] | None = None

    def get_extra_state(self) -> Any:
        """State beyond tensors, saved under `_extra_state`; for subclasses to override together with the setter."""
        raise RuntimeError("get_extra_state: must be overridden by a module that has extra state")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""
        raise RuntimeError("set_extra_state: must be overridden by a module that has extra state")

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted name; the tensors share memory with the module's.

        `keep_vars` gives the parameters themselves in place of detached ones.
        """
        state: dict[str, Any] = OrderedDict() if destination is None else destination
        self._run_state_hooks("before_save", self, prefix, keep_vars)
        self._save_to_state_dict(state, prefix, keep_vars)
        for name, module in self._members(MODULE):
            if module is not None:
                module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        self._run_state_hooks("after_save", self, state, prefix, {})
        return state

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for kind in (PARAMETER, BUFFER):
            for name, tensor in self._members(kind):
                if tensor is not None:
                    destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if type(self).get_extra_state is not Stateful.get_extra_state:
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def load_state_dict(self, state_dict: StateDict, strict: bool = True, assign: bool = False) -> IncompatibleKeys:
        """Copy the tensors of `state_dict` into this module's, or with `assign` put them in their place.

        Raises: RuntimeError naming every missing or unexpected key (where `strict`) and every size that differs;
        TypeError where `state_dict` is no mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: state_dict must be a mapping, got {type(state_dict).__name__}")
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        state = dict(state_dict)
        self._load(state, "", strict, assign, missing, unexpected, errors)
        if strict and unexpected:
            errors.insert(0, "unknown to the module: " + _quoted(unexpected))
        if strict and missing:
            errors.insert(0, "missing from state_dict: " + _quoted(missing))
        if errors:
            raise RuntimeError(
                f"load_state_dict: state_dict does not fit {type(self).__name__}:\n\t" + "\n\t".join(errors)
            )
        return IncompatibleKeys(missing, unexpected)

    def _load(
        self,
        state: dict[str, Any],
        prefix: str,
        strict: bool,
        assign: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        metadata = {"assign_to_params_buffers": assign}
        self._load_from_state_dict(state, prefix, metadata, strict, missing, unexpected, errors)
        for name, module in self._members(MODULE):
            if module is not None:
                module._load(state, f"{prefix}{name}.", strict, assign, missing, unexpected, errors)
        self._run_state_hooks("after_load", self, IncompatibleKeys(missing, unexpected))

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        arguments = (state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        self._run_state_hooks("before_load", self, *arguments)
        assign = bool(local_metadata.get("assign_to_params_buffers"))
        for name, member in [*self._members(PARAMETER), *self._members(BUFFER)]:
            key = prefix + name
            if member is not None and key in state_dict:
                self._load_member(name, key, member, state_dict[key], assign, error_msgs)
            elif member is not None:
                missing_keys.append(key)
        key = prefix + EXTRA_STATE
        if type(self).set_extra_state is not Stateful.set_extra_state:
            if key in state_dict:
                self.set_extra_state(state_dict[key])
            else:
                missing_keys.append(key)
        elif key in state_dict:
            unexpected_keys.append(key)
        unexpected_keys.extend(self._unexpected(state_dict, prefix))

    def _load_member(
        self, name: str, key: str, member: Tensor, value: Any, assign: bool, error_msgs: list[str]
    ) -> None:
        if not isinstance(value, Tensor):
            error_msgs.append(f"{key}: must be a tensor, got {type(value).__name__}")
            return
        if is_lazy(member):
            member.materialize(value.shape)  # type: ignore[attr-defined]
        if value.shape != member.shape:
            error_msgs.append(f"{key}: shape {tuple(value.shape)} in state_dict, {tuple(member.shape)} in the module")
        elif assign:
            is_parameter = isinstance(member, Parameter) and not isinstance(value, Parameter)
            self.__dict__[name] = Parameter(value, member.requires_grad) if is_parameter else value
        else:
            with no_grad():
                member.copy_(value)

    def _unexpected(self, state_dict: dict[str, Any], prefix: str) -> list[str]:
        own = {prefix + name for kind in (PARAMETER, BUFFER) for name, _ in self._members(kind)}
        below = tuple(f"{prefix}{name}." for name, _ in self._members(MODULE))
        return [
            key
            for key in state_dict
            if key.startswith(prefix) and key not in own and key != prefix + EXTRA_STATE and not key.startswith(below)
        ]

    def register_state_dict_pre_hook(self, hook: Callable[..., None]) -> HookHandle:
        """Call hook(module, prefix, keep_vars) before this module's state is gathered."""
        return self._add_state_hook("before_save", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., None]) -> HookHandle:
        """Call hook(module, state_dict, prefix, local_metadata) after this module's state is gathered."""
        return self._add_state_hook("after_save", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., None]) -> HookHandle:
        """Call hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        before this module's tensors are loaded; it may change `state_dict`."""
        return self._add_state_hook("before_load", hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., None]) -> HookHandle:
        """Call hook(module, incompatible_keys) after this module and those below it are loaded."""
        return self._add_state_hook("after_load", hook)

    def _add_state_hook(self, when: str, hook: Callable[..., Any]) -> HookHandle:
        if self._state_hooks is None:
            self._state_hooks = {}
        return add_hook(self._state_hooks.setdefault(when, {}), hook)

    def _run_state_hooks(self, when: str, *arguments: Any) -> None:
        if self._state_hooks is not None:
            for hook in tuple(self._state_hooks.get(when, {}).values()):
                hook(*arguments)


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
