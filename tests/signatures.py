"""What the compiled module offers: the signature of each function and method, as Python and pybind11 state it."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

from dd2424 import _core

CLASSES = sorted(name for name, value in vars(_core).items() if isinstance(value, type))
FUNCTIONS = sorted(name for name, value in vars(_core).items() if callable(value) and name not in CLASSES)
CONSTANTS = sorted(name for name in set(vars(_core)) - {*CLASSES, *FUNCTIONS} if not name.startswith("__"))
# What every class has, or gets from pybind11, or from being pickled.
_INHERITED = {"__dict__", "__doc__", "__module__", "__slotnames__", "__weakref__", "_pybind11_conduit_v1_"}


def members(owner: str) -> dict[str, Any]:
    """The attributes that a class itself defines, by name."""
    own = vars(getattr(_core, owner))
    skipped = _INHERITED | ({"__init__"} if isinstance(own.get("__init__"), type(object.__init__)) else set())
    return {name: own[name] for name in sorted(own) if name not in skipped}


def _definition(name: str, text: str) -> ast.FunctionDef:
    """`(a: int = 1) -> int` as a syntax tree."""
    text = re.sub(r"\bfrom: ", "from_: ", text)  # a name in C++, a keyword in Python
    text = re.sub(r"= (?!None|True|False|-?[\d.e]+|'|\.\.\.)[\w.<>]+", "= ...", text)  # the repr of some object
    (definition,) = ast.parse(f"def {name}{text}: ...").body
    assert isinstance(definition, ast.FunctionDef)
    return definition


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter without annotation, its default only if it can be written down."""
    default = parameter.default
    if default is not parameter.empty and not isinstance(default, bool | int | float | str | None):
        default = ...
    return parameter.replace(annotation=parameter.empty, default=default)


def _of_python(name: str, function: Any) -> ast.FunctionDef:
    stated = inspect.signature(function)
    parameters = stated.parameters.values()
    plain = stated.replace(parameters=[_plain(p) for p in parameters], return_annotation=stated.empty)
    definition = _definition(name, str(plain).replace("Ellipsis", "..."))
    arguments = definition.args
    nodes = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for node in filter(None, nodes):
        annotation = stated.parameters[node.arg].annotation
        if isinstance(annotation, str):
            node.annotation = ast.parse(annotation, mode="eval").body
    if isinstance(stated.return_annotation, str):
        definition.returns = ast.parse(stated.return_annotation, mode="eval").body
    return definition


def signature(name: str, function: Any) -> ast.FunctionDef | None:
    """What a function says of its arguments: in annotations, or in the docstring that pybind11 writes."""
    function = getattr(function, "__wrapped__", function)  # an in-place twin says what its original says
    if inspect.isfunction(function):
        return _of_python(name, function)
    first = (getattr(function, "__doc__", None) or "").partition("\n")[0]
    found = re.match(r"\w+(\(.*\) -> .+)$", first)
    return _definition(name, found[1]) if found else None


def argument_names(definition: ast.FunctionDef) -> list[str]:
    """All argument names in order, with stars before the starred ones."""
    a = definition.args
    names = [p.arg for p in (*a.posonlyargs, *a.args)] + ([f"*{a.vararg.arg}"] if a.vararg else [])
    return names + [p.arg for p in a.kwonlyargs] + ([f"**{a.kwarg.arg}"] if a.kwarg else [])
