"""The CUDA library: where it is, and what is missing where it can't be used."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from dd2424 import _core

_PACKAGES = ("dd2424_cuda13", "dd2424_cuda12")
_FILE = "_cuda.so"
_failure: str | None = None  # why the library did not open; asked once


def _library() -> str | None:
    """The file of the CUDA library, or None."""
    if named := os.environ.get("DD2424_CUDA_LIBRARY"):
        return named
    folders = [Path(_core.__file__).parent]
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        folders += [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    return next((str(folder / _FILE) for folder in folders if (folder / _FILE).exists()), None)


def why_not(cupy: bool = False) -> str:
    """What is missing for a GPU to be used: the library, the driver or the GPU; empty where nothing is.

    With `cupy`, also what is missing for `Tensor.array`, which is CuPy's.
    """
    global _failure
    if not _core.cuda_is_open() and _failure is None:
        library = _library()
        if library is None:
            _failure = (
                "dd2424 has no CUDA library here: install dd2424[cuda13] or dd2424[cuda12], or build it from the "
                "source folder with `make cuda` and name it, DD2424_CUDA_LIBRARY=build/cuda/_cuda.so"
            )
        else:
            try:
                _core.cuda_open(library)
            except RuntimeError as error:
                _failure = str(error).removeprefix("cuda: ")
    if not _core.cuda_is_open():
        return _failure or ""
    return _why_not_cupy() if cupy else ""


def _why_not_cupy() -> str:
    runtime = str(_core.cuda_properties()["runtime"])  # "CUDA 13.0"
    major = runtime.removeprefix("CUDA ").partition(".")[0]
    package = f"cupy-cuda{major}x" if major in ("12", "13") else "cupy-cuda13x or cupy-cuda12x"
    try:
        import cupy as installed  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return f"CuPy is missing: install {package}"
    theirs = installed.cuda.runtime.runtimeGetVersion()
    if major in ("12", "13") and str(theirs // 1000) != major:
        found = f"CuPy {installed.__version__} is for CUDA {theirs // 1000}.{theirs % 1000 // 10}"
        return f"{found}, dd2424's CUDA library for {runtime}: install {package}"
    return ""


def require(name: str, wanted: Any = "cuda") -> None:
    """Raises: RuntimeError where there is no GPU to use, naming who asked and what is missing."""
    if reason := why_not():
        raise RuntimeError(f"{name}: device must be cpu, got {wanted}: {reason}")


def is_available() -> bool:
    """Whether there is a GPU that can be used."""
    return not why_not()
