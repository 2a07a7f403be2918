"""What there is to ask about the GPU. One is used, the first."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

from dd2424 import _core
from dd2424._device import GPU, device as _device
from dd2424.cuda.library import is_available, require

_PLACES = (GPU, _device("cuda"))


def device_count() -> int:
    """How many GPUs there are that can be used: one is the most."""
    return int(is_available())


def check_device(name: str, device: Any = None) -> None:
    """Raises: RuntimeError where there is no GPU, or for another one than the first."""
    require(name)
    if device is not None and _device(device) not in _PLACES:
        raise RuntimeError(f"{name}: device must be cuda:0, got {_device(device)}")


def _properties(name: str, device: Any = None) -> dict[str, Any]:
    check_device(name, device)
    return _core.cuda_properties()


def init() -> None:
    """Open the GPU now, in place of when it is first used. Raises: RuntimeError where there is none."""
    require("init")


def is_initialized() -> bool:
    """Whether the GPU is in use."""
    return _core.cuda_is_open()


def current_device() -> int:
    """The number of the GPU in use. Raises: RuntimeError where there is none."""
    require("current_device")
    return 0


def set_device(device: Any) -> None:
    """Use this GPU from now on. Raises: RuntimeError for another one than the first, or where there is none."""
    check_device("set_device", device)


class device:
    """In a `with` block: this GPU is the current one. Raises: RuntimeError for another one than the first."""

    def __init__(self, device: Any) -> None:
        self.idx = -1 if device is None or _device(device).type == "cpu" else 0
        if self.idx == 0:
            check_device("device", device)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class device_of(device):
    """In a `with` block: the GPU of this tensor is the current one; nothing for one in the processor's memory."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.device if obj.is_cuda else None)


@dataclass(frozen=True)
class DeviceProperties:
    """What a GPU is. Units: total_memory in bytes."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    warp_size: int = 32


def get_device_properties(device: Any = None) -> DeviceProperties:
    """The GPU's name, compute capability, memory and number of multiprocessors. Raises: RuntimeError without one."""
    p = _properties("get_device_properties", device)
    major, minor = divmod(p["capability"], 10)
    return DeviceProperties(p["name"], major, minor, p["total_bytes"], p["multiprocessors"])


def get_device_name(device: Any = None) -> str:
    """The GPU's name. Raises: RuntimeError where there is none."""
    return str(_properties("get_device_name", device)["name"])


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The GPU's compute capability, such as (9, 0). Raises: RuntimeError where there is none."""
    major, minor = divmod(_properties("get_device_capability", device)["capability"], 10)
    return major, minor


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether bfloat16 can be computed with: always, and on tensor cores from compute capability 8.0."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def is_tf32_supported() -> bool:
    """Whether the GPU's tensor cores take TF32: from compute capability 8.0."""
    return is_available() and get_device_capability() >= (8, 0)


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done all that it was asked. Raises: RuntimeError where there is none."""
    check_device("synchronize", device)
    _core.cuda_synchronize()
