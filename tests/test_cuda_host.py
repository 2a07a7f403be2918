"""The emulated GPU that kernels are tested on catches what a GPU forbids."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "cuda_host"
COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir() or not COMPILER, reason="the sources or a compiler are not here"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("cuda_host") / "check"
    sources = [FOLDER / name for name in ("check.cpp", "emulator.cpp", "streams.cpp")]
    subprocess.run([COMPILER, "-std=c++20", "-O1", f"-I{FOLDER}", *sources, "-o", path, "-pthread"], check=True)
    return path


def run(program: Path, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, name], capture_output=True, text=True, check=False)


def test_what_is_allowed_works(program):
    assert run(program, "reverse").stdout.split() == [str(63 - i) for i in range(64)]
    assert run(program, "reverse_blocks").stdout.split() == [str(63 - i) for i in range(64)]
    assert run(program, "sum").stdout.split() == [str(64 * 63 // 2)]


def test_a_missing_barrier_shows(program):
    values = [int(word) for word in run(program, "unfenced").stdout.split()]
    assert -1 in values
    assert values != [63 - i for i in range(64)]


@pytest.mark.parametrize(("name", "message"), [
    ("half_wait", "a barrier that not all threads of the block reach at"),
    ("wait_apart", "threads of one block wait at different barriers at"),
    ("half_grid", "a barrier that not all blocks of the grid reach at"),
    ("grid_apart", "a barrier of a grid whose blocks may not run at once at"),
    ("half_exchange", "a warp's exchange that not all of its lanes reach at"),
    ("write_past", "a kernel has written past the end of a block of memory"),
])  # fmt: skip
def test_what_is_forbidden_ends_the_program(program, name, message):
    done = run(program, name)
    assert done.returncode == -signal.SIGABRT
    assert message in done.stderr
    if message.endswith(" at"):
        assert "check.cpp:" in done.stderr


def test_a_streams_work_waits_until_it_is_waited_for(program):
    assert run(program, "late").stdout.split() == ["0", "1", "1", "0", "0"]


def test_a_graph_holds_no_copy_of_memory_that_may_be_gone(program):
    assert run(program, "captured_copy").stdout == "operation not permitted when stream is capturing\n"


def test_the_host_cannot_read_the_gpus_memory(program):
    assert run(program, "host_read").returncode == -signal.SIGSEGV


def test_a_grid_that_no_gpu_has_is_refused(program):
    assert run(program, "too_many_blocks").stdout == "too many blocks in cooperative launch\n"
    assert run(program, "too_many_threads").stdout == "invalid configuration argument\n"
