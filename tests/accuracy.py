"""How far a result may be from the exact one: a number of roundings, never a loose tolerance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

import dd2424

Array = npt.NDArray[Any]


def assert_accurate(actual: Any, expected: Any, roundings: float = 4, scale: Any = 0.0) -> None:
    """|actual - expected| is at most `roundings` roundings of max(|expected|, scale) in actual's dtype.

    `expected` is the float64 reference; `scale` is what errors are measured by where terms cancel, such as the sum of
    the absolute terms. NaN and infinities must stand where the reference has them. Integers must be equal.
    """
    actual = actual.detach().numpy() if isinstance(actual, dd2424.Tensor) else np.asarray(actual)
    expected = np.asarray(expected)
    assert actual.shape == expected.shape, f"shape must be {expected.shape}, got {actual.shape}"
    if actual.dtype.kind in "biu":
        np.testing.assert_array_equal(actual, expected)
        return
    limits = ml_dtypes.finfo(actual.dtype)
    exact, got = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(got[~finite], exact[~finite])
    size = np.maximum(np.maximum(np.abs(exact), np.abs(np.asarray(scale, np.float64))), float(limits.tiny))
    with np.errstate(invalid="ignore"):  # inf - inf, where both have it
        errors = np.where(finite, np.abs(got - exact) / np.where(finite, size, 1.0), 0.0) / float(limits.eps)
    worst = int(np.argmax(errors)) if errors.size else 0
    assert errors.size == 0 or errors.max() <= roundings, (
        f"{errors.max():.2f} roundings of {actual.dtype}, more than {roundings}: got {got.flat[worst]!r}, "
        f"expected {exact.flat[worst]!r} at {tuple(int(i) for i in np.unravel_index(worst, errors.shape))}"
    )


def bits(value: Any) -> Any:
    """What two equal results share, down to the sign of zero: nested tuples of bytes."""
    if isinstance(value, tuple | list):
        return tuple(bits(part) for part in value)
    array = value.detach().numpy() if isinstance(value, dd2424.Tensor) else np.asarray(value)
    return array.dtype.name, array.shape, array.tobytes()


def same_for_any_threads(run: Callable[[], Any]) -> Any:
    """Runs under 1, 2 and 3 threads, demands the same bits, and returns the result."""
    before, results = dd2424.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            dd2424.set_num_threads(threads)
            dd2424.manual_seed(0)
            results.append(run())
    finally:
        dd2424.set_num_threads(before)
    first = bits(results[0])
    for threads, result in zip((2, 3), results[1:], strict=True):
        assert bits(result) == first, f"{threads} threads give other bits than one"
    return results[0]
