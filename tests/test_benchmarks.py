"""The benchmarks: what their files promise, how times become ratios, and one run from end to end."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import harness
import report
from case import Case, Unavailable, normal
from worker import Worker

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FAMILIES = sorted(path.stem.removeprefix("bench_") for path in BENCHMARKS.glob("bench_*.py"))
PEERS = {"numpy", "torch", "compile", "jax", "limit", "baseline"}
CASE = Case("x + x", program=lambda torch, x: lambda: x + x, inputs=normal((3,)), goals={"numpy": 1.0, "torch": 2.0})


def rounds(apart=(), **times):
    """Three rounds of one second for us; those numbered in `apart` had processors without a common cache."""
    found = harness.Rounds()
    for i in range(3):
        handoff = 2 * harness.NEAR_NS if i in apart else harness.NEAR_NS / 2
        found.add({"dd2424": 1.0, **{name: each[i] for name, each in times.items()}}, handoff)
    return found


def test_every_file_loads_without_what_it_measures():
    blocked = "import sys; sys.modules.update(dd2424=None, torch=None)"
    load = "import importlib; print(*(len(importlib.import_module(f'bench_{name}').CASES) for name in sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}; {load}", *FAMILIES], capture_output=True, text=True, cwd=BENCHMARKS
    )
    assert done.stderr == ""
    assert all(int(count) > 0 for count in done.stdout.split())
    assert len(done.stdout.split()) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_cases_have_names_of_their_own_and_reachable_goals(family):
    cases = importlib.import_module(f"bench_{family}").CASES
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert set(case.goals) <= PEERS, case.name
        assert "numpy" not in case.goals or case.numpy, case.name
        assert "limit" not in case.goals or case.flops or case.moved_bytes, case.name
        assert "compile" not in case.goals or case.compiles, case.name
        assert "baseline" not in case.goals or case.baseline, case.name


def test_one_element_in_many_may_be_on_the_other_side_of_zero():
    x = np.ones(1 << 18)
    y = np.where(np.arange(x.size) == 5, 0.0, x)
    assert harness._difference(x, y) == 0
    assert harness._difference(x[:-1], y[:-1]) == 1
    assert harness._difference(x, np.where(np.arange(x.size) < 2, 0.0, x)) == 1
    assert np.isnan(harness._difference(x, np.where(np.arange(x.size) == 5, np.nan, x)))


def test_ratios_are_medians_over_rounds():
    result = harness.summarise("f", CASE, 1, rounds(numpy=[1.0, 3.0, 9.0], torch=[1.9, 1.9, 1.9]), 0)
    assert result.ratios == {"numpy": 3.0, "torch": 1.9}
    assert result.missed() == {"torch": 1.9}


def test_rounds_of_processors_apart_count_only_where_there_are_no_others(monkeypatch):
    result = harness.summarise("f", CASE, 2, rounds(apart=[2], torch=[1.9, 1.9, 9.0]), 0)
    assert result.is_apart
    assert result.ratios == {"torch": 9.0}
    monkeypatch.setattr(harness, "ENOUGH_ROUNDS", 2)
    result = harness.summarise("f", CASE, 2, rounds(apart=[2], torch=[1.9, 1.9, 9.0]), 0)
    assert not result.is_apart
    assert result.ratios == {"torch": 1.9}
    assert result.apart == {"dd2424": [1.0], "torch": [9.0]}
    assert "2t " in report.line(result)


def test_a_goal_of_one_allows_for_noise():
    result = harness.summarise("f", CASE, 1, rounds(numpy=[0.98] * 3, torch=[2.0] * 3), 0)
    assert result.missed() == {}
    assert set(result.missed(noise=0.01)) == {"numpy"}


def test_the_limit_is_scaled_by_its_own_arithmetic():
    case = Case("product", program=CASE.program, flops=100)
    result = harness.summarise("f", case, 1, rounds(limit=[0.5] * 3), 50)
    assert result.ratios["limit"] == 1.0
    assert result.speed == pytest.approx(100e-9)
    assert harness.summarise("f", case, 1, rounds(), 50, touched=25).intensity == 4


def test_what_a_family_says_stands_under_its_table():
    result = harness.summarise("f", CASE, 1, rounds(torch=[1.0] * 3), 0)
    machine = {"versions": {}, "date": "", "processor": "", "cores": 2, "caches": [], "isa": "", "commit": ""}
    lines = report.page(machine, [result], ["torch"], None, {"f": "Memory is what limits it.", "g": "?"}).splitlines()
    assert lines[-3:] == ["| x + x | 1 | 1 s |  |  | **1.00x** (goal 2.00x) |", "", "Memory is what limits it."]


def test_memory_is_a_table_of_its_own():
    lines = report.memory_table({"step": {"dd2424": (0.5, 3 << 20), "torch": (2.0, 7 << 20)}}).splitlines()
    assert lines[-1] == "| step | 3 MiB | 7 MiB | 500 ms | 2 s |"
    assert lines[-3].startswith("| case | resident |")


@pytest.mark.parametrize(
    ("ours", "theirs", "error"),
    [
        ([[1.0, 2.0]], [[1.0, 2.1]], "differ"),
        ([[1.0, 2.0]], [[1.0, np.nan]], "differ"),
        ([[1.0, 2.0]], [[1.0, 2.0], [0.0]], "2 arrays, dd2424 1"),
        ([[1.0]], [[[1.0]]], "shapes"),
    ],
)
def test_contenders_that_disagree_are_refused(tmp_path, ours, theirs, error):
    np.savez(tmp_path / "dd2424.npz", *map(np.array, ours))
    np.savez(tmp_path / "numpy.npz", *map(np.array, theirs))
    with pytest.raises(RuntimeError, match=error):
        harness.check_agreement(CASE, str(tmp_path), ["dd2424", "numpy"])
    harness.check_agreement(CASE, str(tmp_path), ["dd2424"])


@pytest.mark.parametrize(("before", "said"), [(1.0, []), (1.3, ["f: x + x, 1 threads: 23% slower against torch"])])
def test_slower_compares_ratios_with_those_of_an_older_run(before, said):
    result = harness.summarise("f", CASE, 1, rounds(torch=[1.0] * 3), 0)
    old = harness.to_json([result])
    old[0]["ratios"]["torch"] = before
    assert report.slower({"results": old}, [result]) == said


def test_a_case_that_is_not_to_be_had_says_why(tmp_path, monkeypatch):
    def program(dd2424):
        raise Unavailable("it needs the moon")

    bench = type(sys)("bench_moon")
    bench.CASES = [Case("moon", program)]
    monkeypatch.setitem(sys.modules, "bench_moon", bench)
    answer = Worker("dd2424", 1).prepare("moon", 0, str(tmp_path / "moon.npz"))
    assert answer == {"ready": False, "reason": "it needs the moon"}


@pytest.mark.slow
def test_a_run_writes_its_results_and_its_page(tmp_path):
    raw, page = tmp_path / "raw.json", tmp_path / "page.md"
    command = [sys.executable, str(BENCHMARKS), "copy", "--only", "clone", "--threads", "1", "--rounds", "2"]
    options = ["--peers", "numpy", "--json", str(raw), "--page", str(page)]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    (result,) = json.loads(raw.read_text())["results"]
    assert set(result["seconds"]) == {"dd2424", "dd2424*", "limit", "numpy"}
    assert all(len(times) == 2 and min(times) > 0 for times in result["seconds"].values())
    assert "## copy" in page.read_text()
    assert "| case | threads | time | speed | limit | NumPy |" in page.read_text()
    assert (tmp_path / "images" / "roofline.png").stat().st_size > 0
    assert result["intensity"] == 0
    compared = subprocess.run([*command, "--peers", "", "--compare", str(raw)], capture_output=True, text=True)
    assert compared.returncode == 0
    assert "slower" in compared.stdout


def test_a_name_that_no_case_has_is_refused():
    command = [sys.executable, str(BENCHMARKS), "copy", "--only", "nothing of the kind"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no case has 'nothing of the kind' in its name" in done.stderr


def test_jax_computes_the_cases_that_name_it():
    jax = pytest.importorskip("jax")
    for family in ("elementwise", "reduce"):
        for case in importlib.import_module(f"bench_{family}").CASES:
            if case.jax and case.numpy:
                inputs = [x[:8, :8] if x.ndim == 2 else x[:8] for x in case.inputs(np.random.default_rng(0))]
                expected = case.numpy(*inputs)()
                np.testing.assert_allclose(case.jax(jax, *inputs), expected, rtol=1e-5, atol=1e-6, err_msg=case.name)


def test_the_machines_limits_are_a_row_for_each_number_of_threads():
    one = {"threads": 1, "GFLOP/s": {"float32": 100.2}, "GB/s": {"L1": 150.0, "memory": 20.0}, "call_ns": 80.0}
    two = {"threads": 2, "GFLOP/s": {"float32": 200.4}, "GB/s": {"L1": 300.0, "memory": 40.0}, "call_ns": 81.2}
    rows = report._limits([one, {**two, "handoff_ns": 64.7}])
    assert rows[0] == "| threads | float32, GFLOP/s | L1, GB/s | memory, GB/s | a call, ns | a handoff, ns |"
    assert rows[2:] == ["| 1 | 100 | 150 | 20 | 80 |  |", "| 2 | 200 | 300 | 40 | 81 | 65 |"]
    assert report._limits([]) == []


def test_memory_is_a_row_with_what_was_measured():
    line = report.memory_line("step", {"dd2424": (0.5, 3 << 20), "torch": (1.25, 5 << 20)})
    assert line == "| step | 3 MiB | 5 MiB | 500 ms | 1.25 s |"
    assert report.memory_line("step", {"dd2424": (0.5, 3 << 20)}) == "| step | 3 MiB |  | 500 ms |  |"


def test_networks_are_those_they_are_compared_with():
    import dd2424
    import networks

    dd2424.set_default_dtype(dd2424.float64)  # other formats take other kernels: only roundings may differ
    x = dd2424.randn(2, 3, 32, 32)
    for name in ("small_cnn", "resnet18"):
        plain = networks.fill(dd2424, networks.PLAIN[name](dd2424))
        ours = networks.network(dd2424, name, dd2424.channels_last)
        assert list(plain.state_dict()) == list(ours.state_dict())
        np.testing.assert_allclose(ours(x).detach().numpy(), plain(x).detach().numpy(), rtol=1e-9, atol=1e-12)


def test_transformers_are_those_they_are_compared_with():
    import dd2424
    import networks
    import sequences

    dd2424.set_default_dtype(dd2424.float64)
    sizes = sequences.Sizes(width=12, layers=2, heads=3, vocabulary=7, context=20, patch=8)
    text, images = dd2424.randint(0, 7, (2, 9)), dd2424.randn(2, 3, 32, 32)
    for ours, plain, x in (
        (sequences.gpt(dd2424, sizes), sequences.plain_gpt(dd2424, sizes), text),
        (sequences.vit(dd2424, sizes), sequences.plain_vit(dd2424, sizes), images),
    ):
        assert set(ours.state_dict()) == set(plain.state_dict())
        networks.fill(dd2424, plain)
        ours.load_state_dict(plain.state_dict())
        np.testing.assert_allclose(ours(x).detach().numpy(), plain(x).detach().numpy(), rtol=1e-9, atol=1e-12)
        if x is text:
            assert ours.generate(x, 8, temperature=0).tolist() == plain.generate(x, 8, temperature=0).tolist()


def test_the_ladder_s_table_counts_from_naive():
    import ladder

    rungs = [ladder.Rung("product", "naive", 1, 2.0, 0.01), ladder.Rung("product", "fast", 2, 200.0, 0.95)]
    assert ladder.table(rungs).splitlines()[2:] == [
        "| product | naive | 1 | 2 | 1.0% | 1x |",
        "| product | fast | 2 | 200 | 95.0% | 100x |",
    ]


def test_cases_for_a_gpu_are_those_of_the_families_in_its_sizes():
    import device_cases

    assert set(device_cases.CASES) <= set(FAMILIES)
    for family, cases in device_cases.CASES.items():
        assert cases, family
        assert len({case.name for case in cases}) == len(cases), family
        for case in cases:
            assert set(case.goals) <= {"torch", "limit"}, case.name
            assert tuple(case.threads) == (1,), case.name


def test_a_gpus_page_names_the_chip_and_what_was_left_out():
    import device

    result = harness.summarise("f", CASE, 1, rounds(torch=[3.0] * 3, limit=[0.9] * 3), 0)
    chip = {
        "date": "2026-11-26", "gpu": "H200", "capability": 90, "multiprocessors": 132, "memory_bytes": 139 * 2**30,
        "runtime": "CUDA 13.0", "versions": {"dd2424": "0.1.0"}, "commit": "abc", "limits": {"copy, GB/s": 4000.4},
    }  # fmt: skip
    lines = device.page(chip, [result], ["f: y: no kernels"], ["torch"]).splitlines()
    assert any(
        line.startswith("2026-11-26, H200, compute capability 9.0, 132 multiprocessors, 139 GiB") for line in lines
    )
    assert "| 4000 |" in lines
    assert "| x + x | 1 s |  | 90% | 3.00x |" in lines
    assert lines.index("- f: y: no kernels") < lines.index("## Notes")


def test_the_cases_of_a_sweep_have_names_of_their_own():
    import sweep

    families = (sweep.products, sweep.elements, sweep.indices, sweep.norms, sweep.images, sweep.sequences, sweep.small)
    names = [name for family in families for name, _ in family()]
    assert len(set(names)) == len(names) > 200
