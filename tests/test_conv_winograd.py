"""Winograd's convolution: its error, in any format and at every level; its switch; bits for any number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits, same_for_any_threads
from convolutions import Array, Problem, in_format
from dd2424 import _core
from dd2424.nn import functional as F

MOST_ERROR = 3.5e-6  # the largest error by the largest exact value; PyTorch's own are 0.6e-6 to 2.7e-6

# fmt: off
PROBLEMS = {
    "a tile": Problem(9, 64, 64, (4, 4), (3, 3), padding=1),
    "odd image": Problem(9, 64, 96, (5, 7), (3, 3), padding=1),
    "no padding": Problem(5, 64, 64, (9, 6), (3, 3)),
    "wide padding": Problem(2, 64, 64, (6, 9), (3, 3), padding=2),
    "padding beyond the taps": Problem(2, 64, 64, (12, 13), (3, 3), padding=3),
    "asymmetric padding": Problem(3, 64, 64, (8, 7), (3, 3), padding=((2, 0), (0, 3))),
    "tails of vectors": Problem(4, 67, 81, (9, 11), (3, 3), padding=1),
    "a single output of a panel": Problem(4, 65, 97, (8, 8), (3, 3), padding=1),
    "runs of tiles": Problem(1, 64, 64, (6, 70), (3, 3), padding=1),
    "blocks of channels": Problem(9, 150, 64, (8, 8), (3, 3), padding=1),
    "few channels": Problem(2, 16, 17, (16, 15), (3, 3), padding=1),
    "few tiles": Problem(5, 300, 70, (5, 4), (3, 3), padding=1),
    "5x5": Problem(3, 32, 48, (9, 8), (5, 5), padding=2),
    "5x5, tails of vectors": Problem(2, 19, 33, (11, 7), (5, 5), padding=1),
    "5x5, wide padding": Problem(2, 16, 16, (16, 15), (5, 5), padding=3),
    "5x5, runs of tiles": Problem(1, 16, 40, (8, 37), (5, 5), padding=2),
    "5x5, few tiles": Problem(1, 260, 40, (6, 7), (5, 5), padding=2),
    "2x2": Problem(2, 17, 33, (9, 13), (2, 2)),
    "4x4": Problem(2, 19, 33, (11, 13), (4, 4), padding=1),
    "few channels, chunks": Problem(16, 16, 16, (34, 38), (3, 3), padding=1),
    "stem": Problem(3, 3, 40, (32, 30), (7, 7), stride=2, padding=3),
    "stem of four channels": Problem(2, 4, 17, (33, 35), (7, 7), stride=2, padding=((2, 3), (3, 1))),
    "stem of 5x5": Problem(2, 3, 16, (32, 33), (5, 5), stride=2, padding=2),
    "stem of 8x8": Problem(2, 3, 16, (34, 32), (8, 8), stride=2, padding=3),
    "stride 2": Problem(3, 16, 40, (16, 16), (3, 3), stride=2, padding=1),
    "stride 2, odd image": Problem(2, 48, 33, (31, 23), (3, 3), stride=2, padding=1),
    "stride 2, asymmetric padding": Problem(3, 32, 40, (16, 24), (3, 3), stride=2, padding=((1, 0), (1, 1))),
    "stride 2, blocks of channels": Problem(8, 96, 40, (8, 8), (3, 3), stride=2, padding=1),
    "stride 2, few tiles": Problem(9, 256, 40, (8, 8), (3, 3), stride=2, padding=1),
    "stride 2, few tiles of dx": Problem(9, 16, 260, (8, 8), (3, 3), stride=2, padding=1),
    "stride 2, 7x7": Problem(3, 16, 16, (16, 18), (7, 7), stride=2, padding=3),
    "stride 2, no padding": Problem(3, 32, 40, (16, 18), (3, 3), stride=2),
    "stride 2, 4x4": Problem(3, 32, 40, (16, 18), (4, 4), stride=2, padding=1),
}
# fmt: on
LARGE = {
    "blocks of tiles": Problem(9, 32, 40, (30, 34), (3, 3), padding=1),
    "wide layers": Problem(17, 256, 40, (8, 8), (3, 3), padding=1),
    "many channels and few tiles": Problem(9, 512, 70, (4, 4), (3, 3), padding=1),
}
DIRECT = {  # passes that stay direct
    **{name: {"dweight"} for name, p in PROBLEMS.items() if (p.kernel, p.stride) == ((5, 5), 1)},
    **{name: {"dx"} for name, p in PROBLEMS.items() if p.inputs < 16},
    "stride 2, no padding": {"dx"},
    "stride 2, 4x4": {"dx"},
}
FORMATS = [(x, weight, dy) for x in (False, True) for weight in (False, True) for dy in (False, True)]
ALL = {**PROBLEMS, **LARGE}
each_problem = pytest.mark.parametrize("name", PROBLEMS)
each_of_all = pytest.mark.parametrize("name", [*PROBLEMS, *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)])


@pytest.fixture(autouse=True)
def restored_switch() -> Iterator[None]:
    before = _core.winograd_enabled()
    _core.set_winograd(True)
    yield
    _core.set_winograd(before)


def passes(problem: Problem, arrays: tuple[Array, ...], formats: tuple[bool, ...], relu: bool = False) -> list[Any]:
    """y, dx and dweight."""
    x, weight, bias, dy = arrays
    leaves = [in_format(a, last).requires_grad_() for a, last in zip((x, weight), formats, strict=False)]
    y = problem.run(*leaves, dd2424.from_numpy(bias), relu)
    y.backward(in_format(dy, formats[2]))
    return [y.detach(), *(leaf.grad for leaf in leaves)]


def draw(problem: Problem, rng: np.random.Generator) -> tuple[Array, ...]:
    """x, weight, bias and dy."""
    x, weight, bias = problem.draw(rng, np.float32)
    y = problem.exact(x, weight)
    return x, weight, bias, rng.standard_normal(y.shape).astype(np.float32)


def check_errors(problem: Problem, rng: np.random.Generator, formats: tuple[bool, ...]) -> None:
    x, weight, bias, dy = arrays = draw(problem, rng)
    exact = problem.exact(x, weight, bias), *problem.gradients(x, weight, dy)
    for actual, expected in zip(passes(problem, arrays, formats), exact, strict=True):
        error = np.abs(actual.numpy() - expected).max() / np.abs(expected).max()
        assert error <= MOST_ERROR, f"{error:.2g}"


@each_problem
@pytest.mark.parametrize("channels_last", [False, True])
def test_matches_the_reference(isa: str, rng: np.random.Generator, name: str, channels_last: bool) -> None:
    check_errors(PROBLEMS[name], rng, (channels_last,) * 3)


@pytest.mark.parametrize(
    "name", ["odd image", "tails of vectors", "few tiles", "5x5, tails of vectors", "stem", "stride 2"]
)
@pytest.mark.parametrize("formats", FORMATS[1:-1], ids=str)
def test_reads_both_formats(rng: np.random.Generator, name: str, formats: tuple[bool, bool, bool]) -> None:
    check_errors(PROBLEMS[name], rng, formats)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("channels_last", [False, True])
def test_large_problems(isa: str, rng: np.random.Generator, name: str, channels_last: bool) -> None:
    check_errors(LARGE[name], rng, (channels_last,) * 3)


@each_of_all
@pytest.mark.parametrize("channels_last", [False, True])
def test_same_bits_for_any_threads(rng: np.random.Generator, name: str, channels_last: bool) -> None:
    problem = ALL[name]
    arrays = draw(problem, rng)
    same_for_any_threads(lambda: passes(problem, arrays, (channels_last,) * 3))


@pytest.mark.parametrize("name", ["odd image", "tails of vectors", "few tiles", "stem"])
def test_the_formats_move_no_bit(isa: str, rng: np.random.Generator, name: str) -> None:
    arrays = draw(PROBLEMS[name], rng)
    results = [bits([t.contiguous() for t in passes(PROBLEMS[name], arrays, formats)]) for formats in FORMATS]
    assert all(result == results[0] for result in results[1:])


@pytest.mark.parametrize("name", ["odd image", "blocks of channels", "few tiles", "5x5", "stem", "stride 2"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_relu_in_the_same_pass(isa: str, rng: np.random.Generator, name: str, channels_last: bool) -> None:
    x, weight, bias, _ = draw(PROBLEMS[name], rng)
    tensors = [in_format(x, channels_last), in_format(weight, channels_last), dd2424.from_numpy(bias)]
    assert bits(PROBLEMS[name].run(*tensors, relu=True)) == bits(F.relu(PROBLEMS[name].run(*tensors)))


@each_of_all
def test_the_switch_gives_the_direct_kernels_back(rng: np.random.Generator, name: str) -> None:
    """Other bits show that Winograd's kernels ran at all; that they differ by roundings alone is tested above."""
    problem = ALL[name]
    arrays = draw(problem, rng)
    with_it = passes(problem, arrays, (True,) * 3)
    _core.set_winograd(False)
    assert not _core.winograd_enabled()
    without = passes(problem, arrays, (True,) * 3)
    same = [bits(a) == bits(b) for a, b in zip(with_it, without, strict=True)]
    assert {which for which, s in zip(("y", "dx", "dweight"), same, strict=True) if s} == DIRECT.get(name, set())


@pytest.mark.parametrize(
    "problem",
    [
        Problem(1, 64, 64, (8, 8), (3, 3), padding=1, stride=2),
        Problem(2, 24, 64, (16, 16), (3, 3), padding=1, stride=2),
        Problem(2, 64, 64, (16, 16), (3, 3), padding=1, stride=3),
        Problem(2, 64, 64, (16, 16), (3, 3), padding=1, stride=(2, 1)),
        Problem(2, 64, 64, (16, 16), (1, 1), stride=2),
        Problem(2, 64, 64, (8, 8), (3, 3), padding=1, dilation=2),
        Problem(2, 64, 64, (8, 8), (3, 3), padding=1, groups=2),
        Problem(2, 64, 64, (8, 8), (3, 1), padding=1),
        Problem(2, 64, 64, (8, 8), (5, 3), padding=1),
        Problem(2, 64, 64, (9, 9), (7, 7), padding=1),
        Problem(2, 4, 64, (8, 8), (3, 3), padding=1),
        Problem(2, 64, 64, (3, 8, 8), (1, 3, 3), padding=1),
        Problem(40, 64, 64, (1, 1), (3, 3), padding=1),
        Problem(40, 64, 64, (5, 5), (3, 3), padding=1),
        Problem(1, 64, 64, (7, 7), (3, 3), padding=1),
    ],
)
def test_other_convolutions_stay_direct(rng: np.random.Generator, problem: Problem) -> None:
    arrays = draw(problem, rng)
    with_it = bits(passes(problem, arrays, (True,) * 3))
    _core.set_winograd(False)
    assert bits(passes(problem, arrays, (True,) * 3)) == with_it


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_exact_where_every_step_is(isa: str, offset: float) -> None:
    """A filter that copies its middle: each output is one input, up to the roundings of the way there and back."""
    x = np.arange(64 * 9 * 9, dtype=np.float32).reshape(1, 64, 9, 9) / 64 + np.float32(offset)
    weight = np.zeros((64, 64, 3, 3), np.float32)
    weight[range(64), range(64), 1, 1] = 1
    y = F.conv2d(dd2424.from_numpy(x), dd2424.from_numpy(weight), padding=1).numpy()
    assert np.abs(y - x).max() <= MOST_ERROR * np.abs(x).max()


def test_second_derivatives_come_from_the_same_kernels(rng: np.random.Generator) -> None:
    """The derivative of <dx, v> by weight is the weight gradient of v and dy."""
    problem = PROBLEMS["odd image"]
    x, weight, _, dy = draw(problem, rng)
    v = rng.standard_normal(x.shape).astype(np.float32)
    leaves = [dd2424.from_numpy(a).requires_grad_() for a in (x, weight)]
    y = problem.run(*leaves)
    (dx,) = dd2424.autograd.grad(y, leaves[:1], dd2424.from_numpy(dy), create_graph=True)
    (second,) = dd2424.autograd.grad(dx, leaves[1:], dd2424.from_numpy(v))
    expected = problem.gradients(v, weight, dy)[1]
    assert np.abs(second.numpy() - expected).max() <= MOST_ERROR * np.abs(expected).max()


@pytest.mark.parametrize(("stride", "size"), [(1, 4), (2, 8)])
def test_sums_of_one_block_are_not_kept(rng: np.random.Generator, stride: int, size: int) -> None:
    """All of them would take 38 and 52 MB."""
    problem = Problem(9, 512 // stride, 512, (size, size), (3, 3), stride=stride, padding=1)
    x, weight, _, dy = draw(problem, rng)
    weight_tensor = in_format(weight, True).requires_grad_()
    y = problem.run(in_format(x, True), weight_tensor)
    before = dd2424.memory_stats()["in_use_bytes"]
    dd2424.empty_cache()
    dd2424.reset_peak_memory()
    y.backward(in_format(dy, True))
    assert dd2424.memory_stats()["peak_bytes"] - before < weight.nbytes + (20 << 20)


def test_depth_is_not_forgotten(rng: np.random.Generator) -> None:
    """A kernel that is flat, on an image that is flat, meets nothing but the padding in front of it."""
    problem = Problem(4, 64, 64, (1, 8, 8), (1, 3, 3), padding=1, stride=(3, 1, 1))
    arrays = draw(problem, rng)
    y, dx, dweight = passes(problem, arrays, (True,) * 3)
    assert bits(y) == bits(np.broadcast_to(arrays[2][:, None, None, None], y.shape))
    assert not dx.numpy().any()
    assert not dweight.numpy().any()


@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_convolutions_use_it_too(isa: str, rng: np.random.Generator, stride: int) -> None:
    problem = Problem(2, 64, 64, (16, 15), (3, 3), stride, padding=1, output_padding=stride - 1, transposed=True)
    x, weight, bias = problem.draw(rng, np.float32)
    tensors = [in_format(x, True), dd2424.from_numpy(weight), dd2424.from_numpy(bias)]
    y = problem.run(*tensors).numpy()
    expected = problem.exact(x, weight, bias)
    assert np.abs(y - expected).max() <= MOST_ERROR * np.abs(expected).max()
    _core.set_winograd(False)
    assert bits(problem.run(*tensors)) != bits(y)
