"""save and load: what comes back, and what a damaged file does."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits
from dd2424 import Tensor, nn

DTYPES = ["float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype is b.dtype and bits(a) == bits(b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and bits(a) == bits(b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


THINGS: dict[str, Any] = {
    "tensor": dd2424.arange(6.0).reshape(2, 3),
    "scalar": dd2424.tensor(2.5),
    "nothing": dd2424.zeros(0, 3),
    "transposed": dd2424.arange(6.0).reshape(2, 3).T,
    "every dtype": {name: dd2424.ones(3).to(getattr(dd2424, name)) for name in DTYPES},
    "plain": {"a": 1, "b": [True, None, "text", 2.5], "c": (1, (2,)), "d": {}},
    "other keys": {1: "one", (2, "x"): dd2424.ones(1), None: 0},
    "arrays": [np.arange(3), np.float64(2.0).item()],
    "names that meet": {"a.b": dd2424.ones(1), "a": {"b": dd2424.zeros(1)}},
    "its own words": {"__array__": dd2424.ones(1), "__tuple__": [1], "tensor": True},
    "floats": [float("inf"), float("-inf"), 1e-300, 0.1],
    "state_dict": nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict(),
}


@pytest.mark.parametrize("name", THINGS)
@pytest.mark.parametrize("kind", ["path", "str", "buffer"])
def test_what_is_saved_comes_back(tmp_path: pathlib.Path, name: str, kind: str) -> None:
    thing = THINGS[name]
    target: Any = {"path": tmp_path / "x.pt", "str": str(tmp_path / "x.pt"), "buffer": io.BytesIO()}[kind]
    dd2424.save(thing, target)
    if kind == "buffer":
        target.seek(0)
    loaded = dd2424.load(target)
    expected = dict(thing) if name == "state_dict" else thing
    assert same(expected, dict(loaded) if name == "state_dict" else loaded)


def test_a_nan_comes_back() -> None:
    buffer = io.BytesIO()
    dd2424.save({"x": float("nan"), "t": dd2424.tensor([float("nan"), 1.0])}, buffer)
    buffer.seek(0)
    loaded = dd2424.load(buffer)
    assert loaded["x"] != loaded["x"]
    assert loaded["t"].isnan().tolist() == [True, False]


def test_gradients_are_not_saved() -> None:
    buffer = io.BytesIO()
    x = dd2424.ones(2, requires_grad=True)
    dd2424.save([x, x * 2], buffer)
    buffer.seek(0)
    first, second = dd2424.load(buffer)
    assert first.tolist() == [1, 1]
    assert second.tolist() == [2, 2]
    first += 1  # its own memory, writable


def test_equal_contents_give_equal_bytes(tmp_path: pathlib.Path) -> None:
    files = []
    for i in range(2):
        path = tmp_path / f"{i}"
        dd2424.save({"b": dd2424.ones(2), "a": dd2424.zeros(3)}, path)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_other_programs_read_the_tensors(tmp_path: pathlib.Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = nn.Linear(3, 2)
    dd2424.save(model.state_dict(), tmp_path / "model")
    arrays = load_file(tmp_path / "model")
    assert set(arrays) == {"weight", "bias"}
    np.testing.assert_array_equal(arrays["weight"], model.weight.detach().numpy())
    save_file({"x": np.arange(3, dtype=np.float32)}, tmp_path / "theirs")
    assert dd2424.load(tmp_path / "theirs")["x"].tolist() == [0, 1, 2]


def test_what_cannot_be_saved() -> None:
    for thing in (nn.Linear(1, 1), {"f": print}, [object()], {1, 2}, 1j):
        with pytest.raises(TypeError, match=r"save: .* must hold numbers, strings, tensors, lists or dicts, got"):
            dd2424.save(thing, io.BytesIO())


def test_damaged_files(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x"
    dd2424.save({"a": dd2424.ones(100)}, path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:5], whole[:-1], whole[:50], b"\xff" * 100, b"PK\x03\x04" + whole, whole + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"load: .*x must be a safetensors file"):
            dd2424.load(path)
    with pytest.raises(FileNotFoundError):
        dd2424.load(tmp_path / "none")


@pytest.mark.skipif(dd2424.cuda.is_available(), reason="there is a GPU")
def test_loading_to_a_gpu_that_is_not_there(tmp_path: pathlib.Path) -> None:
    dd2424.save({"a": dd2424.ones(2)}, tmp_path / "x")
    with pytest.raises(RuntimeError, match=r"to: device must be cpu, got cuda"):
        dd2424.load(tmp_path / "x", map_location="cuda")


def test_a_failed_save_leaves_the_old_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x"
    dd2424.save(dd2424.ones(2), path)
    with pytest.raises(TypeError):
        dd2424.save([dd2424.zeros(2), object()], path)
    assert dd2424.load(path).tolist() == [1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
