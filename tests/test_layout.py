"""docs/style.md, as far as a machine can check it: one name a family, imports down, sizes, docstrings, no leftovers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from layout import (
    circles,
    cpp_functions,
    cpp_includes,
    import_graph,
    imported_modules,
    module_name,
    public_names_without_docstring,
)

ROOT = Path(__file__).parents[1]
CSRC, PACKAGE, TESTS = ROOT / "csrc", ROOT / "python" / "dd2424", ROOT / "tests"
pytestmark = pytest.mark.skipif(not CSRC.is_dir(), reason="the sources are not here")

CPP = sorted(p for folder in (CSRC, TESTS / "cpp") for p in folder.rglob("*") if p.suffix in (".h", ".cpp", ".cu"))
PYTHON = sorted(p for folder in ("python", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py"))
BUILD = [ROOT / name for name in ("CMakeLists.txt", "Makefile", "pyproject.toml", ".ci/run", "README.md")]
PROSE = sorted((*(ROOT / "docs").rglob("*.md"), *(ROOT / "cmake").glob("*"), *ROOT.glob("*.md"), *BUILD))

CONTRACTS = [p for p in (CSRC / "core").glob("*.h") if re.search(r"struct \w+Kernels\b", p.read_text())]
FAMILIES = sorted({p.stem for p in CONTRACTS} - {"machine"})  # what benchmarks compare with is no operation
# Where a family has no file of its name, and why.
ELSEWHERE = {
    "python/dd2424/functional/copy.py": "creation.py: functional speaks of new tensors; copies are methods",
    "python/dd2424/functional/optim.py": "optim/: an update rule is no function of tensors",
}
# Files of ops and bindings that belong to no family of kernels.
SHARED = {
    "ops/common": "what every operation needs", "ops/autocast": "the dtype they take",
    "ops/tape": "how a node is recorded", "ops/shape": "views: they compute nothing",
    "ops/join": "cat, stack and split: copies by another name",
    "ops/images": "how images lie in memory: they compute nothing",
    "bindings/arguments": "sizes, dtypes and numbers", "bindings/direct": "functions of one or two tensors",
    "bindings/tensor": "the type itself: its slots, methods, indexing", "bindings/module": "the list of the families",
    "bindings/autograd": "of csrc/autograd", "bindings/function": "likewise", "bindings/numpy": "of csrc/tensor",
    "bindings/cuda": "what there is to ask about a GPU", "cuda/library": "the CUDA library's one function",
    "cuda/machine": "its limits", "cuda/memory": "a GPU's memory", "cuda/pinned": "the host's that it reaches",
    "cuda/streams": "streams, events and graphs", "ops/graph": "captured work of a GPU",
    "bindings/dlpack": "arrays of other libraries on a GPU",
    "bindings/runtime": "threads, ISA levels, memory", "bindings/shape": "of ops/shape",
    "bindings/machine": "the limits that benchmarks compare with", "cpu/machine": "likewise",
}  # fmt: skip
CPP_LAYERS = {
    "core": {"core"},
    "cpu": {"core", "cpu"},
    "cuda": {"core", "cuda"},
    "tensor": {"core", "tensor"},
    "autograd": {"core", "tensor", "autograd"},
    "ops": {"core", "tensor", "autograd", "ops"},
    "bindings": {"core", "tensor", "autograd", "ops", "bindings"},
}
PYTHON_LAYERS = (  # from the bottom; "" is the package's front, whose names may be used above nn
    ("_core", "_private"),
    ("autograd", "backends", "cuda", "linalg"),
    ("functional", "special", "testing"),
    ("nn", "optim"),
    ("", "amp", "distributions", "func", "train", "data", "utils"),
    ("models",),
    ("labs", "cli", "check", "__main__"),
)
RANK = {name: rank for rank, names in enumerate(PYTHON_LAYERS) for name in names}
IMPORTS_UP = {
    "_autocast.py": "whether there is a GPU is asked of cuda, when a block for it is made",
    "_tensor.py": "a GPU's arrays and its memory are asked for where there is a GPU",
    "amp.py": "cuda.amp: PyTorch's second name for mixed precision, loaded when first used",
    "_runtime.py": "show_config prints the version, which stands at the front",
    "_extra.py": "the names of linear algebra at the front, loaded when first used",
}
LONG_FILES = {"docs/benchmarks.md": "made by a program: a row for each case"}
LONG_FUNCTIONS: dict[str, str] = {}
# What kernels may include besides ours: headers without functions that could leave a weak symbol.
KERNEL_HEADERS = {"math.h", "string.h", "stdint.h", "stddef.h", "immintrin.h", "arm_neon.h", "type_traits"}
# The last are texts of assembly, which no template can join.
MACROS = ["DD2424_TABLE", "DD2424_CUDA_CHECK", "DD2424_(NUMBERS_|SUMS_|MULTIPLY_ADD|PRODUCT|SHORT_PRODUCT)"]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def matches(paths: list[Path], pattern: str) -> list[str]:
    """file:line of every line that has the pattern."""
    compiled, here = re.compile(pattern), Path(__file__).resolve()
    found = ((p, i, line) for p in paths if p != here for i, line in enumerate(p.read_text().splitlines(), 1))
    return [f"{relative(p)}:{i}: {line.strip()}" for p, i, line in found if compiled.search(line)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_one_name_everywhere(family):
    wanted = (
        f"csrc/cpu/{family}.cpp", f"csrc/ops/{family}*.cpp", f"csrc/bindings/{family}.cpp",
        f"python/dd2424/functional/{family}.py", f"tests/test_{family}*.py", f"tests/reference/{family}.py",
        f"benchmarks/bench_{family}.py",
    )  # fmt: skip
    missing = [pattern for pattern in wanted if pattern not in ELSEWHERE and not any(ROOT.glob(pattern))]
    assert not missing


def test_every_source_belongs_to_a_family():
    sources = [p for p in CPP if p.parent.name in ("cpu", "cuda", "ops", "bindings") and p.suffix in (".cpp", ".cu")]
    known = {f"{folder}/{family}" for folder in ("cpu", "cuda", "ops", "bindings") for family in FAMILIES} | set(SHARED)
    strangers = [p for p in sources if not any(is_named(f"{p.parent.name}/{p.stem}", name) for name in known)]
    assert not strangers


def is_named(stem: str, family: str) -> bool:
    return stem == family or stem.startswith(f"{family}_")


def test_every_source_is_built():
    stated = set(re.findall(r"^\s+(\S+\.cpp)\b", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE))
    assert stated == {relative(p) for p in CPP if p.suffix == ".cpp" and p.is_relative_to(CSRC)}
    stated = set(re.findall(r"^\s+(csrc/\S+\.cu)\b", (ROOT / "cmake" / "Cuda.cmake").read_text(), re.MULTILINE))
    assert stated == {relative(p) for p in CPP if p.suffix == ".cu"}


@pytest.mark.parametrize("layer", CPP_LAYERS)
def test_includes_go_down(layer):
    wrong = []
    for path in (p for p in CPP if p.parent.name == layer):
        ours, theirs = cpp_includes(path.read_text())
        wrong += [f"{relative(path)}: {name}" for name in ours if name.partition("/")[0] not in CPP_LAYERS[layer]]
        if layer == "cpu":
            wrong += [f"{relative(path)}: {name}" for name in theirs if name not in KERNEL_HEADERS]
    assert not wrong


def test_imports_go_down():
    wrong = []
    for path in (p for p in PYTHON if p.is_relative_to(PACKAGE) and p.name not in IMPORTS_UP):
        here = module_name(path.relative_to(PACKAGE))
        if here == "":
            continue  # the front gathers everything
        above = {name for name in imported_modules(path.read_text(), PACKAGE) if RANK[name] > RANK[here]}
        wrong += [f"{relative(path)} imports {name or 'dd2424'}" for name in sorted(above)]
    assert not wrong


def test_no_modules_import_each_other():
    graph = {module: found - {"dd2424"} for module, found in import_graph(PACKAGE).items()}  # the front gathers them
    assert circles(graph) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a -> b", "b -> c", "c -> a"]


def test_files_are_short():
    long = {relative(p) for p in (*CPP, *PYTHON, *PROSE) if len(p.read_text().splitlines()) > 400}
    assert long <= set(LONG_FILES)


def test_functions_fit_a_screen():
    long = []
    for path in PYTHON:
        nodes = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef))
        long += [f"{relative(path)}:{n.name}" for n in nodes if (n.end_lineno or 0) - n.lineno >= 60]
    for path in CPP:
        long += [f"{relative(path)}:{name}" for name, lines in cpp_functions(path.read_text()) if lines > 60]
    assert set(long) <= set(LONG_FUNCTIONS)


@pytest.mark.parametrize("path", [p for p in PYTHON if p.is_relative_to(PACKAGE)], ids=relative)
def test_what_is_public_has_a_docstring(path):
    assert not public_names_without_docstring(path.read_text())


def test_nothing_is_left_lying_about():
    paths = [*CPP, *PYTHON, *PROSE]
    assert not matches(paths, r"/(home|root|work|Users)/|(?<![\w.])/tmp/"), "paths of one machine"
    assert not matches(paths, r"\b(TODO|FIXME|XXX|HACK)\b(?! ?\(?#\d)(?!.*issue)"), "leftovers without a number"
    assert not matches(CPP, r"^\s*#if 0|^\s*//\s*(-{2,}|={2,}|\*{2,}|#{2,})"), "dead code and banners"
    assert not matches(PYTHON, r"^\s*#\s*(-{2,}|={2,}|\*{2,}|#{2,})"), "banners"
    macros = matches(CPP, r"#define (?!" + "|".join(MACROS) + ")")
    assert not macros


def test_the_readers_see_what_they_look_for():
    text = (
        "namespace a {\nstruct S {\n  int f() const {\n    if (x) {\n    }\n  }\n};\nint list[] = {\n1};\nvoid g() {}"
    )
    assert list(cpp_functions(text)) == [("f", 4), ("g", 1)]
    assert cpp_includes('#include "core/a.h"\n#include <math.h>\n') == (["core/a.h"], ["math.h"])
    assert imported_modules("import dd2424\nfrom dd2424 import nn, Tensor\nfrom dd2424._core import x", PACKAGE) == {
        "",
        "nn",
        "_core",
    }
    assert public_names_without_docstring('"""M."""\ndef f(): ...\ndef _g(): ...\n') == ["f"]
