"""Small questions and switches that PyTorch has at its top level or on tensors, and names for linear algebra there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from dd2424 import _core
from dd2424._core import Tensor, dtype
from dd2424._types import Number

# fmt: off
__all__ = [
    "adjoint", "are_deterministic_algorithms_enabled", "can_cast", "cholesky",
    "cholesky_solve", "compile",
    "det", "e", "get_float32_matmul_precision", "inf", "inverse", "is_complex", "is_floating_point", "is_nonzero",
    "is_same_size", "is_signed", "logdet", "matrix_exp", "matrix_power", "nan", "newaxis", "pi", "pinverse", "qr",
    "set_float32_matmul_precision", "set_num_interop_threads", "slogdet", "spmm", "svd", "typename",
    "use_deterministic_algorithms",
]
# fmt: on
e, inf, nan, newaxis, pi = math.e, math.inf, math.nan, None, math.pi
T = TypeVar("T")


def compile(model: T | None = None, **options: Any) -> Any:
    """Its argument: nothing is gained by compiling here. Also a decorator; PyTorch's options are taken and ignored."""
    return model if model is not None else lambda function: function


def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are floating-point numbers."""
    return bool(input.dtype.is_floating_point)


def is_complex(input: Tensor) -> bool:
    """False: there are no complex tensors."""
    return False


def is_signed(input: Tensor) -> bool:
    """Whether the elements may be negative."""
    return bool(input.dtype.is_signed)


def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not 0. Raises: RuntimeError for another number of elements."""
    if input.numel() != 1:
        raise RuntimeError(f"is_nonzero: input must have one element, got shape {tuple(input.shape)}")
    return bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether the shapes are equal."""
    return input.shape == other.shape


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether an in-place operation may turn results of one dtype into the other: towards bool, integer, floating."""

    def rank(kind: dtype) -> int:
        return 2 if kind.is_floating_point else 0 if kind is _core.bool else 1

    return rank(from_) <= rank(to)


def typename(obj: Any) -> str:
    """The name of a tensor's type, such as "dd2424.FloatTensor", or of any other object's class."""
    return str(obj.type()) if isinstance(obj, Tensor) else f"{type(obj).__module__}.{type(obj).__qualname__}"


def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged."""
    return input.mT


def spmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices, under PyTorch's name for a sparse first one; here both are dense."""
    return _core.mm(input, mat2)


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Every operation is deterministic, whatever is asked for."""


def are_deterministic_algorithms_enabled() -> bool:
    """True: there are no others."""
    return True


def set_float32_matmul_precision(precision: str) -> None:
    """What products of float32 matrices may lose on a GPU: "highest" nothing, the default; "high" and "medium" TF32.

    TF32 rounds what is multiplied to 10 bits of mantissa (sums stay float32) for tensor cores; the same switch is
    `backends.cuda.matmul.allow_tf32`, and that of convolutions `backends.cudnn.allow_tf32`. The CPU rounds nothing.
    Raises: RuntimeError for an unknown name.
    """
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            f'set_float32_matmul_precision: precision must be "highest", "high" or "medium", got "{precision}"'
        )
    _core.set_matmul_tf32(precision != "highest")


def get_float32_matmul_precision() -> str:
    """ "highest", or "high" where products of float32 may be rounded to TF32."""
    return "high" if _core.matmul_tf32_allowed() else "highest"


def set_num_interop_threads(threads: int) -> None:
    """There is one pool of threads: see `set_num_threads`."""


# linear algebra, loaded when it is first used


def _of_linalg(name: str) -> Callable[..., Any]:
    def call(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        from dd2424 import linalg

        return getattr(linalg, name)(input, *args, **kwargs)

    call.__name__, call.__doc__ = name, f"See `linalg.{name}`."
    return call


cholesky_solve = _of_linalg("cholesky_solve")
cholesky, det, inverse, logdet = (_of_linalg(name) for name in ("cholesky", "det", "inv", "logdet"))
matrix_exp, matrix_power, qr, slogdet = (_of_linalg(name) for name in ("matrix_exp", "matrix_power", "qr", "slogdet"))


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse; see `linalg.pinv`."""
    from dd2424 import linalg

    return linalg.pinv(input, rtol=rcond)


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """U, S, V with input = U diag(S) V^T, reduced if `some`; see `linalg.svd`, which gives V^T."""
    from dd2424 import linalg

    u, s, vh = linalg.svd(input, full_matrices=not some)
    return (u, s, vh.mT) if compute_uv else (u.new_zeros(u.shape), s, vh.new_zeros(vh.mT.shape))


# methods


def _fill_diagonal_(self: Tensor, fill_value: Number, wrap: bool = False) -> Tensor:
    """Set the elements whose indices are all equal; with `wrap` a tall matrix's diagonal begins anew below its end."""
    if self.ndim < 2 or (self.ndim > 2 and len(set(self.shape)) > 1):
        raise RuntimeError(f"fill_diagonal_: the tensor must be a matrix or have equal sizes, got {tuple(self.shape)}")
    length, step = min(self.shape), sum(self.stride())
    self.as_strided((length,), (step,)).fill_(fill_value)
    rows, columns = self.shape[:2]
    if wrap and self.ndim == 2:
        for start in range(columns + 1, rows, columns + 1):
            _core.diagonal(self, -start).fill_(fill_value)
    return self


def _sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Summed over the dimensions that `size` has not, or has as 1."""
    target: Sequence[int] = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
    extra = self.ndim - len(target)
    if extra < 0 or any(n not in (1, m) for n, m in zip(target, self.shape[extra:], strict=True)):
        raise RuntimeError(f"sum_to_size: size must expand to {tuple(self.shape)}, got {tuple(target)}")
    summed = [d for d in range(self.ndim) if d < extra or (target[d - extra] == 1 and self.shape[d] != 1)]
    return _core.sum(self, summed, True).reshape(tuple(target)) if summed else self


def _split_with_sizes(self: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of these sizes, one after the other."""
    return tuple(_core.split(self, list(split_sizes), dim))


def _narrow_copy(self: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A copy of `length` indices of a dimension from `start`."""
    return self.narrow(dim, start, length).clone()


def _get_device(self: Tensor) -> int:
    """The number of the GPU; -1: the processor's memory."""
    return 0 if self.is_cuda else -1


METHODS: dict[str, Any] = {
    "adjoint": adjoint, "cholesky_solve": cholesky_solve,
    "is_signed": is_signed,
    "is_nonzero": is_nonzero, "is_same_size": is_same_size, "cholesky": cholesky, "det": det, "inverse": inverse,
    "logdet": logdet, "matrix_exp": matrix_exp, "matrix_power": matrix_power, "qr": qr, "slogdet": slogdet,
    "pinverse": pinverse, "svd": svd, "fill_diagonal_": _fill_diagonal_, "sum_to_size": _sum_to_size,
    "split_with_sizes": _split_with_sizes, "narrow_copy": _narrow_copy, "get_device": _get_device,
    "mH": property(lambda self: self.mT), "is_cpu": property(lambda self: True),
    "is_meta": property(lambda self: False), "is_quantized": property(lambda self: False),
    "is_inference": lambda self: False, "is_conj": lambda self: False, "is_neg": lambda self: False,
    "is_shared": lambda self: False, "resolve_conj": lambda self: self, "resolve_neg": lambda self: self,
}  # fmt: skip
# More names for a method.
ALIASES = {"arccosh_": "acosh_", "arcsinh_": "asinh_", "arctanh_": "atanh_"}
