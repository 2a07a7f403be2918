"""Hypothesis strategies for what a caller may pass to the compiled module, right or wrong, by the type it states."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import dd2424
from dd2424 import Tensor, _core

DTYPES = tuple(v for v in vars(_core).values() if isinstance(v, _core.dtype))
FLOATS = tuple(d for d in DTYPES if d.is_floating_point)
# Sizes are tiny or absurd: what is neither would only cost memory.
SIZES = st.sampled_from((0, 1, 2, 3, 5, 17))
WHOLE = st.sampled_from((0, 1, 2, 3, -1, -2, -3, 5, 17, 2**62, 2**63 - 1, -(2**63)))
NUMBERS = st.one_of(
    st.sampled_from((0, 1, 2, -1, 7, True, False, 2**31, -(2**63), 2**64)),
    st.sampled_from((0.0, -0.0, 0.5, 1.0, -1.5, 1e-8, 1e30, 1e300, math.inf, -math.inf, math.nan)),
)
WORDS = st.sampled_from(("none", "mean", "sum", "batchmean", "relu", "gelu", "tanh", "sigmoid", "floor", "trunc",
                         "uniform", "normal", "linear", "avx2", "", "é"))  # fmt: skip
OBJECTS = st.sampled_from((None, 0, 1.5, "x", (), [], [1, 2], {}, np.arange(3), np.float32(1), b"x", object()))


@dataclass
class Call:
    """What the arguments of one call share, so that many of them fit together: a shape, a dtype, the memory behind."""

    draw: Callable[..., Any]
    shape: tuple[int, ...]
    dtype: Any
    arrays: list[Any]

    @classmethod
    def drawn(cls, draw: Callable[..., Any]) -> Call:
        shape = tuple(draw(st.lists(SIZES, max_size=3)))
        return cls(draw, shape, draw(st.sampled_from((_core.float32, _core.float32, *DTYPES))), [])

    def tensor(self) -> Tensor:
        """A tensor of the shared shape or another, laid out in one of the ways that memory can be."""
        shape, dtype = self.shape, self.dtype
        if self.draw(st.integers(0, 3)) == 0:
            shape = self.draw(st.sampled_from(self._relatives()))
        if self.draw(st.integers(0, 5)) == 0:
            dtype = self.draw(st.sampled_from(DTYPES))
        t = self.draw(st.sampled_from(LAYOUTS))(self._filled, shape, dtype)
        if t.is_leaf and dtype.is_floating_point and self.draw(st.integers(0, 2)) == 0:
            t.requires_grad_()
        return t

    def _relatives(self) -> list[tuple[int, ...]]:
        shape = self.shape
        others = [(), (1,), (2, 3), shape[1:], shape[:-1], shape[::-1], (1, *shape), (*shape, 2)]
        return others + [tuple(1 if i == d else n for i, n in enumerate(shape)) for d in range(len(shape))]

    def _filled(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        seed = self.draw(st.integers(0, 3))
        rng, size = np.random.default_rng(seed), math.prod(shape)
        values = rng.standard_normal(size) if seed else rng.integers(-1, 4, size).astype(np.float64)
        if dtype.is_floating_point and size and seed == 3:
            values[rng.integers(0, size)] = self.draw(st.sampled_from((np.nan, np.inf, -np.inf, 1e300)))
        with np.errstate(over="ignore"):
            t = dd2424.from_numpy(np.clip(values, -1e38, 1e38) if seed != 3 else values).to(dtype)
        self.arrays.append(t)
        return t.reshape(shape)


def _contiguous(filled: Any, shape: Any, dtype: Any) -> Tensor:
    return filled(shape, dtype)


def _transposed(filled: Any, shape: Any, dtype: Any) -> Tensor:
    return filled(shape[::-1], dtype).T


def _strided(filled: Any, shape: Any, dtype: Any) -> Tensor:
    if not shape:
        return filled((3,), dtype)[1]
    return filled((*shape[:-1], 2 * shape[-1] + 1), dtype)[..., 1::2]


def _expanded(filled: Any, shape: Any, dtype: Any) -> Tensor:
    return filled((1,) * len(shape), dtype).expand(shape)


def _inner(filled: Any, shape: Any, dtype: Any) -> Tensor:
    """A window into a larger tensor: whatever is written or read beyond it is seen."""
    return filled(tuple(n + 2 for n in shape), dtype)[tuple(slice(1, n + 1) for n in shape)]


LAYOUTS = (_contiguous, _contiguous, _transposed, _strided, _expanded, _inner)


def _tensor_or_none(call: Call) -> Any:
    return None if call.draw(st.integers(0, 15)) == 0 else call.tensor()


def _operand(call: Call) -> Any:
    return call.draw(NUMBERS) if call.draw(st.booleans()) else _tensor_or_none(call)


def _tensors(call: Call) -> list[Any]:
    return [_tensor_or_none(call) for _ in range(call.draw(st.integers(0, 3)))]


def _object(call: Call) -> Any:
    return call.draw(st.one_of(OBJECTS, WHOLE, WORDS)) if call.draw(st.booleans()) else _tensor_or_none(call)


def _shape(call: Call) -> Any:
    sizes = st.one_of(st.just(list(call.shape)), st.lists(st.one_of(SIZES, WHOLE), max_size=4))
    return call.draw(sizes)


def _any_of(strategy: st.SearchStrategy[Any]) -> Callable[[Call], Any]:
    return lambda call: call.draw(strategy)


MAKERS: dict[str, Callable[[Call], Any]] = {
    "Tensor": _tensor_or_none, "Tensor | float": _operand, "Sequence[Tensor]": _tensors, "list": _tensors,
    "object": _object, "Sequence[int]": _shape, "float": _any_of(NUMBERS),
    "int": _any_of(WHOLE), "bool": _any_of(st.booleans()), "str": _any_of(WORDS),
    "dtype": _any_of(st.sampled_from(DTYPES)), "Generator": _any_of(st.builds(_core.Generator)),
    "int | Sequence[int]": lambda call: _shape(call) if call.draw(st.booleans()) else call.draw(WHOLE),
    "type": _any_of(st.sampled_from((Tensor, dd2424.nn.Parameter, int))),
    "collections.abc.Callable": lambda call: lambda *tensors: None,
}  # fmt: skip
_SAME = {
    "typing.SupportsFloat | typing.SupportsIndex": "float", "typing.SupportsInt | typing.SupportsIndex": "int",
    "dd2424._core.Generator": "Generator",
}  # fmt: skip


def argument(call: Call, annotation: ast.expr | None) -> Any:
    """A value for a parameter, mostly of the type it states."""
    text = ast.unparse(annotation) if annotation else "object"
    for long, short in _SAME.items():
        text = text.replace(long, short)
    base = text.removesuffix(" | None")
    if base != text and call.draw(st.integers(0, 3)) == 0:
        return None
    if call.draw(st.integers(0, 31)) == 0:
        return _object(call)
    return MAKERS.get(base, _object)(call)


def arguments(call: Call, signature: ast.FunctionDef) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments for a function; those with defaults are given or left out."""
    a = signature.args
    positional: list[Any] = []
    for i, parameter in enumerate([*a.posonlyargs, *a.args]):
        has_default = i >= len(a.args) - len(a.defaults)
        if has_default and call.draw(st.integers(0, 2)) == 0:
            break
        positional.append(argument(call, parameter.annotation))
    if a.vararg:
        positional += call.draw(st.one_of(st.lists(WHOLE, max_size=3), st.tuples(st.just(list(call.shape)))))
    keywords: dict[str, Any] = {}
    for parameter, default in zip(a.kwonlyargs, a.kw_defaults):
        if default is None or call.draw(st.booleans()):
            keywords[parameter.arg] = argument(call, parameter.annotation)
    if a.kwarg and call.draw(st.booleans()):
        keywords["dtype"] = call.draw(st.sampled_from(DTYPES))
    return positional, keywords
