"""Tensors in nested tuples, lists and dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dd2424._core import Tensor

Rebuild = Callable[[list[Any]], Any]


def flatten(tree: Any) -> tuple[list[Any], Rebuild]:
    """The leaves in order, and what makes the tree of others in their place."""
    if isinstance(tree, Mapping):
        keys, parts = list(tree), [flatten(value) for value in tree.values()]
        return _joined(parts, lambda made: type(tree)(zip(keys, made, strict=True)))  # type: ignore[call-arg]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return _joined([flatten(value) for value in tree], lambda made: type(tree)(*made))
    if isinstance(tree, tuple | list):
        return _joined([flatten(value) for value in tree], lambda made: type(tree)(made))
    return [tree], lambda leaves: leaves[0]


def _joined(parts: list[tuple[list[Any], Rebuild]], make: Callable[[list[Any]], Any]) -> tuple[list[Any], Rebuild]:
    def rebuild(leaves: list[Any]) -> Any:
        made, begin = [], 0
        for part, rebuild_part in parts:
            made.append(rebuild_part(leaves[begin : begin + len(part)]))
            begin += len(part)
        return make(made)

    return [leaf for part, _ in parts for leaf in part], rebuild


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """The tree with function(tensor) in place of every tensor."""
    leaves, rebuild = flatten(tree)
    return rebuild([function(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves])


def spread(prefix: Any, tree: Any, name: str) -> list[Any]:
    """An entry of `prefix` for each leaf of `tree`: one entry may stand for all that is below it.

    Raises: ValueError where the prefix branches otherwise than the tree.
    """
    if prefix is None or isinstance(prefix, int):
        return [prefix] * len(flatten(tree)[0])
    if isinstance(prefix, Mapping):
        if not isinstance(tree, Mapping) or set(prefix) != set(tree):
            raise ValueError(f"{name} must have the keys of what it describes, got {sorted(map(str, prefix))}")
        return [entry for key, value in tree.items() for entry in spread(prefix[key], value, name)]
    if not isinstance(prefix, tuple | list) or not isinstance(tree, tuple | list) or len(prefix) != len(tree):
        raise ValueError(f"{name} must have an entry for each part of what it describes, got {prefix!r}")
    return [entry for part, value in zip(prefix, tree, strict=True) for entry in spread(part, value, name)]
