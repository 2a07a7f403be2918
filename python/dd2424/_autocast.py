"""Mixed precision: products in a short dtype, the rest in float32."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, cast

from dd2424 import _core
from dd2424._core import dtype as DType
from dd2424._device import device

__all__ = ["autocast", "get_autocast_dtype", "is_autocast_enabled"]

F = TypeVar("F", bound=Callable[..., Any])
SHORT = {"cpu": (_core.bfloat16,), "cuda": (_core.float16, _core.bfloat16)}  # the first is what is taken unasked


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` can do something for this type of device: cpu, or cuda where there is one."""
    from dd2424 import cuda

    return device_type == "cpu" or (device_type == "cuda" and cuda.is_available())


class autocast:
    """In a `with` block, or in calls of a function that it decorates: products take a short dtype, others float32.

    linear, matmul, convolutions and attention convert their operands to `dtype`; softmax, logarithms, exponentials,
    sums, norms and cross_entropy convert theirs to float32; all else computes in the dtype that arrives. Parameters
    stay as they are, and so do their gradients; each is converted once a block, or again after it has changed
    (`cache_enabled`). Run `backward` outside, or inside: it follows the dtypes of the forward pass. The innermost block
    decides: `autocast(..., enabled=False)` suspends an outer one.

    Args: device_type: "cpu" or "cuda"; dtype: bfloat16 (the default on the CPU), and on a GPU float16 (the default).
    Raises: ValueError for another dtype; RuntimeError for another device_type.
    Source: Micikevicius et al., "Mixed precision training", arXiv:1710.03740.
    """

    def __init__(
        self, device_type: str, dtype: DType | None = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        self.device = device(device_type).type
        self.fast_dtype = SHORT[self.device][0] if dtype is None else dtype
        if enabled and not is_autocast_available(self.device):
            warnings.warn("autocast: there is no GPU to use, so nothing is converted", stacklevel=2)
            enabled = False
        if enabled and self.fast_dtype not in SHORT[self.device]:
            names = " or ".join(str(each) for each in SHORT[self.device])
            raise ValueError(f"autocast: dtype must be {names} on {self.device}, got {self.fast_dtype}")
        self._enabled, self._cache_enabled = enabled, cache_enabled is not False

    def __enter__(self) -> autocast:
        _core.enter_autocast(self.device, self.fast_dtype, self._enabled, self._cache_enabled)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _core.exit_autocast()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def in_mode(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return cast(F, in_mode)


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether products on this type of device are converted here."""
    return _core.autocast_dtype(device_type) is not None


def get_autocast_dtype(device_type: str) -> DType:
    """The dtype that products on this type of device take here, or would take."""
    return _core.autocast_dtype(device_type) or SHORT[device_type][0]
