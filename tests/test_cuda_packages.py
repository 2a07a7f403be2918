"""The packages that bring the CUDA library: built from these sources, of this version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dd2424.cuda import library

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "packages").is_dir(), reason="the sources are not here")


def stated(path: Path, key: str) -> str:
    found = re.search(rf"^{key} = (.+)$", path.read_text(), re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("cuda", ["12", "13"])
def test_a_package_is_of_the_version_it_belongs_to(cuda):
    own, package = ROOT / "pyproject.toml", ROOT / "packages" / f"cuda{cuda}" / "pyproject.toml"
    version = stated(own, "version").strip('"')
    assert stated(package, "version") == f'"{version}"'
    assert stated(package, "name") == f'"dd2424-cuda{cuda}"'
    assert stated(package, "dependencies") == f'["dd2424=={version}"]'
    assert f'"dd2424-cuda{cuda}=={version}", "cupy-cuda{cuda}x' in stated(own, f"cuda{cuda}")
    assert f'DD2424_CUDA_VERSION = "{cuda}"' in stated(package, "cmake.define")
    assert (ROOT / "packages" / f"cuda{cuda}" / f"dd2424_cuda{cuda}" / "__init__.py").exists()


def test_both_packages_differ_in_the_version_of_cuda_alone():
    texts = [(ROOT / "packages" / f"cuda{n}" / "pyproject.toml").read_text().replace(n, "N") for n in ("12", "13")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", library._PACKAGES)
def test_the_package_is_found(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "_cuda.so").touch()
    monkeypatch.delenv("DD2424_CUDA_LIBRARY", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert library._library() == str(folder / "_cuda.so")
