"""What a run ran on: versions, processor, threads. Recorded beside its results."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import dd2424


def environment(device: str) -> dict[str, object]:
    """Versions, processor, instruction set and threads of this process, for `environment.json`."""
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "dd2424": dd2424.__version__,
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in ("numpy", "ml_dtypes", "matplotlib", "rich", "pooch")},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "isa": dd2424.get_isa(),
        "supported_isas": list(dd2424.supported_isas()),
        "threads": dd2424.get_num_threads(),
        "kernels": dd2424.get_kernels(),
        "device": device,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
