"""Checkpoints and run folders: whole files or none, damage is noticed, the last good is found, folders are locked."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import dd2424
from dd2424 import _files
from dd2424.train import (
    Interrupted,
    RunError,
    RunFolder,
    UsageError,
    latest_run_path,
    load_checkpoint,
    load_latest,
    nearest,
    new_run_path,
    os_error_message,
    save_checkpoint,
)
from dd2424.train.checkpoint import checkpoint_files

STATE = {
    "step": 3, "rate": 0.1, "flag": True, "none": None, "name": "ü", "pair": (1, [2.5, {"deep": (4,)}]),
    "numbers": {0: {"buffer": 1}, 1: {}}, "infinite": math.inf,
}  # fmt: skip


def state(step=3):
    weights = dd2424.arange(6, dtype=dd2424.float32).view(2, 3) * step
    half = weights.to(dd2424.bfloat16)
    return {**STATE, "step": step, "weights": weights, "half": half, "array": np.arange(3, dtype=np.uint64) > 1}


def damage(path, how):
    content = path.read_bytes()
    changed = {"cut": content[:-4], "byte": content[:-4] + b"\x01" + content[-3:], "empty": b"", "junk": b"junk" * 50}
    path.write_bytes(changed[how])


def test_a_checkpoint_gives_back_what_it_was_given(tmp_path):
    loaded = load_checkpoint(save_checkpoint(tmp_path / "checkpoints", 3, state()))
    assert {key: loaded[key] for key in STATE} == STATE
    assert isinstance(loaded["pair"], tuple)
    assert loaded["weights"].tolist() == [[0, 3, 6], [9, 12, 15]]
    assert loaded["half"].dtype == dd2424.bfloat16
    assert (type(loaded["array"]), loaded["array"].tolist()) == (np.ndarray, [False, False, True])


def test_equal_states_give_equal_bytes(tmp_path):
    first, second = (save_checkpoint(tmp_path / name, 3, state()) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_the_last_two_are_kept(tmp_path):
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, step, state(step))
    (tmp_path / ".step-000000011.safetensors.1.tmp").write_bytes(b"unfinished")
    assert [path.name for path in checkpoint_files(tmp_path)] == [
        "step-000000002.safetensors",
        "step-000000010.safetensors",
    ]
    assert load_latest(tmp_path, pytest.fail)["step"] == 10
    assert load_latest(tmp_path / "none", pytest.fail) is None


@pytest.mark.parametrize("how", ["cut", "byte", "empty", "junk"])
def test_a_damaged_last_checkpoint_falls_back(tmp_path, how):
    paths = [save_checkpoint(tmp_path, step, state(step)) for step in (1, 2)]
    damage(paths[1], how)
    told = []
    assert load_latest(tmp_path, told.append)["step"] == 1
    assert len(told) == 1
    assert "step-000000002.safetensors is damaged" in told[0]
    assert told[0].endswith("; trying the one before")
    damage(paths[0], how)
    with pytest.raises(RunError, match="no other is left, so train again with a new --out"):
        load_latest(tmp_path, told.append)


def test_other_formats_and_versions_are_refused(tmp_path, monkeypatch):
    dd2424.save({"a": dd2424.ones(1)}, tmp_path / "other")
    with pytest.raises(RunError, match="must have format dd2424-checkpoint, got dd2424-save"):
        load_checkpoint(tmp_path / "other")
    monkeypatch.setattr("dd2424.train.checkpoint.FORMAT_VERSION", 2)
    path = save_checkpoint(tmp_path, 1, state())
    monkeypatch.undo()
    with pytest.raises(RunError, match="must have format version 1 to 1, got 2"):
        load_checkpoint(path)
    with pytest.raises(RunError, match=r"cannot read .*none: there is no such file or folder"):
        load_checkpoint(tmp_path / "none")


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, state(1))
    before = sorted(tmp_path.iterdir())

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_files.os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*step-000000002.safetensors: the disk is full; free some space"):
        save_checkpoint(tmp_path, 2, state(2))
    assert sorted(tmp_path.iterdir()) == before
    assert load_latest(tmp_path, pytest.fail)["step"] == 1


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    _files.write_atomic(path, b"old")
    monkeypatch.setattr(_files.os, "replace", lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        _files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_that_has_no_place_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"state.a.0 must hold numbers, .* got object"):
        save_checkpoint(tmp_path, 1, {"a": [object()]})


def test_a_folder_is_locked_while_in_use(tmp_path):
    path = tmp_path / "deep" / "run"
    with RunFolder(path), pytest.raises(RunError, match=rf"{path} is in use by process {os.getpid()}; wait for it"):
        RunFolder(path).__enter__()
    with RunFolder(path):
        pass  # free again


def test_a_process_that_dies_frees_its_folder(tmp_path):
    code = "import os, pathlib, sys; from dd2424.train import RunFolder; "
    code += "RunFolder(pathlib.Path(sys.argv[1])).__enter__(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 9
    with RunFolder(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"process {os.getpid()}"


def test_only_an_empty_folder_is_taken(tmp_path):
    folder = RunFolder(tmp_path)
    with folder:
        folder.require_empty()
    (tmp_path / "note").touch()
    with pytest.raises(UsageError, match=rf"--out must be a new or an empty folder, got {tmp_path} \(holds note\)$"):
        folder.require_empty()
    for name in ("config.json", "a", "b"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"\(holds a, b, config.json, ...\); --resume continues that run"):
        folder.require_empty()


@pytest.mark.parametrize(
    ("name", "reason"), [("file/run", "a part of this path is a file"), ("x" * 300, "the name is too long")]
)
def test_a_folder_that_cannot_be_made(tmp_path, name, reason):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=f"cannot use run folder .*: {reason}"):
        RunFolder(tmp_path / name).__enter__()


def test_metrics_are_json_lines(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_metrics([{"step": 1, "loss": 0.5}])
    folder.append_metrics({"step": 2, "loss": math.nan})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]
    with pytest.raises(RunError, match="cannot write"):
        RunFolder(tmp_path / "none").append_metrics({})


def test_run_folders_are_numbered(tmp_path):
    root = tmp_path / "runs"
    assert latest_run_path(root, "mlp-digits") is None
    paths = [new_run_path(root, "mlp-digits") for _ in range(11)]
    assert [paths[0].name, paths[10].name] == ["mlp-digits-1", "mlp-digits-11"]
    for path in (paths[1], paths[10]):
        (path / "config.json").touch()
    (root / "mlp-digits-x").mkdir()
    assert latest_run_path(root, "mlp-digits") == paths[10]


def test_a_damaged_config_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config.json must be JSON, but is damaged"):
        RunFolder(tmp_path).read_config()


def test_messages():
    assert nearest("mlpp", ["mlp", "linear"]) == "; did you mean 'mlp'? (there are: mlp, linear)"
    assert nearest("?", ["mlp"]) == " (there are: mlp)"
    assert (
        os_error_message(OSError(errno.ENOSPC, "x", "f"), "cannot write")
        == "cannot write f: the disk is full; free some space"
    )
    assert (
        os_error_message(OSError(errno.EIO, "Input/output error"), "cannot write") == "cannot write: Input/output error"
    )
    assert (RunError("x").exit_code, UsageError("x").exit_code, Interrupted().exit_code) == (1, 2, 130)
