"""Autocast inside a user's own autograd.Function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from dd2424 import _core
from dd2424._autocast import autocast
from dd2424._core import Tensor, dtype as DType


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: DType | None = None
) -> Callable[..., Any]:
    """Decorates the `forward` of an autograd.Function: with `cast_inputs`, its floating-point tensors come in that
    dtype and nothing inside is converted further."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def converted(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx.autocast_dtype = _core.autocast_dtype(device_type)
        if cast_inputs is None or ctx.autocast_dtype is None:
            return fwd(ctx, *args, **kwargs)
        ctx.autocast_dtype = None
        with autocast(device_type, enabled=False):
            arguments = [_converted(x, cast_inputs) for x in args]
            return fwd(ctx, *arguments, **{name: _converted(x, cast_inputs) for name, x in kwargs.items()})

    return converted


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """Decorates the `backward` of an autograd.Function: it runs under the autocast of its `custom_fwd`."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def under_that_mode(ctx: Any, *args: Any) -> Any:
        dtype = ctx.autocast_dtype
        with autocast(device_type, dtype, enabled=dtype is not None):
            return bwd(ctx, *args)

    return under_that_mode


def _converted(x: Any, dtype: DType) -> Any:
    return x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() and x.dtype != _core.float64 else x
