"""`dd2424 train` and `dd2424 eval`: from a request to a run folder, and what is printed on the way."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import dd2424
from dd2424.labs.base import Lab
from dd2424.labs.options import option_names, option_text, split_words
from dd2424.labs.registry import get_lab
from dd2424.labs.report import confusion_table, worst_confusions
from dd2424.labs.results import evaluation, finish, load_weights
from dd2424.labs.session import Session, penalised
from dd2424.labs.sources import choose_source, load_source
from dd2424.labs.sweep import Sweep
from dd2424.train import (
    Interrupted,
    RunError,
    RunFolder,
    Trainer,
    UsageError,
    WriteCheckpoints,
    WriteMetrics,
    latest_run_path,
    load_latest,
    new_run_path,
    show_progress,
)  # fmt: skip
from dd2424.train.environment import environment
from dd2424.train.folder import Record

RUNS = Path("runs")
CONFIG_VERSION = 1


@dataclass(frozen=True)
class Request:
    """What the command line asked for; None where it left something open."""

    lab: str
    data: str | None = None
    seed: int | None = None
    out: Path | None = None
    resume: bool = False
    device: str | None = None
    words: list[str] = field(default_factory=list)


def train(request: Request) -> int:
    """Train, print the result, and return the exit code. Raises: RunError for what the user can mend."""
    lab = get_lab(request.lab)
    config, path, note = _plan(request, lab)
    check_device(config["device"])
    session = _session(lab, config)
    data = session.data  # made now, so that a wrong train= or validation= leaves no folder behind
    path = path or new_run_path(RUNS, f"{lab.name}-{config['data']}")
    try:
        with RunFolder(path) as folder:
            if folder.is_finished and request.resume:
                accuracy = folder.read_result()["test_accuracy"]
                print(f"run {path} is finished (test accuracy {accuracy:.4f}); there is nothing to resume")
                return 0
            if not (request.resume and folder.is_run):
                folder.require_empty()
                folder.write("config.json", config)
            folder.write("environment.json", environment(config["device"]))
            print(f"lab {lab.name}: {lab.title} ({lab.lecture})")
            print(f"data: {note}\n  {describe(data)}")
            _run(session, folder)
    except (Interrupted, KeyboardInterrupt) as stop:
        print(f"\ninterrupted; go on with: dd2424 train {lab.name} --out {shlex.quote(str(path))} --resume")
        return stop.exit_code if isinstance(stop, Interrupted) else 130
    return 0


def evaluate(path: Path) -> int:
    """Test a finished run's weights again, print, and return the exit code."""
    folder = RunFolder(path)
    if not folder.is_run:
        raise UsageError(f"eval: RUN must be a run folder, got {path}, which has no config.json")
    if not folder.weights.exists():
        raise UsageError(f"eval: {path} must be a finished run, but has no weights.safetensors; resume it first")
    config = _stored_config(folder)
    if folder.is_finished:
        config = {**config, "options": folder.read_result().get("options")}
    check_device(config["device"])
    session = _session(get_lab(config["lab"]), config)
    model = session.new_model()
    load_weights(folder, model)
    print(f"{config['lab']} on {config['data']}, {path}\n  {describe(session.data)}")
    loss, scores = session.scores(model, session.data.test)
    _print_result(session, evaluation(session, loss, scores))
    return 0


def describe(data: Any) -> str:
    """One line: how many images of which size and classes."""
    counts = f"{len(data.train):,} training, {len(data.validation):,} validation, {len(data.test):,} test images"
    return f"{counts} of {' x '.join(map(str, data.shape))}, {len(data.classes)} classes"


def check_device(device: str) -> None:
    """Raises: UsageError when `device` is not one this machine can use."""
    if device == "cuda" and not dd2424.cuda.is_available():
        raise UsageError("train: --device must be one this machine can use, got cuda, and no CUDA device is available")


def _plan(request: Request, lab: Lab) -> tuple[Record, Path | None, str]:
    """The run's configuration, its folder (None: a new one under runs/), and a note on the data."""
    pairs = split_words(request.words)
    data, note = choose_source(request.data, lab.real_data)
    path = request.out
    if request.resume and path is None:
        path = latest_run_path(RUNS, f"{lab.name}-{data}")
    config = {
        "version": CONFIG_VERSION,
        "lab": lab.name,
        "data": data,
        "seed": request.seed or 0,
        "device": request.device or "cpu",
        "options": dataclasses.asdict(lab.resolve(data, pairs)),
    }
    if request.resume and path is not None and RunFolder(path).is_run:
        stored = _stored_config(RunFolder(path))
        _require_same(request, pairs, stored, config)
        return stored, path, stored["data"]
    return config, path, note


def _stored_config(folder: RunFolder) -> Record:
    """The configuration of a run. Raises: RunError when it is of another version of this program, or damaged."""
    config, place = folder.read_config(), folder.path / "config.json"
    if not isinstance(config, dict) or config.get("version") != CONFIG_VERSION:
        version = config.get("version") if isinstance(config, dict) else config
        raise RunError(f"{place} must have version {CONFIG_VERSION}, got {version}")
    missing = {"lab", "data", "seed", "device", "options"} - config.keys()
    if missing:
        raise RunError(f"{place} must have {', '.join(sorted(missing))}, got none")
    return config


def _require_same(request: Request, pairs: dict[str, str], stored: Record, asked: Record) -> None:
    """A resumed run keeps its configuration. Raises: UsageError naming what was asked for differently."""
    given = {"lab": True, "data": request.data, "seed": request.seed, "device": request.device}
    for name, value in given.items():
        if value is not None and stored[name] != asked[name]:
            raise UsageError(f"train: {name} must stay {stored[name]} to resume this run, got {asked[name]}")
    names = option_names(get_lab(stored["lab"]).Options)
    for key in pairs:
        old, new = stored["options"][names[key].name], asked["options"][names[key].name]
        if (list(old) if isinstance(old, list) else old) != (list(new) if isinstance(new, tuple) else new):
            raise UsageError(f"train: {key} must stay {old} to resume this run, got {new}")


def _session(lab: Lab, config: Record) -> Session:
    try:
        values: Record = {k: tuple(v) if isinstance(v, list) else v for k, v in config["options"].items()}
        options = lab.Options(**values)
    except (AttributeError, TypeError) as error:
        raise RunError(f"config.json must hold the options of lab {lab.name}, got others: {error}") from None
    return Session(lab, load_source(config["data"]), options, config["seed"], config["device"])


def _run(session: Session, folder: RunFolder) -> None:
    """Search if asked to, train or go on from the last checkpoint, and print how it went."""
    lab = session.lab
    sweep = Sweep(session, folder)
    options = lab.sweep(session.options, session.data, sweep.train)
    sweep.plot(f"{lab.name} on {session.data.name}")
    session = dataclasses.replace(session, options=options)
    model = session.new_model()
    trainer = session.trainer(model, [show_progress(), WriteMetrics(folder), WriteCheckpoints(folder)])
    _print_start(session, model, trainer, folder)
    checkpoint = load_latest(folder.checkpoints, print)
    if checkpoint is not None:
        trainer.load_state_dict(checkpoint)
        print(f"going on from step {trainer.step} of {trainer.steps}")
    trainer.fit()
    result = finish(session, folder, model, trainer.records)
    figure = lab.figure(session.data.name, session.options)
    if figure is not None:
        print(f"\n{figure.verdict(100 * result['test_accuracy'])}")
    _print_result(session, result, folder)


def _print_start(session: Session, model: Any, trainer: Trainer, folder: RunFolder) -> None:
    parameters = sum(p.numel() for p in model.parameters())
    weights = sum(p.numel() for p in penalised(model)[0])
    options = ", ".join(
        f"{name}={option_text(getattr(session.options, f.name))}" for name, f in _shown(session.options)
    )
    print(f"options: {options}")
    print(
        f"model: {parameters:,} parameters; cost = mean loss + {session.options.lambda_:g} * "
        f"sum of {weights:,} squared weights"
    )
    print(f"run folder: {folder.path}; seed {session.seed}, {dd2424.get_num_threads()} threads, {dd2424.get_isa()}\n")


def _shown(options: Any) -> list[tuple[str, Any]]:
    return list(option_names(type(options)).items())


def _print_result(session: Session, result: Record, folder: RunFolder | None = None) -> None:
    """The end of every run and evaluation; the accuracy is the very last line."""
    matrix = np.array(result["confusion"])
    print(f"\n{confusion_table(matrix, session.data.classes)}\n{worst_confusions(matrix, session.data.classes)}")
    if folder is not None:
        files = ", ".join(sorted(p.name for p in folder.path.iterdir() if not p.name.startswith(".")))
        print(f"\nrun folder: {folder.path} ({files})")
        print("try next:", *session.lab.next_steps(session.options, session.data), sep="\n  ")
        print(f"  dd2424 eval {folder.path}")
    print(f"test accuracy {result['test_accuracy']:.4f}")
