"""Switches of PyTorch's back ends, so that programs which set them run: `backends.cudnn.deterministic = True`.

Two have an effect, on a GPU: `cuda.matmul.allow_tf32` and `cudnn.allow_tf32` say whether products of float32 matrices,
and convolutions, may round what they multiply to TF32. Both are off at first. Results are the same bit by bit whatever
the others say, so setting one of those is remembered and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dd2424 import _core
from dd2424._lazy import MissingNameError, lazy_getattr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Linked(NamedTuple):
    """A switch that is kept elsewhere."""

    read: Callable[[], bool]
    write: Callable[[bool], None]


class Switches:
    """Names that may be read and set. Raises: MissingNameError (an AttributeError) for a name that is not there."""

    def __init__(self, owner: str, is_available: bool, **values: Any) -> None:
        self.__dict__.update(_owner=owner, _is_available=is_available, _values=values)

    def is_available(self) -> bool:
        """Whether this build computes by that library."""
        return bool(self._is_available)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__["_values"]
        if name in values:
            value = values[name]
            return value.read() if isinstance(value, Linked) else value
        raise MissingNameError(self.__dict__["_owner"], name, values)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self._values:
            raise MissingNameError(self._owner, name, self._values)
        switch = self._values[name]
        if isinstance(switch, Linked):
            switch.write(bool(value))
        else:
            self._values[name] = value

    def __dir__(self) -> Iterator[str]:
        return iter(sorted({*self._values, "is_available"}))


cudnn = Switches(
    "backends.cudnn",
    False,
    allow_tf32=Linked(_core.conv_tf32_allowed, _core.set_conv_tf32),
    benchmark=False,
    deterministic=True,
    enabled=False,
)
mkl = Switches("backends.mkl", False)
mkldnn = Switches("backends.mkldnn", False, enabled=False)
mps = Switches("backends.mps", False)
openmp = Switches("backends.openmp", False)
cuda = Switches(
    "backends.cuda",
    False,
    matmul=Switches("backends.cuda.matmul", False, allow_bf16_reduced_precision_reduction=False,
                    allow_fp16_reduced_precision_reduction=False,
                    allow_tf32=Linked(_core.matmul_tf32_allowed, _core.set_matmul_tf32)),
)  # fmt: skip
__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]
__getattr__ = lazy_getattr("dd2424.backends")
