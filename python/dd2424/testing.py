"""Comparisons for tests: `assert_close`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor, dtype
from dd2424._lazy import lazy_getattr

__all__ = ["assert_close"]

# (rtol, atol) by dtype: PyTorch's.
_TOLERANCES: dict[dtype, tuple[float, float]] = {
    _core.float16: (1e-3, 1e-5), _core.bfloat16: (1.6e-2, 1e-5), _core.float32: (1.3e-6, 1e-5),
    _core.float64: (1e-7, 1e-7),
}  # fmt: skip


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Nothing where |actual - expected| <= atol + rtol * |expected| for every element, else an AssertionError.

    Tensors, arrays and numbers, and sequences and mappings of them. Tolerances are those of the coarser dtype (float32:
    rtol 1.3e-6, atol 1e-5; float64: both 1e-7; bfloat16: 1.6e-2, 1e-5; integers: 0), or both are given.
    Raises: AssertionError; ValueError where one of rtol and atol is given; TypeError for what cannot be compared.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(f"assert_close: rtol and atol must both be given or neither, got {rtol} and {atol}")
    options = (rtol, atol, equal_nan, check_dtype, check_stride)
    text = _difference(actual, expected, "", options)
    if text is None:
        return
    if msg is not None:
        text = msg(text) if callable(msg) else msg
    raise AssertionError(text)


def _difference(actual: Any, expected: Any, where: str, options: tuple[Any, ...]) -> str | None:
    """What differs first, or None."""
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if set(actual) != set(expected):
            return f"keys that only one mapping has{where}: {sorted(map(str, set(actual) ^ set(expected)))}"
        pairs = [(key, actual[key], expected[key]) for key in expected]
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            return f"sequences differ in length{where}: {len(actual)} != {len(expected)}"
        pairs = [(i, actual[i], expected[i]) for i in range(len(expected))]
    else:
        return _difference_of_tensors(actual, expected, where, options)
    for key, left, right in pairs:
        text = _difference(left, right, f"{where} at item [{key!r}]", options)
        if text is not None:
            return text
    return None


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _as_tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray | np.generic | int | float | bool):
        return _core.tensor(value)
    raise TypeError(f"assert_close: operands must be tensors, arrays or numbers, got {type(value).__name__}")


def _difference_of_tensors(actual: Any, expected: Any, where: str, options: tuple[Any, ...]) -> str | None:
    rtol, atol, equal_nan, check_dtype, check_stride = options
    left, right = _as_tensor(actual), _as_tensor(expected)
    plain = isinstance(actual, int | float) and isinstance(expected, int | float)
    if left.shape != right.shape:
        return f"shapes differ{where}: {tuple(left.shape)} != {tuple(right.shape)}"
    if check_dtype and not plain and left.dtype != right.dtype:
        return f"dtypes differ{where}: {left.dtype} != {right.dtype}"
    if check_stride and left.stride() != right.stride():
        return f"strides differ{where}: {left.stride()} != {right.stride()}"
    if rtol is None:
        kinds = [_core.float64 if plain else x.dtype for x in (left, right)]
        rtol, atol = (max(limits) for limits in zip(*[_TOLERANCES.get(kind, (0.0, 0.0)) for kind in kinds]))
    wide = _core.float64 if left.is_floating_point() or right.is_floating_point() else _core.int64
    a, b = left.to(wide).numpy(), right.to(wide).numpy()
    with np.errstate(invalid="ignore"):
        errors = np.abs(a - b)
        close = (a == b) | (np.isfinite(b) & (errors <= atol + rtol * np.abs(b)))
    if equal_nan:
        close |= np.isnan(a) & np.isnan(b)
    if close.all():
        return None
    return _report(a, errors, b, ~close, where, rtol, atol)


def _report(a: Any, errors: Any, b: Any, wrong: Any, where: str, rtol: float, atol: float) -> str:
    if a.ndim == 0:
        return f"Scalars are not close{where}!\n\nExpected {b.item()} but got {a.item()} (atol {atol}, rtol {rtol})."
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(wrong, errors / np.abs(b), 0)
    count, worst, ratio = int(wrong.sum()), np.where(wrong, errors, 0), ratios
    place, other = (tuple(int(i) for i in np.unravel_index(np.nanargmax(x), x.shape)) if not np.isnan(x).all()
                    else tuple(int(i) for i in np.argwhere(wrong)[0]) for x in (worst, ratio))  # fmt: skip
    return (f"Tensor-likes are not close{where}!\n\n"
            f"Mismatched elements: {count} / {wrong.size} ({100 * count / wrong.size:.1f}%)\n"
            f"Greatest absolute difference: {worst[place]} at index {place} (up to {atol} allowed)\n"
            f"Greatest relative difference: {ratio[other]} at index {other} (up to {rtol} allowed)")  # fmt: skip


__getattr__ = lazy_getattr("dd2424.testing")
