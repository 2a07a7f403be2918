"""The guard of the build: an object compiled for one ISA level may define no weak symbol outside of its namespace."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUARD = ROOT / "cmake" / "CheckIsaObjects.cmake"
CMAKE = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]
OURS = "template <class T> T twice(T x) { return x + x; }\ntemplate int twice<int>(int);"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not GUARD.exists(), reason="the sources are not here"),
    pytest.mark.skipif(
        not CMAKE or not shutil.which("nm") or not COMPILERS, reason="cmake, nm or a compiler is not here"
    ),
]


def guarded(compiler: str, folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    """What the guard says of this source, compiled for level avx2."""
    (folder / "kernel.cpp").write_text(source)
    subprocess.run([compiler, "-std=c++20", "-O0", "-c", "kernel.cpp"], cwd=folder, check=True)
    command = [CMAKE, f"-DNM={shutil.which('nm')}", "-DISA=avx2", "-DOBJECTS=kernel.o", "-P", GUARD]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_weak_symbol_of_a_level_may_lie_in_its_namespace(compiler, tmp_path):
    source = f"namespace dd2424::cpu::avx2 {{ {OURS} }}\nint strong() {{ return 1; }}"
    assert guarded(compiler, tmp_path, source).returncode == 0


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("source", [OURS, f"namespace dd2424::cpu::avx512 {{ {OURS} }}",
                                    "#include <vector>\nvoid f(std::vector<int>& v) { v.push_back(1); }"])  # fmt: skip
def test_any_other_weak_symbol_fails_the_build(compiler, tmp_path, source):
    result = guarded(compiler, tmp_path, source)
    assert result.returncode != 0
    assert "Weak symbols outside namespace dd2424::cpu::avx2" in result.stderr
