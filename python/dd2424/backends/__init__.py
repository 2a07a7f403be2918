"""Switches of PyTorch's back ends, so that programs which set them run: `backends.cudnn.deterministic = True`.

Results of dd2424 are the same bit by bit whatever they say, and no reduced precision is used unless an input has it;
so setting one is remembered and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dd2424._lazy import MissingNameError, lazy_getattr

if TYPE_CHECKING:
    from collections.abc import Iterator


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
            return values[name]
        raise MissingNameError(self.__dict__["_owner"], name, values)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self._values:
            raise MissingNameError(self._owner, name, self._values)
        self._values[name] = value

    def __dir__(self) -> Iterator[str]:
        return iter(sorted({*self._values, "is_available"}))


cudnn = Switches("backends.cudnn", False, allow_tf32=False, benchmark=False, deterministic=True, enabled=False)
mkl = Switches("backends.mkl", False)
mkldnn = Switches("backends.mkldnn", False, enabled=False)
mps = Switches("backends.mps", False)
openmp = Switches("backends.openmp", False)
cuda = Switches(
    "backends.cuda",
    False,
    matmul=Switches("backends.cuda.matmul", False, allow_bf16_reduced_precision_reduction=False,
                    allow_fp16_reduced_precision_reduction=False, allow_tf32=False),
)  # fmt: skip
__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]
__getattr__ = lazy_getattr("dd2424.backends")
