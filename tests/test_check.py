"""`dd2424 check`: that it passes where kernels are right, and finds one that is wrong."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
from dd2424 import check
from dd2424.check.base import Check, tensor
from dd2424.check.gradients import Derivative, derivatives

EXACT = np.array([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("values", "error"),
    [(EXACT, 0), (EXACT * (1 + 2.0**-22), 2), ([1, 2, np.nan], np.inf), ([1, 2, np.inf], np.inf), ([1, 2], np.inf)],
)
def test_an_error_is_counted_in_ulps(values, error):
    found = Check("x", lambda: tensor(np.array(values, np.float32)), EXACT, 1.0).error()
    assert found == error


def test_every_kind_of_check_is_there_once():
    checks = [c.name for c in check.all_checks(np.random.default_rng(0))]
    assert len(set(checks)) == len(checks)
    for word in (
        "exp",
        "matmul",
        "conv",
        "max_pool2d",
        "batch_norm",
        "SGD",
        "lstm",
        "empty",
        "transposed",
        "channels last",
    ):
        assert any(word in name for name in checks), word
    names = [d.name for d in derivatives()]
    assert len(set(names)) == len(names)


@pytest.fixture
def few(monkeypatch):
    """Three checks for all, so that a mode is quick; the second draws a new number each time."""
    rng = np.random.default_rng(0)
    changing = Check("changing", lambda: tensor(rng.standard_normal(3).astype(np.float32)), EXACT, 1e9)
    right = Check("right", lambda: tensor(EXACT.astype(np.float32)), EXACT, 0)
    wrong = Check("wrong", lambda: tensor(EXACT.astype(np.float32)), EXACT + 1, 1)
    chosen = [right, changing, wrong]
    monkeypatch.setattr(check, "all_checks", lambda rng: iter(chosen))
    monkeypatch.setattr(check, "_PRINT_DIGESTS", "print('{}')")
    return chosen


def test_correctness_names_what_is_wrong(few, capsys):
    assert check.main("correctness") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("FAIL")] == ["wrong"]
    del few[2]
    assert check.main("correctness") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("all 2 checks passed")


def test_determinism_names_what_changes(few, capsys, monkeypatch):
    monkeypatch.setattr(check.subprocess, "run", lambda command, **options: Finished())
    assert check.main("determinism") == 1
    lines = capsys.readouterr().out.splitlines()
    assert {line.split(",")[0] for line in lines if line.endswith("FAIL")} == {"changing"}


class Finished:
    """Another process, whose bits are those of this one."""

    @property
    def stdout(self):
        import json

        return json.dumps(check.digests(dd2424.supported_isas(), 2)).encode()


def test_another_process_prints_digests():
    code = check._PRINT_DIGESTS
    assert compile(code, "digests", "exec")
    assert "digests(sys.argv[2:], int(sys.argv[1]))" in code


def test_gradients_names_a_wrong_one(capsys, monkeypatch):
    class Wrong(dd2424.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, dy):
            return 2 * dy

    chosen = [Derivative("tanh", dd2424.tanh, ((3,),)), Derivative("wrong", Wrong.apply, ((3,),))]
    monkeypatch.setattr(check, "derivatives", lambda: iter(chosen))
    assert check.main("gradients") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("FAIL")] == ["wrong"]


def test_it_leaves_the_machine_as_it_was(few, capsys):
    before = dd2424.get_isa(), dd2424.get_num_threads()
    check.main("correctness")
    assert (dd2424.get_isa(), dd2424.get_num_threads()) == before
    assert "limit" in capsys.readouterr().out
