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


def compiled(folder: Path, name: str) -> Path:
    program = folder / name
    sources = [FOLDER / f"{name}.cpp", FOLDER / "emulator.cpp", FOLDER / "streams.cpp"]
    includes = [f"-I{FOLDER}", f"-I{FOLDER.parents[1] / 'csrc'}"]
    subprocess.run([COMPILER, "-std=c++20", "-O1", *includes, *sources, "-o", program, "-pthread"], check=True)
    return program


def test_a_product_of_fragments(tmp_path):
    program = compiled(tmp_path, "check_tensor_core")
    for argument, answer in (("waits", "right"), ("does not", "wrong")):
        done = subprocess.run([program, argument], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == answer, done.stderr


def test_every_tile_of_warpgroups(tmp_path):
    done = subprocess.run([compiled(tmp_path, "check_warpgroup")], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "right", done.stdout + done.stderr
