"""The GPU: whether there is one that can be used, its memory, waiting for it.

Kernels for GPUs are a library of their own, which `make cuda` builds; packages dd2424-cuda12 and dd2424-cuda13 are to
bring it. It is opened when a GPU is first asked for; DD2424_CUDA_LIBRARY names another one.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dd2424 import _core
from dd2424._device import GPU, device as _device
from dd2424._lazy import lazy_getattr

if TYPE_CHECKING:
    from dd2424._core import Tensor

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


def why_not() -> str:
    """What is missing for a GPU to be used; empty where nothing is."""
    global _failure
    if _core.cuda_is_open():
        return ""
    if _failure is None:
        library = _library()
        if library is None:
            _failure = (
                "dd2424 has no CUDA library here: build it from the source folder with `make cuda` and name it, "
                "DD2424_CUDA_LIBRARY=build/cuda/_cuda.so"
            )
        else:
            try:
                _core.cuda_open(library)
            except RuntimeError as error:
                _failure = str(error).removeprefix("cuda: ")
    return _failure or ""


def require(name: str, wanted: Any = "cuda") -> None:
    """Raises: RuntimeError where there is no GPU to use, naming who asked and what is missing."""
    if reason := why_not():
        raise RuntimeError(f"{name}: device must be cpu, got {wanted}: {reason}")


def is_available() -> bool:
    """Whether there is a GPU that can be used."""
    return not why_not()


def device_count() -> int:
    """How many GPUs there are that can be used: one is the most."""
    return int(is_available())


def _properties(name: str, device: Any = None) -> dict[str, Any]:
    """What the library tells of its GPU. Raises: RuntimeError where there is none, or for another device."""
    require(name)
    if device is not None and _device(device) not in (GPU, _device("cuda")):
        raise RuntimeError(f"{name}: device must be cuda:0, got {_device(device)}")
    return _core.cuda_properties()


def current_device() -> int:
    """The number of the GPU in use. Raises: RuntimeError where there is none."""
    require("current_device")
    return 0


def get_device_name(device: Any = None) -> str:
    """The GPU's name. Raises: RuntimeError where there is none."""
    return str(_properties("get_device_name", device)["name"])


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The GPU's compute capability, such as (9, 0). Raises: RuntimeError where there is none."""
    major, minor = divmod(_properties("get_device_capability", device)["capability"], 10)
    return major, minor


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of the GPU's memory. Raises: RuntimeError where there is none."""
    properties = _properties("mem_get_info", device)
    return properties["free_bytes"], properties["total_bytes"]


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done all that it was asked. Raises: RuntimeError where there is none."""
    _properties("synchronize", device)
    _core.cuda_synchronize()


def manual_seed(seed: int) -> None:
    """Seed the generator of every device: there is one, and its bits are the same on all."""
    _core.default_generator.manual_seed(seed)


manual_seed_all = manual_seed


def memory_stats(device: Any = None) -> dict[str, int]:
    """What `dd2424.memory_stats` tells, of the GPU's memory; all zero where there is no GPU in use."""
    if not _core.cuda_is_open():
        return dict.fromkeys(("in_use_bytes", "peak_bytes", "reserved_bytes", "allocations", "system_allocations"), 0)
    return _core.cuda_memory_stats()


def memory_allocated(device: Any = None) -> int:
    """Bytes of the GPU's memory that tensors hold."""
    return memory_stats()["in_use_bytes"]


def max_memory_allocated(device: Any = None) -> int:
    """The most that tensors have held, in bytes, since the start or the last reset."""
    return memory_stats()["peak_bytes"]


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the GPU: what tensors hold and what is kept for the next ones."""
    return memory_stats()["reserved_bytes"]


def reset_peak_memory_stats(device: Any = None) -> None:
    """Start counting `max_memory_allocated` anew."""
    if _core.cuda_is_open():
        _core.cuda_reset_peak_memory()


def empty_cache() -> None:
    """Give back what is kept for the next tensors."""
    if _core.cuda_is_open():
        _core.cuda_empty_cache()


def array_of(tensor: Tensor) -> Any:
    """A CuPy array over the memory of a GPU's tensor. Raises: RuntimeError without CuPy."""
    try:
        import cupy  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise RuntimeError(
            "array: the view of a GPU's tensor needs CuPy (cupy-cuda13x or cupy-cuda12x); use .cpu() for a copy"
        ) from error
    return cupy.asarray(tensor)


__getattr__ = lazy_getattr("dd2424.cuda")
