"""The command `dd2424`: list, train, eval, bench, check, info."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from dd2424.train.errors import RunError, UsageError, nearest, os_error_message

_RUNGS = ("naive", "blocked", "vectorised", "threaded", "fast")
_EXAMPLES = """examples:
  dd2424 train mlp --data digits           trains in seconds on data that is bundled
  dd2424 train linear setting=3 --seed 1   key=value sets an option of the lab; dd2424 list shows them
  dd2424 train mlp --out runs/a --resume   goes on with an interrupted run
"""


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, with the nearest command."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog.removeprefix('dd2424').strip() or 'dd2424'}: {message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for a failed run, 2 for a wrong request, 130 for Ctrl-C."""
    from dd2424.data import DataError

    try:
        code = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()  # a closed pipe shows here, not at exit
        return code
    except RunError as error:
        print(f"dd2424: {error}", file=sys.stderr)
        return error.exit_code
    except DataError as error:
        print(f"dd2424: {error}", file=sys.stderr)
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        doing = "failed on" if error.filename else "cannot write its output"
        print(f"dd2424: {os_error_message(error, doing)}", file=sys.stderr)
        if not error.filename:
            _drop_output()
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not str(error).startswith("allocate:"):
            raise
        print("dd2424: out of memory; choose fewer units, a smaller batch or fewer images (train=)", file=sys.stderr)
    except KeyboardInterrupt:
        print("dd2424: interrupted", file=sys.stderr)
        return 130
    return 1


def _drop_output() -> None:
    """What is still to be written goes nowhere: at exit the interpreter would fail on it again, with its own code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    parser = _parser()
    if arguments and not arguments[0].startswith("-") and arguments[0] not in _COMMANDS:
        raise UsageError(f"unknown command {arguments[0]!r}{nearest(arguments[0], _COMMANDS)}")
    given, rest = parser.parse_known_args(arguments)
    if given.version:
        return _version()
    if given.command is None and rest:
        raise UsageError(f"unknown argument {rest[0]!r}{nearest(rest[0], ('--help', '--version'))}")
    if given.command is None:
        parser.print_help()
        return 0
    unknown = [word for word in rest if word.startswith("-") or given.command != "train"]
    if unknown:
        flags = nearest(unknown[0], _FLAGS[given.command]) if given.command in _FLAGS else ""
        raise UsageError(f"{given.command}: unknown argument {unknown[0]!r}{flags}")
    return _COMMANDS[given.command](given, rest)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dd2424",
        description="Train, test and check the networks of a deep-learning course.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    commands.add_parser("list", help="the labs, their settings, options and the figures they should reach")
    train = commands.add_parser(
        "train",
        help="train a lab and write a run folder",
        usage="dd2424 train LAB [key=value ...] [--data NAME] [--seed N] [--out DIR] [--resume] [--threads N] "
        "[--device cpu|cuda] [--kernels NAME]",
        epilog="key=value sets an option of the lab; `dd2424 list` names them",
    )
    train.add_argument("lab", metavar="LAB", help="see `dd2424 list`")
    train.add_argument(
        "--data", metavar="NAME", help="data set; default: the lab's own where it is present, else digits"
    )
    train.add_argument(
        "--seed", type=_whole, metavar="N", help="of first weights and of the order of images; default 0"
    )
    train.add_argument("--out", type=Path, metavar="DIR", help="run folder, new or empty; default: a new one in runs/")
    train.add_argument("--resume", action="store_true", help="go on with the run in --out, or with the latest alike")
    train.add_argument("--threads", type=_positive, metavar="N", help="default: all cores; results do not depend on it")
    train.add_argument("--device", choices=("cpu", "cuda"), help="default: cpu")
    train.add_argument(
        "--kernels", choices=_RUNGS, default="fast", help="of products and convolutions, see docs/ladder.md"
    )
    evaluate = commands.add_parser("eval", help="test the weights of a finished run")
    evaluate.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    evaluate.add_argument("--threads", type=_positive, metavar="N")
    bench = commands.add_parser("bench", help="run the benchmarks of the repository")
    bench.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="passed on to the benchmarks")
    check = commands.add_parser("check", help="check every kernel on this machine, at every ISA level")
    check.add_argument(
        "--mode",
        choices=("correctness", "determinism", "gradients"),
        default="correctness",
        help="against NumPy float64 (default); bits for 1, 2 and 3 threads; against finite differences",
    )
    commands.add_parser("info", help="version, processor, ISA levels, threads")
    return parser


def _whole(text: str) -> int:
    """0 or more. argparse turns the error into its message."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)


def _version() -> int:
    import dd2424

    print(f"dd2424 {dd2424.__version__}")
    return 0


def _list(given: argparse.Namespace, words: list[str]) -> int:
    from dd2424.labs.listing import listing

    print(listing())
    return 0


def _train(given: argparse.Namespace, words: list[str]) -> int:
    import dd2424
    from dd2424.labs.run import Request, train

    _set_threads(given.threads)
    with dd2424.kernels(given.kernels):
        return train(Request(given.lab, given.data, given.seed, given.out, given.resume, given.device, words))


def _eval(given: argparse.Namespace, words: list[str]) -> int:
    from dd2424.labs.run import evaluate

    _set_threads(given.threads)
    return evaluate(given.run)


def _bench(given: argparse.Namespace, words: list[str]) -> int:
    """Benchmarks are not installed with the package: they need the repository's peers and sources."""
    folder = next(
        (p / "benchmarks" for p in (Path.cwd(), *Path.cwd().parents) if (p / "benchmarks/harness.py").exists()), None
    )
    if folder is None:
        raise RunError("bench: the benchmarks are in the folder benchmarks/ of the repository; run this command there")
    return subprocess.run([sys.executable, folder, *given.arguments], check=False).returncode


def _check(given: argparse.Namespace, words: list[str]) -> int:
    from dd2424.check import main

    return main(given.mode)


def _info(given: argparse.Namespace, words: list[str]) -> int:
    import dd2424

    dd2424.show_config()
    return 0


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import dd2424

        try:
            dd2424.set_num_threads(threads)
        except ValueError as error:
            raise UsageError(str(error).replace("set_num_threads: threads", "--threads")) from None


_COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "list": _list,
    "train": _train,
    "eval": _eval,
    "bench": _bench,
    "check": _check,
    "info": _info,
}
_FLAGS = {
    "train": ("--data", "--seed", "--out", "--resume", "--threads", "--device", "--kernels"),
    "eval": ("--threads",),
}
