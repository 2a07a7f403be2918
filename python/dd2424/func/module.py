"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424.nn.module import Module

__all__ = ["functional_call", "stack_module_state"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with these tensors in place of its parameters and buffers, by their dotted names.

    What is not named stays; a tensor that stands under several names is replaced under all (`tie_weights`). Afterwards
    the module is as it was, whatever happened. `args` may be a single argument.
    Raises: KeyError for a name that the module lacks; RuntimeError, with `strict`, for one that is not given.
    """
    given: dict[str, Tensor] = {}
    several = not isinstance(parameter_and_buffer_dicts, Mapping)
    for part in parameter_and_buffer_dicts if several else (parameter_and_buffer_dicts,):
        given.update(part)  # type: ignore[arg-type]
    own = dict([*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)])
    unknown = sorted(set(given) - set(own))
    if unknown:
        raise KeyError(
            f"functional_call: {type(module).__name__} has no parameter or buffer named {', '.join(unknown)}"
        )
    if tie_weights:
        by_identity = {id(own[name]): x for name, x in given.items()}
        given = {name: by_identity[id(x)] for name, x in own.items() if id(x) in by_identity} | given
    if strict and len(given) < len(own):
        raise RuntimeError(
            f"functional_call: tensors must be given for all, got none for {sorted(set(own) - set(given))}"
        )
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    places = [(_owner(module, name), name.rpartition(".")[2], x) for name, x in given.items()]
    before = [owner.__dict__[leaf] for owner, leaf, _ in places]
    try:
        for owner, leaf, x in places:
            owner.__dict__[leaf] = x
        return module(*arguments, **(kwargs or {}))
    finally:
        for (owner, leaf, _), x in zip(places, before, strict=True):
            owner.__dict__[leaf] = x


def _owner(module: Module, name: str) -> Module:
    return module.get_submodule(name.rpartition(".")[0])


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of several modules of one form, each stacked along a new first dimension.

    Raises: RuntimeError for no modules, or for modules of several classes.
    """
    if not models or len({type(model) for model in models}) != 1:
        raise RuntimeError(f"stack_module_state: models must be of one class, got {[type(m).__name__ for m in models]}")
    parameters = [dict(model.named_parameters()) for model in models]
    buffers = [dict(model.named_buffers()) for model in models]
    stacked = {name: _core.stack([each[name].detach() for each in parameters]) for name in parameters[0]}
    for name, x in stacked.items():
        x.requires_grad_(parameters[0][name].requires_grad)
    return stacked, {name: _core.stack([each[name] for each in buffers]) for name in buffers[0]}
