"""The emulated GPU's tensor cores: elements stand where the PTX ISA has them, copies are there once waited for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "cuda_host"
COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir() or not COMPILER, reason="the sources or a compiler are not here"),
]


def test_a_product_of_fragments(tmp_path):
    program = tmp_path / "check_tensor_core"
    sources = [FOLDER / name for name in ("check_tensor_core.cpp", "emulator.cpp", "streams.cpp")]
    subprocess.run([COMPILER, "-std=c++20", "-O1", f"-I{FOLDER}", *sources, "-o", program, "-pthread"], check=True)
    for argument, answer in (("waits", "right"), ("does not", "wrong")):
        done = subprocess.run([program, argument], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == answer, done.stderr
