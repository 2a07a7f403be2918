"""Methods of Tensor that are written in Python. They are set on the type once, when the package is imported."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from dd2424 import _core, _extra, _missing
from dd2424._core import Tensor, dtype
from dd2424._device import CPU, GPU, device
from dd2424._formats import channels_last, contiguous_format, memory_format
from dd2424._print import describe

# Functions that are methods too, under the same name with the tensor first, by family.
# fmt: off
_METHODS = {
    "elementwise": ("positive", "isposinf", "isneginf", "isreal", "signbit", "sinc", "logit", "nan_to_num", "deg2rad",
                    "rad2deg", "round", "angle", "clamp_min", "clamp_max", "frexp", "mvlgamma"),
    "elementwise_special": ("i0",),
    "elementwise_binary": ("float_power", "lerp", "addcmul", "addcdiv", "heaviside", "logaddexp", "logaddexp2",
                           "ldexp", "nextafter", "gcd", "lcm", "isclose", "allclose", "equal"),
    "reduce": ("aminmax", "nansum", "nanmean", "norm", "count_nonzero", "dist", "diff", "renorm"),
    "reduce_composed": ("logcumsumexp", "cov", "corrcoef"),
    "shape": ("unflatten", "ravel", "movedim", "moveaxis", "tensor_split", "hsplit", "vsplit", "dsplit"),
    "shape_repeat": ("repeat", "tile", "repeat_interleave", "fliplr", "flipud", "roll", "rot90", "tril", "triu",
                     "diag", "diag_embed", "diagflat", "flip"),
    "index": ("index_copy", "index_fill", "index_put", "scatter", "put", "take", "take_along_dim", "masked_select",
              "masked_scatter", "select_scatter", "slice_scatter", "diagonal_scatter", "nonzero", "argwhere"),
    "sort": ("sort", "msort", "argsort", "topk", "kthvalue", "median", "nanmedian", "mode", "quantile",
                   "nanquantile", "cummax", "cummin"),
    "sort_sets": ("unique", "unique_consecutive", "bincount", "histc"),
    "index_reduce": ("scatter_reduce", "index_reduce"),
    "gemm": ("outer", "ger", "vdot", "inner", "addbmm", "addr", "kron", "cross", "trace"),
    "random": ("bernoulli", "multinomial"),
    "activation": ("prelu", "hardshrink"),
}
# Methods whose in-place form is: compute, then write over the tensor.
_IN_PLACE = ("sinc", "logit", "nan_to_num", "deg2rad", "rad2deg", "lerp", "addcmul", "addcdiv", "tril", "triu",
             "masked_fill", "masked_scatter", "index_copy", "index_fill", "scatter", "scatter_reduce", "index_reduce",
             "put", "float_power", "renorm", "cumsum", "cumprod", "addmm", "addmv", "baddbmm", "eq", "ne", "lt", "le",
             "gt", "ge", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or",
             "logical_xor", "logical_not", "clamp_min", "clamp_max", "heaviside", "ldexp", "nextafter", "gcd", "lcm",
             "i0", "mvlgamma", "polygamma", "addbmm", "addr", "sgn")
# fmt: on


def _to(
    self: Tensor,
    *args: Any,
    dtype: dtype | None = None,
    device: device | str | None = None,
    copy: bool = False,
    non_blocking: bool = False,
    memory_format: memory_format | None = None,
) -> Tensor:
    """to(dtype), to(device), to(device, dtype), to(other): the tensor itself where nothing changes."""
    for argument in args:
        if isinstance(argument, Tensor):
            dtype, device = argument.dtype, argument.device
        elif isinstance(argument, str | _DEVICE):
            device = argument
        elif isinstance(argument, int) and not isinstance(argument, bool):
            device = _DEVICE(argument)
        elif isinstance(argument, bool):
            non_blocking = argument
        elif argument is not None:
            dtype = argument
    result = _core.convert(self, dtype, copy, device, non_blocking)
    return result if memory_format is None else result.contiguous(memory_format=memory_format)


_DEVICE = device


def _cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """Move to a GPU. Raises: RuntimeError where there is none."""
    return _to(self, "cuda" if device is None else device, non_blocking=non_blocking)


def _cpu(self: Tensor) -> Tensor:
    """Move to the processor's memory: the tensor itself where it is there."""
    return _core.convert(self, device="cpu") if self.is_cuda else self


def _dim(self: Tensor) -> int:
    """The number of dimensions."""
    return self.ndim


def _is_floating_point(self: Tensor) -> bool:
    """Whether the elements are floating-point numbers."""
    return self.dtype.is_floating_point


def _is_contiguous(self: Tensor, memory_format: memory_format = contiguous_format) -> bool:
    """Whether the elements stand in memory in the order of their indices, or with the channels last."""
    order = list(range(self.ndim))
    if memory_format is channels_last:
        if self.ndim != 4:
            return False
        order = [0, 2, 3, 1]
    expected = 1
    for d in reversed(order):
        if self.shape[d] != 1 and self.numel() and self.stride(d) != expected:
            return False
        expected *= self.shape[d]
    return True


def _type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The type's name, such as "dd2424.FloatTensor"; with a dtype or such a name, converted to it."""
    if dtype is None:
        return f"dd2424.{_TYPE_NAMES[self.dtype]}"
    if isinstance(dtype, str):
        name = dtype.rpartition(".")[2]
        dtype = next((kind for kind, known in _TYPE_NAMES.items() if known == name), None)
        if dtype is None:
            raise ValueError(f'type: dtype must be a dtype or a name such as "FloatTensor", got "{name}"')
    return _core.convert(self, getattr(dtype, "dtype_of_elements", dtype))


_TYPE_NAMES = {
    _core.float32: "FloatTensor", _core.float64: "DoubleTensor", _core.float16: "HalfTensor",
    _core.bfloat16: "BFloat16Tensor", _core.int64: "LongTensor", _core.int32: "IntTensor",
    _core.int16: "ShortTensor", _core.int8: "CharTensor", _core.uint8: "ByteTensor", _core.bool: "BoolTensor",
}  # fmt: skip


def _new_tensor(self: Tensor, data: Any, *, dtype: dtype | None = None, requires_grad: bool = False) -> Tensor:
    """A copy of `data` with this tensor's dtype."""
    return _core.tensor(data, dtype=dtype or self.dtype, device=self.device, requires_grad=requires_grad)


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """Converted to the other's dtype, on the other's device."""
    return _core.convert(self, other.dtype, device=other.device)


def _iterate(self: Tensor) -> Iterator[Tensor]:
    if self.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


def _contains(self: Tensor, element: Any) -> bool:
    return bool((self == element).any())


def _format(self: Tensor, spec: str) -> str:
    if self.ndim == 0 and spec:
        return self.item().__format__(spec)
    return object.__format__(self, spec)


def _rebuild(
    kind: type[Tensor], array: Any, dtype_name: str, requires_grad: bool, state: dict[str, Any], device: str = "cpu"
) -> Tensor:
    data = _core.convert(_core.from_numpy(array), getattr(_core, dtype_name), device=device)
    made = data.requires_grad_(requires_grad) if kind is Tensor else _core.make_subclass(kind, data, requires_grad)
    made.__dict__.update(state)
    return made


def _reduce(self: Tensor, protocol: int = 2) -> tuple[Any, ...]:
    array = _cpu(self.detach().clone()).array
    return _rebuild, (type(self), array, self.dtype.name, self.requires_grad, dict(self.__dict__), str(self.device))


def _deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if id(self) in memo:
        return memo[id(self)]  # type: ignore[no-any-return]
    if not self.is_leaf:
        raise RuntimeError("deepcopy: tensor must be a leaf, got the result of an operation; use clone()")
    kind, data = type(self), self.detach().clone()
    copy = data.requires_grad_(self.requires_grad) if kind is Tensor else _core.make_subclass(
        kind, data, self.requires_grad)  # fmt: skip
    copy.__dict__.update(self.__dict__)
    if self.grad is not None:
        copy.grad = self.grad.detach().clone()
    memo[id(self)] = copy
    return copy


def _pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """In memory of the host's that a GPU reaches by itself, for copies that need not be waited for.

    Raises: RuntimeError where there is no GPU, or for a tensor on one.
    """
    from dd2424.cuda.library import require

    require("pin_memory")
    return _core.pin_memory(self)


def _is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether it is in memory that `pin_memory` made."""
    return _core.is_pinned(self)


def _record_stream(self: Tensor, stream: Any) -> None:
    """Let the memory be handed on only behind what the stream has been asked so far. Raises: RuntimeError off a GPU."""
    _core.record_stream(self, stream._handle)


def _dlpack(self: Tensor, **options: Any) -> Any:
    """The memory for another library, without a copy."""
    if self.requires_grad:
        raise BufferError("__dlpack__: the tensor must not require a gradient; use .detach()")
    if self.is_cuda:
        from dd2424.cuda.arrays import to_dlpack

        return to_dlpack(self, **options)
    return self.numpy().__dlpack__(**options)


def _dlpack_device(self: Tensor) -> tuple[int, int]:
    return (2, 0) if self.is_cuda else (1, 0)


def _interface(self: Tensor) -> dict[str, Any]:
    from dd2424.cuda.arrays import interface_of

    return interface_of(self)


def _may_hold(target: dtype, source: dtype) -> bool:
    """Whether an in-place operation may write results of one dtype over another: floats only over floats, and so on."""
    if source.is_floating_point:
        return target.is_floating_point
    return target != _core.bool or source == _core.bool


def _in_place(name: str, method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(method)
    def write(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # The tape may keep what is about to be overwritten.
        result = method(self.clone() if self.requires_grad else self, *args, **kwargs)
        if not _may_hold(self.dtype, result.dtype) or (name == "float_power" and self.dtype != result.dtype):
            raise RuntimeError(f"{name}_: result has dtype {result.dtype}, which can't be written to "
                               f"{self.dtype}")  # fmt: skip
        return self.copy_(result)

    return write


_OWN: dict[str, Any] = {
    "to": _to, "cpu": _cpu, "cuda": _cuda, "dim": _dim, "ndimension": _dim, "is_floating_point": _is_floating_point,
    "is_contiguous": _is_contiguous, "type": _type, "type_as": _type_as, "new_tensor": _new_tensor,
    "__iter__": _iterate, "__contains__": _contains, "__format__": _format, "__repr__": describe, "__str__": describe,
    "__deepcopy__": _deepcopy, "__reduce_ex__": _reduce, "__dlpack__": _dlpack, "__dlpack_device__": _dlpack_device,
    "element_size": lambda self: self.itemsize, "is_complex": lambda self: False, "is_pinned": _is_pinned,
    "pin_memory": _pin_memory, "record_stream": _record_stream,
    "share_memory_": lambda self: self, "conj": lambda self: self,
    "device": property(lambda self: GPU if self.is_cuda else CPU), "__cuda_array_interface__": property(_interface),
    "is_sparse": property(lambda self: False), "H": property(lambda self: self.mT), "layout": "strided",
    "real": property(lambda self: self), "__array_priority__": 1000,
}  # fmt: skip


def install() -> None:
    """Set every method on the type."""
    import importlib

    for name, value in _OWN.items():
        setattr(Tensor, name, value)
    for family, names in _METHODS.items():
        module = importlib.import_module(f"dd2424.functional.{family}")
        for name in names:
            setattr(Tensor, name, getattr(module, name))
    for name, value in _extra.METHODS.items():
        setattr(Tensor, name, value)
    for name in _IN_PLACE:
        setattr(Tensor, f"{name}_", _in_place(name, getattr(Tensor, name)))
    for name, known in _extra.ALIASES.items():
        setattr(Tensor, name, getattr(Tensor, known))
    _missing.install()


__all__ = ["install"]
