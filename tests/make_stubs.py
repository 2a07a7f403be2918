"""Writes python/dd2424/_core.pyi, the types of the compiled module, from what the built module says: `make stubs`.

What it cannot say (slots and methods written by hand in C++, properties) stands in the tables below.
"""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import Any

from dd2424 import _core
from signatures import CLASSES, CONSTANTS, FUNCTIONS, members, signature

TARGET = Path(__file__).parents[1] / "python" / "dd2424" / "_core.pyi"
HEADER = '''\
"""The compiled part of dd2424. Written by `make stubs` from the built module: change tests/make_stubs.py instead."""

from builtins import bool as _bool, float as _float, int as _int, type as _type
from collections.abc import Callable, Iterator, Sequence
from types import EllipsisType
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, overload

import numpy.typing as npt

{imports}

_dtype: TypeAlias = dtype
_Number: TypeAlias = _float | _int | _bool
_Index: TypeAlias = _int | slice | EllipsisType | Tensor | npt.NDArray[Any] | Sequence[Any] | None
_T = TypeVar("_T", bound=Tensor)
'''
# Names that stand for something else in the module or in Tensor.
RENAMED = {name: f"_{name}" for name in ("bool", "float", "int", "type", "dtype", "device")}
KNOWN = {*CLASSES, "Any", "Callable", "Iterator", "Sequence", "dict", "list", "npt", "object", "str", "tuple",
         "_Number", "_Index", "_T", "None",
         "Literal"}  # fmt: skip

_UNARY = ("__abs__", "__invert__", "__neg__", "__pos__")
_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
_COMPARED = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__")
_OPTIONS = "dtype: dtype | None = None, device: device | str | None = None, requires_grad: bool = False"
_LIKE = f"{_OPTIONS}, memory_format: memory_format | None = None"
_SIZE = "*size: int | Sequence[int]"
_FORMAT = "*, memory_format: memory_format | None = None"
# Arguments and result of what states none, or too little; in Tensor unless a class is named.
BY_HAND: dict[str, str] = {
    **dict.fromkeys((*_UNARY, "detach", "t", "conj", "share_memory_"), "(self) -> Tensor"),
    **{f"__{r}{name}__": "(self, other: Tensor | float, /) -> Tensor" for name in _BINARY for r in ("", "r", "i")},
    **dict.fromkeys(_COMPARED, "(self, other: Tensor | float, /) -> Tensor"),
    **dict.fromkeys(("__bool__", "is_complex"), "(self) -> bool"),
    **dict.fromkeys(("__hash__", "__index__", "__int__", "__len__", "Size.numel"), "(self) -> int"),
    **dict.fromkeys(("numel", "nelement", "data_ptr", "storage_offset", "element_size"), "(self) -> int"),
    **dict.fromkeys(("empty", "ones", "zeros"), f"({_SIZE}, {_OPTIONS}) -> Tensor"),
    **{f"{name}_like": f"(input: Tensor, *, {_LIKE}) -> Tensor" for name in ("empty", "ones", "zeros")},
    **{f"new_{name}": f"(self, {_SIZE}, {_OPTIONS}) -> Tensor" for name in ("empty", "ones", "zeros")},
    "full": f"(size: int | Sequence[int], fill_value: float, *, {_OPTIONS}) -> Tensor",
    "full_like": f"(input: Tensor, fill_value: float, *, {_LIKE}) -> Tensor",
    "new_full": f"(self, size: int | Sequence[int], fill_value: float, *, {_OPTIONS}) -> Tensor",
    "arange": f"(start: float, end: float | None = None, step: float = 1, *, {_OPTIONS}) -> Tensor",
    "__new__": "(cls: type[_T], *args: Any) -> _T",
    "__float__": "(self) -> float",
    "__getitem__": "(self, index: _Index, /) -> Tensor",
    "__setitem__": "(self, index: _Index, value: Tensor | npt.NDArray[Any] | float, /) -> None",
    "__delitem__": "(self, index: _Index, /) -> None",
    "view": "(self, *shape: int | Sequence[int] | dtype) -> Tensor",
    "reshape": "(self, *shape: int | Sequence[int]) -> Tensor",
    "permute": "(self, *dims: int | Sequence[int]) -> Tensor",
    "expand": "(self, *size: int | Sequence[int]) -> Tensor",
    "contiguous": f"(self, {_FORMAT}) -> Tensor",
    "clone": f"(input: Tensor, {_FORMAT}) -> Tensor",
    "item": "(self) -> _Number",
    "requires_grad_": "(self: _T, requires_grad: bool = True, /) -> _T",
    "numpy": "(self, *, force: bool = False) -> npt.NDArray[Any]",
    "make_subclass": "(cls: type[_T], data: Tensor, requires_grad: bool = False) -> _T",
    "memory_stats": "() -> dict[str, int]",
    "cuda_memory_stats": "() -> dict[str, int]",
    "to_dlpack": "(input: Tensor) -> Any",
    "from_dlpack": "(capsule: Any) -> Tensor",
    "cuda_walk_memory": "(x: Tensor | None, y: Tensor | None) -> None",
    "Size.__repr__": "(self) -> str",
    "Generator.manual_seed": "(self, seed: int) -> Generator",
    "Node.__eq__": "(self, other: object, /) -> bool",
    "AccumulateGrad.__eq__": "(self, other: object, /) -> bool",
    "row_sums": "(input: Tensor, source: Tensor | None, index: Tensor, factor: Tensor | None, rows: int) -> Tensor",
    "linear_cross_entropy": "(input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None, "
    "weight: Tensor | None, ignore_index: int, reduction: str, label_smoothing: float) -> Tensor",
    "batch_norm": "(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, "
    "weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, "
    "eps: float = 1e-05, relu: bool = False, residual: Tensor | None = None) -> Tensor",
    **dict.fromkeys(
        ("rnn_tanh", "rnn_relu", "gru", "lstm"),
        "(input: Tensor, h: Tensor | None, c: Tensor | None, params: Sequence[Tensor], has_biases: bool, "
        "num_layers: int, dropout: float, training: bool, bidirectional: bool, batch_first: bool, "
        "batch_sizes: Tensor | None = None) -> tuple[Tensor, ...]",
    ),
    **dict.fromkeys(
        ("rnn_tanh_cell", "rnn_relu_cell", "gru_cell", "lstm_cell"),
        "(input: Tensor, h: Tensor | None, c: Tensor | None, w_ih: Tensor, w_hh: Tensor, "
        "b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> tuple[Tensor, ...]",
    ),
    "convolution": "(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], "
    "padding: Sequence[int], padding_after: Sequence[int], dilation: Sequence[int], groups: int, "
    "relu: bool) -> Tensor",
    "convolution_transposed": "(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], "
    "padding: Sequence[int], output_padding: Sequence[int], dilation: Sequence[int], groups: int, "
    "relu: bool) -> Tensor",
}
_EXTREME = (
    "(input: Tensor) -> Tensor",
    "(input: Tensor, dim: Tensor) -> Tensor",
    "(input: Tensor, dim: int, keepdim: bool = False) -> ValuesAndIndices",
)
OVERLOADS = {
    "size": ("(self) -> Size", "(self, dim: int, /) -> int"),
    "stride": ("(self) -> tuple[int, ...]", "(self, dim: int, /) -> int"),
    "nonzero": (
        "(input: Tensor, *, as_tuple: Literal[False] = False) -> Tensor",
        "(input: Tensor, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]",
    ),
    "max": _EXTREME,
    "min": _EXTREME,
}
BASES = {"Size": "(tuple[_int, ...])", "OutOfMemoryError": "(RuntimeError)"}
PROPERTIES = {  # and whether they can be set
    "H": ("Tensor", False), "T": ("Tensor", False), "mT": ("Tensor", False), "real": ("Tensor", False),
    "_base": ("Tensor | None", False), "_version": ("int", False), "array": ("npt.NDArray[Any]", False),
    "data": ("Tensor", True), "device": ("device", False), "dtype": ("dtype", False), "grad": ("Tensor | None", True),
    "grad_fn": ("Node | AccumulateGrad | None", False), "is_cuda": ("bool", False), "is_leaf": ("bool", False),
    "is_sparse": ("bool", False), "itemsize": ("int", False), "nbytes": ("int", False), "ndim": ("int", False),
    "output_nr": ("int", False), "requires_grad": ("bool", True), "shape": ("Size", False),
    "name": ("str", False), "is_complex": ("bool", False), "is_floating_point": ("bool", False),
    "is_signed": ("bool", False), "saved_tensors": ("tuple[Tensor, ...]", False),
    "needs_input_grad": ("tuple[bool, ...]", False), "next_functions": ("tuple[Any, ...]", False),
    "variable": ("Tensor", False), "pointer": ("int", False), "priority": ("int", False),
    "is_captured": ("bool", False),
}  # fmt: skip
PARAMETERS = {"collections.abc.Callable": "Callable[..., Any]", "list": "list[Any]", "type": "type[Any]"}
GENERIC = {"Sequence[Tensor]": "tuple[Tensor, ...]", "dict": "dict[str, Any]"}  # of results
HOMES = {"Number": "dd2424._types", "Dims": "dd2424._types", "memory_format": "dd2424._formats",
         "ValuesAndIndices": "dd2424.functional.sort"}  # fmt: skip


class Renamer(ast.NodeTransformer):
    """Rewrites annotations into names that the stub has, and notes which ones it must import."""

    def __init__(self, owner: Any) -> None:
        self.owner, self.imports = owner, dict[str, str]()

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "npt":
            return node
        return self.visit(ast.Name(node.attr))  # dd2424._core.Node, collections.abc.Callable

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        text = ast.unparse(node)
        for union, name in (("typing.SupportsFloat | typing.SupportsIndex", "float"),
                            ("typing.SupportsInt | typing.SupportsIndex", "int")):  # fmt: skip
            if text.startswith(union):
                return self.visit(ast.parse(name + text.removeprefix(union), mode="eval").body)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        name = node.id
        if name in ("object", "CapsuleType"):
            return ast.Name("Any")
        if name in RENAMED:
            if name == "device":
                self.imports["device as _device"] = "dd2424._device"
            return ast.Name(RENAMED[name])
        if name not in KNOWN:
            here = self.owner.__module__ if self.owner else ""
            self.imports[name] = HOMES.get(name) or _home(here, name)
        return ast.Name(name)


def _home(module: str, name: str) -> str:
    """Where a name of a module's annotations comes from."""
    value = getattr(importlib.import_module(module), name)
    return getattr(value, "__module__", module) if isinstance(value, type) else module


def _generic(annotation: ast.expr) -> ast.expr:
    whole = PARAMETERS.get(ast.unparse(annotation))
    return ast.parse(whole, mode="eval").body if whole else annotation


def typed(definition: ast.FunctionDef, renamer: Renamer, is_method: bool) -> str:
    """One line of the stub."""
    a = definition.args
    if is_method:
        first = (a.posonlyargs or a.args)[0]
        first.arg = "cls" if definition.name == "__new__" else "self"
        first.annotation = first.annotation if _is_self_typed(first) else None
    positional = [*a.posonlyargs, *a.args]
    defaults = dict(zip(map(id, reversed(positional)), reversed(a.defaults)))
    defaults |= {id(p): d for p, d in zip(a.kwonlyargs, a.kw_defaults) if d}
    for p in [*positional, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]:
        if p.annotation:
            p.annotation = renamer.visit(_generic(p.annotation))
            text, default = ast.unparse(p.annotation), defaults.get(id(p))
            if isinstance(default, ast.Constant) and default.value is None and "None" not in text and text != "Any":
                p.annotation = ast.parse(f"{text} | None", mode="eval").body
        elif p.arg not in ("self", "cls"):
            p.annotation = ast.Name("Any")
    result = ast.unparse(definition.returns) if definition.returns else "Any"
    result = GENERIC.get(result, result)
    definition.returns = renamer.visit(ast.parse(result, mode="eval").body)
    return ast.unparse(definition).replace(":\n    ...", ": ...")


def _is_self_typed(first: ast.arg) -> bool:
    return first.annotation is not None and ast.unparse(first.annotation) in ("_T", "type[_T]")


def lines_for(name: str, value: Any, owner: str, renamer: Renamer) -> list[str]:
    """What the stub says of one function or attribute."""
    renamer.owner = getattr(value, "__wrapped__", value)
    if owner and (isinstance(value, property) or type(value).__name__ == "getset_descriptor"):
        kind, settable = PROPERTIES.get(name, ("Any", True))
        kind = ast.unparse(renamer.visit(ast.parse(kind, mode="eval").body))
        setter = [f"@{name}.setter", f"def {name}(self, value: {kind}) -> None: ..."] if settable else []
        return ["@property", f"def {name}(self) -> {kind}: ...", *setter]
    if not callable(value):
        return [f"{name}: ClassVar[{ast.unparse(renamer.visit(ast.Name(type(value).__name__)))}]"]
    texts = OVERLOADS.get(name) or BY_HAND.get(f"{owner}.{name}") or BY_HAND.get(name, "")
    if texts and (owner or not str(texts).startswith("(self")):
        texts = (texts,) if isinstance(texts, str) else texts
        stated = [ast.parse(f"def {name}{text}: ...").body[0] for text in texts]
    else:
        stated = [signature(name, value) or ast.parse(f"def {name}(self, *args: Any, **kwargs: Any): ...").body[0]]
    is_static = isinstance(value, staticmethod)
    found = [typed(s, renamer, bool(owner) and not is_static) for s in stated if isinstance(s, ast.FunctionDef)]
    if is_static:
        return ["@staticmethod", *found]
    if owner == "Tensor" and name in ("__eq__", "__ne__", "__reduce_ex__"):
        found = [f"{line}  # type: ignore[override]" for line in found]
    return [line for text in found for line in (["@overload"] if len(found) > 1 else []) + [text]]


def stub() -> str:
    """The whole file, unformatted."""
    renamer, body = Renamer(None), list[str]()
    for name in CLASSES:
        base = BASES.get(name, "")
        body.append(f"class {name}{base}:")
        body += [f"    {line}" for key, value in members(name).items() for line in lines_for(key, value, name, renamer)]
        if not members(name):
            body[-1] += " ..."
        if name == "FunctionContext":  # takes any attribute
            body += ["    def __getattr__(self, name: str) -> Any: ..."]
            body += ["    def __setattr__(self, name: str, value: Any) -> None: ..."]
        body.append("")
    for name in FUNCTIONS:
        body += lines_for(name, getattr(_core, name), "", renamer)
    kinds = {name: type(getattr(_core, name)).__name__ for name in CONSTANTS}
    body += [f"{name}: {RENAMED.get(kind, kind)}" for name, kind in kinds.items()]
    imports = [f"from {module} import {name}" for name, module in sorted(renamer.imports.items())]
    return "\n".join([HEADER.format(imports="\n".join(imports)), *body]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(stub())
    print(f"wrote {TARGET.name}", file=sys.stderr)
