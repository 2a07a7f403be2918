"""Samples to batches: lists of numbers, arrays and tensors become tensors, containers keep their shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def default_convert(data: Any) -> Any:
    """Turn arrays inside `data` into tensors; leave all else as it is, but tuples become lists, as in PyTorch."""
    from dd2424 import _core

    if isinstance(data, (np.ndarray, np.generic)) and _is_numeric(data.dtype):
        return _core.from_numpy(np.array(data)) if isinstance(data, np.generic) else _core.from_numpy(data)
    if isinstance(data, (str, bytes, _core.Tensor)):
        return data
    if isinstance(data, Mapping):
        return _rebuild_mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence):
        fields = [default_convert(value) for value in data]
        return _rebuild_sequence(data, fields)  # a tuple becomes a list, as in PyTorch
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """Put a list of samples into one batch.

    Tensors and arrays are stacked; floats become float64, ints int64, bools bool tensors; strings stay a list;
    mappings, named tuples and sequences (tuples become lists, as in PyTorch) are collated field by field.

    Shapes: samples of shape (*) give (B, *), B = len(batch).
    Raises: TypeError for any other kind of sample, RuntimeError when shapes, lengths or keys differ.
    """
    if len(batch) == 0:
        raise RuntimeError("default_collate: batch must hold at least one sample, got none")
    from dd2424 import _core

    first = batch[0]
    if isinstance(first, _core.Tensor):
        return _core.stack(batch, 0)
    if isinstance(first, (np.ndarray, np.generic)):
        return _core.from_numpy(_stack_arrays(batch))
    if isinstance(first, (bool, int, float)):
        return _core.from_numpy(np.array(batch, _dtype_of_numbers(batch)))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _collate_mappings(batch)
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            lengths = sorted({len(sample) for sample in batch})
            raise RuntimeError(f"default_collate: batch must hold sequences of equal length, got lengths {lengths}")
        fields = [default_collate(field) for field in zip(*batch, strict=True)]
        return _rebuild_sequence(first, fields)
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists, "
        f"got {type(first).__module__}.{type(first).__qualname__}"
    )


def _collate_mappings(batch: Sequence[Mapping[Any, Any]]) -> Any:
    first = batch[0]
    for sample in batch:
        if sample.keys() != first.keys():
            raise RuntimeError(
                f"default_collate: batch must hold mappings of equal keys, got {[*first]} and {[*sample]}"
            )
    return _rebuild_mapping(first, {key: default_collate([sample[key] for sample in batch]) for key in first})


def _rebuild_mapping(like: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    try:
        return type(like)(values)  # type: ignore[call-arg]  # a mapping type that takes no dict stays a dict
    except TypeError:
        return values


def _rebuild_sequence(like: Sequence[Any], fields: list[Any]) -> Any:
    if isinstance(like, tuple):
        return type(like)(*fields) if hasattr(like, "_fields") else fields
    try:
        return type(like)(fields)  # type: ignore[call-arg]  # likewise
    except TypeError:
        return fields


def _is_numeric(dtype: np.dtype[Any]) -> bool:
    return dtype.kind not in "OSUMmV" or dtype.name == "bfloat16"


def _stack_arrays(batch: Sequence[Any]) -> np.ndarray[Any, Any]:
    first = batch[0]
    if not _is_numeric(first.dtype):
        raise TypeError(f"default_collate: batch must contain arrays of numbers, got dtype {first.dtype}")
    shapes = sorted({np.shape(sample) for sample in batch})
    if len(shapes) > 1:
        raise RuntimeError(f"default_collate: batch must hold arrays of equal shape, got {shapes}")
    return np.stack(batch)


def _dtype_of_numbers(batch: Sequence[Any]) -> type:
    if any(isinstance(value, float) for value in batch):
        return np.float64
    return np.bool_ if all(isinstance(value, bool) for value in batch) else np.int64
