"""The command `dd2424`: what each command does, and that every mistake is one clear line without a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import dd2424
from dd2424.cli import main
from dd2424.train import RunFolder

QUICK = ["mlp", "--data", "digits", "half_cycle=20", "cycles=2", "hidden=10"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test runs in an empty folder, with no data but what comes with the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DD2424_DATA", str(tmp_path / "no-data"))
    monkeypatch.setattr("dd2424.labs.plots.can_plot", lambda: False)  # pictures take most of a short run's time
    return tmp_path


def run(capsys, *arguments):
    """Exit code, output and errors; a mistake is one line that says who speaks."""
    code = main([str(argument) for argument in arguments])
    output, errors = capsys.readouterr()
    assert "Traceback" not in errors
    if code in (1, 2):
        assert errors.startswith("dd2424: ")
        assert errors.count("\n") == 1
    else:
        assert errors == ""
    return code, output, errors


def process(*arguments, **options):
    command, pipe = [sys.executable, "-m", "dd2424", *arguments], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **options)


@pytest.mark.slow
def test_train_writes_a_run_folder(capsys, here, monkeypatch):
    monkeypatch.setattr("dd2424.labs.plots.can_plot", lambda: True)
    code, output, _ = run(capsys, "train", *QUICK, "--out", "run", "--seed", 3)
    assert code == 0
    names = {path.name for path in (here / "run").iterdir()}
    assert names >= {"config.json", "environment.json", "metrics.jsonl", "result.json", "weights.safetensors",
                     "checkpoints", "curves.png", "templates.png", "confusion.png", "probabilities.png"}  # fmt: skip
    result = json.loads((here / "run/result.json").read_text())
    lines = output.splitlines()
    assert lines[-1] == f"test accuracy {result['test_accuracy']:.4f}"
    assert "  dd2424 eval run" in lines
    assert "data: digits (1,797 handwritten digits of 8 x 8 pixels, bundled)" in lines
    metrics = [json.loads(line) for line in (here / "run/metrics.jsonl").read_text().splitlines()]
    assert [m["step"] for m in metrics] == list(range(0, 81, 4))
    assert np.sum(result["confusion"]) == 360
    for name in ("curves", "templates", "confusion", "probabilities"):
        assert (here / f"run/{name}.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((here / "run/config.json").read_text())
    assert (config["seed"], config["options"]["hidden"]) == (3, [10])


def test_equal_runs_give_equal_weights(capsys, here):
    for out, threads in (("a", 1), ("b", 2)):
        assert run(capsys, "train", *QUICK, "--out", out, "--threads", threads)[0] == 0
    assert (here / "a/weights.safetensors").read_bytes() == (here / "b/weights.safetensors").read_bytes()
    assert run(capsys, "train", *QUICK, "--out", "c", "--seed", 1)[0] == 0
    assert (here / "a/weights.safetensors").read_bytes() != (here / "c/weights.safetensors").read_bytes()


def test_a_run_may_take_the_readable_kernels(capsys, here):
    for kernels in ("naive", "fast"):
        assert run(capsys, "train", *QUICK, "--out", kernels, "--kernels", kernels)[0] == 0
        assert json.loads((here / kernels / "environment.json").read_text())["kernels"] == kernels
    naive, fast = (json.loads((here / k / "result.json").read_text())["test_accuracy"] for k in ("naive", "fast"))
    assert naive == pytest.approx(fast, abs=0.02)
    assert dd2424.get_kernels() == "fast"


@pytest.mark.parametrize("lab", [["linear", "epochs=2"], ["linear", "loss=hinge", "epochs=2", "classes=3,5"],
                                 ["deep-mlp", "cycles=1", "half_cycle=20"]], ids=" ".join)  # fmt: skip
def test_eval_finds_the_accuracy_of_the_run(capsys, lab):
    _, output, _ = run(capsys, "train", *lab, "--data", "digits", "--out", "run")
    code, again, _ = run(capsys, "eval", "run")
    assert code == 0
    assert again.splitlines()[-1] == output.splitlines()[-1]


def test_the_lab_s_own_data_are_taken_where_they_are(capsys):
    _, output, _ = run(capsys, "train", "linear", "epochs=1")
    assert (
        "data: digits (1,797 handwritten digits of 8 x 8 pixels, bundled), because the lab's own is not here" in output
    )
    assert "--data cifar10 downloads it" in output
    assert "run folder: runs/linear-digits-1" in output


def test_data_that_cannot_be_had(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    code, _, errors = run(capsys, "train", "linear", "--data", "mnist")
    assert code == 1
    assert "train-images-idx3-ubyte, train-labels-idx1-ubyte must be in" in errors
    assert not os.path.exists("runs")


MISTAKES = {
    "trainn": "unknown command 'trainn'; did you mean 'train'?",
    "--verson": "unknown argument '--verson'; did you mean '--version'?",
    "list extra": "list: unknown argument 'extra'",
    "train": "train: the following arguments are required: LAB",
    "train mpl": "train: unknown lab 'mpl'; did you mean 'mlp'? (there are: linear, mlp, deep-mlp)",
    "train mlp --data cifar": "--data must be a known data set, got 'cifar'; did you mean 'cifar10'?",
    "train mlp foo": "train: options must be key=value, got 'foo'",
    "train mlp hiddn=3": "train mlp: unknown option 'hiddn'; did you mean 'hidden'?",
    "train mlp hidden=a": "train mlp: hidden must be whole numbers with commas between",
    "train mlp cycles=0": "train mlp: cycles must be at least 1, got '0'",
    "train mlp a=1 a=2": "train: a must be given once, got '1' and '2'",
    "train linear loss=svn": "loss must be one of the values it has, got 'svn'; did you mean 'svm'?",
    "train mlp setting=5": "unknown setting '5' (there are: best, 1, 2)",
    "train mlp --sed 1": "train: unknown argument '--sed'; did you mean '--seed'?",
    "train mlp --seed -1": "argument --seed: must be a whole number from 0, got '-1'",
    "train mlp --threads 0": "argument --threads: must be a whole number from 1, got '0'",
    "train mlp --threads 9999": "--threads must be from 1 to 1024, got 9999",
    "train mlp --device gpu": "argument --device: invalid choice: 'gpu'",
    "train mlp --data digits --device cuda": "--device must be one this machine can use, got cuda",
    "train mlp --data digits train=9999": "at most the 1437 training images of digits, got 9999 + 100",
    "train mlp --data digits batch=9999": "batch must be at most the 1337 training images, got 9999",
    "train linear --data digits loss=hinge classes=3": "classes must be two different classes of 0 to 9, got 3",
    "eval": "eval: the following arguments are required: RUN",
    "eval nowhere": "eval: RUN must be a run folder, got nowhere, which has no config.json",
    "eval x y": "eval: unknown argument 'y'",
}  # fmt: skip


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_answered_in_one_line(capsys, here, words):
    code, output, errors = run(capsys, *words.split())
    assert (code, output) == (2, "")
    assert MISTAKES[words] in errors
    assert list(here.iterdir()) == []  # nothing was started or written


def test_help_and_version(capsys):
    assert run(capsys)[1].startswith("usage: dd2424")
    assert run(capsys, "--version")[1] == f"dd2424 {dd2424.__version__}\n"
    for words in (["-h"], ["train", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
    assert "key=value sets an option of the lab" in capsys.readouterr().out


def test_list_and_info(capsys):
    code, output, _ = run(capsys, "list")
    assert code == 0
    assert "setting=3-bn" in output
    code, output, _ = run(capsys, "info")
    assert code == 0
    assert dd2424.get_isa() in output


def test_bench_needs_the_repository(capsys):
    code, _, errors = run(capsys, "bench")
    assert code == 1
    assert "the benchmarks are in the folder benchmarks/ of the repository" in errors


@pytest.mark.slow
def test_check_passes():
    done = subprocess.run([sys.executable, "-m", "dd2424", "check"], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("all ")
    assert "FAIL" not in done.stdout


def test_check_fails_where_a_kernel_is_wrong(capsys, monkeypatch):
    from dd2424 import check

    wrong = check.Check("wrong", lambda: dd2424.ones(2) + 1e-5, np.ones(2), limit=4)
    nan = check.Check("nan", lambda: dd2424.full((2,), float("nan")), np.ones(2), limit=4)
    right = check.Check("right", lambda: dd2424.ones(2), np.ones(2), limit=0)
    monkeypatch.setattr(check, "all_checks", lambda rng: iter([wrong, nan, right]))
    assert check.main() == 1
    output = capsys.readouterr().out.splitlines()
    assert output[-1].startswith("2 of 3 checks FAILED")
    assert [line.endswith("FAIL") for line in output[2:5]] == [True, True, False]


def test_out_must_be_empty(capsys, here):
    run(capsys, "train", *QUICK, "--out", "run")
    before = (here / "run/result.json").stat().st_mtime_ns
    code, _, errors = run(capsys, "train", *QUICK, "--out", "run")
    assert code == 2
    assert (
        "--out must be a new or an empty folder, got run (holds checkpoints, config.json, environment.json, ...)"
        in errors
    )
    assert "--resume continues that run" in errors
    assert (here / "run/result.json").stat().st_mtime_ns == before
    (here / "other").mkdir()
    (here / "other/note.txt").touch()
    code, _, errors = run(capsys, "train", *QUICK, "--out", "other", "--resume")
    assert (code, "got other (holds note.txt)" in errors) == (2, True)
    (here / "file").touch()
    code, _, errors = run(capsys, "train", *QUICK, "--out", "file")
    assert (code, "cannot use run folder file" in errors) == (1, True)


def test_a_locked_folder_is_refused(capsys, here):
    with RunFolder(here / "run"):
        code, _, errors = run(capsys, "train", *QUICK, "--out", "run")
    assert code == 1
    assert f"run folder run is in use by process {os.getpid()}; wait for it or choose another --out" in errors


def test_resume(capsys, here):
    code, output, _ = run(capsys, "train", *QUICK, "--out", "run", "--resume")  # nothing there: it starts anew
    assert code == 0
    code, again, _ = run(capsys, "train", "mlp", "--out", "run", "--data", "digits", "--resume")
    assert code == 0
    assert again == f"run run is finished ({output.splitlines()[-1]}); there is nothing to resume\n"
    refused = {
        ("mlp", "cycles=3"): "cycles must stay 2 to resume this run, got 3",
        ("mlp", "--seed", "1"): "seed must stay 0 to resume this run, got 1",
        ("linear",): "lab must stay mlp to resume this run, got linear",
    }
    for words, message in refused.items():
        code, _, errors = run(capsys, "train", *words, "--data", "digits", "--out", "run", "--resume")
        assert (code, message in errors) == (2, True)
    assert run(capsys, "train", *QUICK, "--resume")[0] == 0  # the latest of runs/: there is none
    code, output, _ = run(capsys, "train", *QUICK, "--resume")
    assert (code, "run runs/mlp-digits-1 is finished" in output) == (0, True)


def test_a_run_that_diverges_says_so(capsys, here):
    code, _, errors = run(capsys, "train", *QUICK, "lr_max=1e9", "--out", "run")
    assert code == 1
    assert "must stay finite, got" in errors
    assert "try a smaller learning rate" in errors
    assert (here / "run/metrics.jsonl").exists()
    code, _, errors = run(capsys, "eval", "run")
    assert (code, "must be a finished run, but has no weights.safetensors" in errors) == (2, True)


def test_a_full_disk_ends_the_run_and_it_can_be_resumed(capsys, here, monkeypatch):
    whole = dd2424._files.os.fsync
    monkeypatch.setattr(
        dd2424._files.os, "fsync", lambda d: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    code, _, errors = run(capsys, "train", *QUICK, "--out", "run")
    assert code == 1
    assert "the disk is full; free some space" in errors
    monkeypatch.setattr(dd2424._files.os, "fsync", whole)
    assert run(capsys, "train", *QUICK, "--out", "run", "--resume")[0] == 0


def test_damaged_weights_are_named(capsys, here):
    run(capsys, "train", *QUICK, "--out", "run")
    path = here / "run/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    code, _, errors = run(capsys, "eval", "run")
    assert code == 1
    assert "weights run/weights.safetensors are damaged or of another model" in errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "config.json must have version 1, got 2"),
        ({"lab": "mpl"}, "unknown lab 'mpl'"),
        ({"options": {"depth": 3}}, "config.json must hold the options of lab mlp, got others"),
        ({"options": None}, "config.json must hold the options of lab mlp"),
        (None, "config.json must have data, device, lab, options, seed, got none"),
    ],
)
def test_a_config_that_was_changed(capsys, here, change, message):
    run(capsys, "train", *QUICK, "--out", "run")
    (here / "run/result.json").unlink()
    place = here / "run/config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **change} if change else {"version": 1}))
    for words in (["eval", "run"], ["train", "mlp", "--data", "digits", "--out", "run", "--resume"]):
        if change and "lab" in change and words[0] == "train":
            continue  # refused because the lab asked for is another
        code, _, errors = run(capsys, *words)
        assert code in (1, 2)
        assert message in errors


def test_no_memory_is_one_line(capsys):
    code, _, errors = run(capsys, "train", "mlp", "--data", "digits", "hidden=100000,100000,100000", "--out", "run")
    assert code == 1
    assert "out of memory; choose fewer units, a smaller batch or fewer images" in errors


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_goes_on_to_the_same_weights(capsys, here, number, code):
    words = ["train", "mlp", "--data", "digits", "half_cycle=3000", "cycles=1"]
    running = process(*words, "--out", "run")
    for line in running.stdout:
        if line.split()[:1] == ["1200"]:
            break
    running.send_signal(number)
    output, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (code, "")
    assert "interrupted; go on with: dd2424 train mlp --out run --resume" in output
    assert not (here / "run/result.json").exists()
    exit_code, output, _ = run(capsys, "train", "mlp", "--out", "run", "--resume", "--data", "digits")
    assert exit_code == 0
    assert "going on from step" in output
    assert run(capsys, *words, "--out", "whole")[0] == 0
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (here / "run" / name).read_bytes() == (here / "whole" / name).read_bytes()


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_checkpoint(capsys, here):
    running = process("train", "mlp", "--data", "digits", "half_cycle=20", "hidden=10", "cycles=60", "--out", "run")
    deadline = time.monotonic() + 60
    while not (here / "run/metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    running.kill()
    running.communicate()
    code, output, _ = run(capsys, "train", "mlp", "--out", "run", "--resume", "--data", "digits", "cycles=60")
    assert code == 0
    assert output.splitlines()[-1].startswith("test accuracy ")


@pytest.mark.slow
@pytest.mark.parametrize("buffering", ["", "1"])
def test_a_closed_pipe_is_no_error(buffering):
    running = process("list", env={**os.environ, "PYTHONUNBUFFERED": buffering})
    running.stdout.close()
    assert running.wait(30) == 1
    assert running.stderr.read() == ""
    running.stderr.close()


def test_a_run_folder_that_is_a_file(capsys, here):
    (here / "file").write_text("")
    code, _, errors = run(capsys, "train", *QUICK, "--out", "file")
    assert (code, errors.partition(": ")[2]) == (1, "cannot use run folder file: this is a file, not a folder\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("flags", [[], ["-u"]])  # written at the end, or at once
def test_an_output_that_is_full(flags, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with open("/dev/full", "w") as full:
        command = [sys.executable, *flags, "-m", "dd2424", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "dd2424: cannot write its output: the disk is full; free some space\n",
    )
