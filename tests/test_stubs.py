"""The types of the compiled module, `_core.pyi`, say what the module has: `make stubs` writes them anew."""

from __future__ import annotations

import ast
from collections import defaultdict
from importlib import resources
from typing import Any

import pytest

from dd2424 import _core
from signatures import CLASSES, CONSTANTS, FUNCTIONS, argument_names, members, signature

STUB = ast.parse((resources.files("dd2424") / "_core.pyi").read_text())
Definitions = dict[str, list[ast.stmt]]


def definitions(body: list[ast.stmt]) -> Definitions:
    """What a module or class body of the stub defines, by name; overloads and setters of one name together."""
    found: Definitions = defaultdict(list)
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name].append(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id].append(node)
    return found


def class_body(name: str) -> list[ast.stmt]:
    (node,) = definitions(STUB.body)[name]
    assert isinstance(node, ast.ClassDef)
    return node.body


def functions_of(owner: str) -> list[tuple[str, str, Any]]:
    """(class or "", name, function) of everything callable."""
    if not owner:
        return [("", name, getattr(_core, name)) for name in FUNCTIONS]
    return [(owner, name, value) for name, value in members(owner).items() if callable(value)]


def test_the_module_and_its_stub_have_the_same_names():
    stated = {name for name in definitions(STUB.body) if not name.startswith("_")}
    assert stated == {*CLASSES, *FUNCTIONS, *CONSTANTS}, "run `make stubs`"


@pytest.mark.parametrize("owner", CLASSES)
def test_a_class_and_its_stub_have_the_same_members(owner):
    stated = set(definitions(class_body(owner))) - {"__getattr__", "__setattr__"}  # of what takes any attribute
    assert stated == set(members(owner)), "run `make stubs`"


@pytest.mark.parametrize("owner", ["", *CLASSES])
def test_arguments_have_the_same_names(owner):
    stated = definitions(class_body(owner) if owner else STUB.body)
    wrong = {}
    for _, name, function in functions_of(owner):
        theirs = signature(name, function)
        if theirs is None:
            continue
        wanted = argument_names(theirs)[bool(owner) :]
        for node in stated[name]:
            assert isinstance(node, ast.FunctionDef), name
            ours = argument_names(node)[bool(owner) :]
            if not fits(ours, wanted, len(stated[name]) > 1):
                wrong[name] = (ours, wanted)
    assert not wrong, "run `make stubs`; name: (stub, module)"


def fits(ours: list[str], theirs: list[str], is_overload: bool) -> bool:
    """An overload may leave arguments out; for the module's *args and **kwargs a stub may name what they take."""
    ours = [t if t.startswith("arg") else o for o, t in zip(ours, theirs)] + ours[len(theirs) :]  # arg0: unnamed in C++
    if ours == theirs or not any(name.startswith("*") for name in theirs):
        return ours == theirs[: len(ours)] if is_overload else ours == theirs
    named = [name for name in theirs if not name.startswith("*")]
    return ours[: len(named)] == named


def test_a_changed_name_is_noticed():
    assert not fits(["input", "dims"], ["input", "dim"], False)
    assert not fits(["input"], ["input", "dim"], False)
    assert not fits(["input", "dims"], ["input", "dim"], True)
    assert fits(["size", "dtype"], ["*args", "**kwargs"], False)


def test_the_package_says_that_it_is_typed():
    assert (resources.files("dd2424") / "py.typed").is_file()
