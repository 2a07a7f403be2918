"""Reads sources for test_layout.py: what a file includes and imports, how long its functions are, what it documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_COMMENT, _DIRECTIVE = r"//[^\n]*|/\*.*?\*/", r"^\s*#[^\n]*"
_STRING, _CHARACTER = r'R"\(.*?\)"|"(?:[^"\\\n]|\\.)*"', r"'(?:[^'\\\n]|\\.)'"
_TOKEN = re.compile("|".join((_COMMENT, _DIRECTIVE, _STRING, _CHARACTER)), re.DOTALL | re.MULTILINE)


def cpp_includes(text: str) -> tuple[list[str], list[str]]:
    """Ours, in quotes, and those in angle brackets."""
    return re.findall(r'^#include "(.+)"', text, re.MULTILINE), re.findall(r"^#include <(.+)>", text, re.MULTILINE)


def _bare(text: str) -> str:
    """The text without comments, strings and directives; lines stay where they are."""
    return _TOKEN.sub(lambda found: "\n" * found[0].count("\n"), text)


def cpp_functions(text: str) -> Iterator[tuple[str, int]]:
    """(name, number of lines) of each function outside of others, found by its braces."""
    code = _bare(text)
    scopes: list[bool] = []  # of the open braces: does it hold declarations?
    start, name, begun = 0, "", 0
    for found in re.finditer(r"[{};]", code):
        head = code[start : found.start()].strip()
        start = found.end()
        if found[0] == "{":
            declares = re.search(r"\b(namespace|struct|class|enum|union|extern)\b[^()]*$", head) is not None
            if all(scopes) and not declares:
                named = re.search(r"([\w~]+|operator\S+)\s*\(", head)
                is_function = named is not None and not re.search(r"(=|,|\()$", head)
                name, begun = (
                    (named[1] if named and is_function else ""),
                    code.count("\n", 0, found.start() - len(head)),
                )
            scopes.append(declares)
        elif found[0] == "}" and scopes:
            scopes.pop()
            if all(scopes) and name:
                yield name, code.count("\n", 0, found.start()) - begun + 1
                name = ""


def module_name(path: Path) -> str:
    """The layer's name of a file in the package: its folder, or itself; "_private" for what begins with _."""
    first = path.parts[0].removesuffix(".py")
    if first == "__init__":
        return ""
    return "_private" if first.startswith("_") and first != "__main__" else first


def _imports(text: str) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports of a file, those inside functions too, unless only for its types."""
    tree = ast.parse(text)
    only_types = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    skipped = {id(inner) for block in only_types for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in skipped:
            yield node


def import_graph(package: Path) -> dict[str, set[str]]:
    """The modules of a package that each of its modules imports names of."""
    dotted = (p.relative_to(package.parent).with_suffix("").parts for p in package.rglob("*.py"))
    modules = {".".join(parts).removesuffix(".__init__") for parts in dotted}
    graph: dict[str, set[str]] = {}
    for module in modules:
        path = package.parent.joinpath(*module.split("."))
        text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        names = [f"{n.module}.{a.name}" for n in _imports(text) if isinstance(n, ast.ImportFrom) for a in n.names]
        found = {name if name in modules else name.rpartition(".")[0] for name in names if "_core" not in name}
        graph[module] = found & modules - {module}
    return graph


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Every edge from which a way leads back."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen, waiting = set[str](), [start]
        while waiting:
            fresh = graph[waiting.pop()] - seen
            seen |= fresh
            waiting += fresh
        reached[start] = seen
    return sorted(f"{a} -> {b}" for a, targets in graph.items() for b in targets if a in reached[b])


def imported_modules(text: str, package: Path) -> set[str]:
    """The layers that a file imports from, unless only for its types."""
    found: set[str] = set()
    for node in _imports(text):
        if isinstance(node, ast.Import):
            found |= {_layer(alias.name, package) for alias in node.names if alias.name.split(".")[0] == "dd2424"}
        elif node.module and node.module.split(".")[0] == "dd2424":
            names = [node.module] if "." in node.module else [f"dd2424.{alias.name}" for alias in node.names]
            found |= {_layer(name, package) for name in names}
    return found


def _layer(dotted: str, package: Path) -> str:
    first = dotted.split(".")[1] if "." in dotted else ""
    is_module = (package / f"{first}.py").exists() or (package / first / "__init__.py").exists()
    if first == "_core" or not first:
        return first
    return module_name(Path(first)) if is_module else ""  # a name of the package's front


def public_names_without_docstring(text: str) -> list[str]:
    """The module, and its public functions and classes. Overloads and what a class overrides need none."""
    tree = ast.parse(text)
    found = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and "overload" not in map(ast.unparse, node.decorator_list):
            found.append(node.name)
    return found
