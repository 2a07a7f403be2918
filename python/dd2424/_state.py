"""Nested state (of optimizers, schedulers, loaders) taken apart into JSON and named arrays, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dd2424._core import Tensor, convert, from_numpy
from dd2424._safetensors import Array

_ARRAY, _ITEMS, _TUPLE = "__array__", "__items__", "__tuple__"


def take_apart(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """JSON for `value`; its tensors and NumPy arrays go to `arrays` under names that begin with `name`.

    Numbers, strings, None, lists, tuples and dicts with any of these as keys come back as they were.
    Raises: TypeError naming what has no place in a checkpoint.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor | np.ndarray):
        while not name or name in arrays:  # keys may hold dots
            name += "_" if name else "tensor"
        arrays[name] = np.array(value.detach().cpu().array if isinstance(value, Tensor) else value)
        return {_ARRAY: name, "tensor": isinstance(value, Tensor)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        parts = [take_apart(item, _joined(name, i), arrays) for i, item in enumerate(value)]
        return parts if isinstance(value, list) else {_TUPLE: parts}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("__") for key in value):
            return {key: take_apart(item, _joined(name, key), arrays) for key, item in value.items()}
        items = [
            [take_apart(key, name, arrays), take_apart(item, _joined(name, key), arrays)] for key, item in value.items()
        ]
        return {_ITEMS: items}
    raise TypeError(
        f"save: {name or 'obj'} must hold numbers, strings, tensors, lists or dicts, got {type(value).__name__}"
    )


def _joined(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def put_together(value: Any, arrays: Mapping[str, Array], device: Any = None) -> Any:
    """What `take_apart` took apart, its tensors on `device`. Raises: KeyError naming an array that is missing."""
    if isinstance(value, list):
        return [put_together(item, arrays, device) for item in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        array = np.array(arrays[value[_ARRAY]])
        return convert(from_numpy(array), device=device) if value["tensor"] else array
    if _TUPLE in value:
        return tuple(put_together(item, arrays, device) for item in value[_TUPLE])
    if _ITEMS in value:
        return {put_together(key, arrays, device): put_together(item, arrays, device) for key, item in value[_ITEMS]}
    return {key: put_together(item, arrays, device) for key, item in value.items()}
