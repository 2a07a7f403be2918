"""Convolution: all three passes against float64, in any format, at every ISA level, for any number of threads."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from convolutions import Problem, check_all_passes, in_format
from dd2424.nn import functional as F

# fmt: off
PROBLEMS = {
    "odd sizes": Problem(2, 3, 5, (7, 6), (3, 3), padding=1),
    "vector tails": Problem(3, 17, 33, (9, 8), (3, 3), stride=2, padding=1),
    "1x1": Problem(2, 5, 40, (6, 7), (1, 1)),
    "1x1, strided": Problem(2, 4, 35, (6, 6), (1, 1), stride=3),
    "1x1, padded": Problem(2, 20, 3, (4, 5), (1, 1), padding=2),
    "one pixel": Problem(3, 4, 6, (1, 1), (1, 1)),
    "one pixel, padded": Problem(2, 4, 6, (1, 1), (3, 3), padding=1),
    "kernel as large as the image": Problem(2, 3, 4, (5, 4), (5, 4)),
    "large stride": Problem(2, 4, 8, (9, 9), (2, 2), stride=3),
    "stride larger than the image": Problem(2, 3, 4, (4, 5), (2, 2), stride=50),
    "dilation": Problem(1, 8, 8, (10, 11), (3, 2), stride=2, padding=2, dilation=2),
    "dilation and stride share a factor": Problem(1, 3, 4, (13, 12), (3, 3), stride=4, padding=3, dilation=6),
    "huge dilation": Problem(1, 2, 3, (3, 60), (1, 3), dilation=(1000, 29)),
    "huge padding": Problem(1, 2, 3, (3, 4), (3, 3), padding=9),
    "asymmetric padding": Problem(2, 3, 5, (6, 7), (3, 4), padding=((2, 0), (1, 3))),
    "each dimension another": Problem(2, 3, 4, (11, 9), (2, 5), (2, 1), ((0, 0), (2, 2)), (3, 1)),
    "groups": Problem(2, 6, 9, (5, 6), (3, 3), padding=1, groups=3),
    "many small groups": Problem(2, 64, 64, (5, 6), (3, 3), padding=1, groups=16),
    "groups, 1x1": Problem(2, 8, 12, (5, 6), (1, 1), groups=4),
    "depthwise": Problem(2, 7, 7, (5, 8), (3, 3), padding=1, groups=7),
    "depthwise, vectors of channels": Problem(2, 40, 40, (6, 5), (3, 3), padding=1, groups=40),
    "depthwise, strided": Problem(2, 18, 18, (9, 20), (3, 3), stride=2, padding=1, groups=18),
    "depthwise, dilated": Problem(1, 5, 5, (12, 23), (5, 3), padding=3, dilation=2, groups=5),
    "depthwise, multiplied": Problem(2, 5, 15, (7, 6), (3, 3), padding=1, groups=5),
    "depthwise, multiplied, strided": Problem(2, 20, 40, (7, 9), (2, 3), stride=(2, 3), padding=1, groups=20),
    "depthwise, wide": Problem(1, 3, 3, (4, 70), (3, 3), padding=((1, 0), (0, 2)), groups=3),
    "many images": Problem(31, 5, 18, (4, 4), (3, 3), padding=1),
    "many taps": Problem(2, 1, 3, (23, 24), (19, 20), padding=3),
    "first layer": Problem(3, 3, 32, (16, 16), (3, 3), padding=1),
    "stem": Problem(2, 3, 33, (20, 22), (7, 7), stride=2, padding=3),
    "whole vectors": Problem(3, 32, 48, (7, 6), (3, 3), stride=2, padding=1),
    "whole vectors, wide": Problem(2, 32, 16, (3, 20), (3, 3), padding=1),
    "whole vectors, groups": Problem(2, 64, 96, (5, 18), (3, 3), padding=1, groups=2),
    "whole vectors, 1x1": Problem(2, 5, 48, (6, 18), (1, 1)),
    "whole vectors, 1x1, strided": Problem(2, 16, 32, (7, 38), (1, 1), stride=2),
    "whole vectors, 1x1, strided, padded": Problem(2, 16, 40, (8, 18), (1, 1), stride=2, padding=((2, 3), (4, 0))),
    "whole vectors, 1x1, strided along rows": Problem(3, 16, 32, (5, 9), (1, 1), stride=(1, 2)),
    "whole vectors, 1x1, strided along columns": Problem(3, 32, 16, (9, 6), (1, 1), stride=(3, 1)),
    "many images, 1x1, strided": Problem(31, 16, 40, (8, 8), (1, 1), stride=2),
    "many images, 1x1, strided to a column": Problem(29, 16, 32, (6, 2), (1, 1), stride=2),
    "a row of taps, strided": Problem(2, 16, 32, (7, 9), (1, 3), stride=2, padding=((0, 0), (1, 1))),
    "one tap meets the image": Problem(2, 16, 16, (1, 7), (3, 3), stride=2, padding=1),
    "depthwise, whole vectors": Problem(2, 48, 48, (6, 13), (3, 3), padding=1, groups=48),
    "depthwise, whole vectors, strided": Problem(2, 16, 16, (9, 20), (3, 3), stride=2, padding=1, groups=16),
    "depthwise, whole vectors, odd and strided": Problem(1, 16, 16, (8, 17), (3, 3), stride=2, padding=1, groups=16),
    "depthwise, whole vectors, unpadded": Problem(1, 16, 16, (5, 9), (2, 3), groups=16),
    "depthwise, whole vectors, one column": Problem(2, 16, 16, (4, 2), (3, 3), padding=((1, 1), (1, 0)), groups=16),
    "few pixels": Problem(1, 128, 80, (4, 4), (3, 3), padding=1),
    "few pixels, strided": Problem(2, 70, 110, (5, 4), (3, 3), stride=2, padding=1),
    "few pixels, 1x1": Problem(1, 300, 230, (1, 5), (1, 1)),
    "1d": Problem(2, 3, 5, (17,), (3,), stride=2, padding=1),
    "1d, dilated": Problem(1, 2, 3, (300,), (3,), padding=4, dilation=4),
    "1d, depthwise": Problem(2, 6, 6, (37,), (5,), padding=2, groups=6),
    "3d": Problem(2, 4, 6, (5, 6, 7), (3, 2, 3), stride=2, padding=1, groups=2),
    "3d, depthwise": Problem(2, 5, 5, (4, 5, 6), (3, 3, 3), padding=1, groups=5),
    "3d, depthwise, whole vectors": Problem(1, 16, 16, (3, 4, 5), (3, 3, 3), padding=1, groups=16),
    "3d, 1x1x1, strided": Problem(2, 16, 32, (4, 5, 7), (1, 1, 1), stride=(3, 2, 2)),
    "3d, asymmetric": Problem(1, 3, 2, (3, 4, 5), (2, 2, 2), padding=((1, 0), (0, 2), (2, 1)), dilation=(1, 2, 1)),
}
# What takes a moment: sums in several blocks of channels, bands that are cut, sums that threads share.
LARGE = {
    "blocks of channels": Problem(5, 300, 40, (5, 6), (3, 3), padding=1),
    "bands of rows and columns": Problem(1, 4, 3, (60, 900), (3, 3), padding=1),
    "shared sums": Problem(9, 130, 260, (6, 6), (3, 3), padding=1),
    "wide images": Problem(2, 24, 40, (40, 70), (3, 3), padding=1),
}
FORMATS = [(x, weight, dy) for x in (False, True) for weight in (False, True) for dy in (False, True)]
# fmt: on
pytestmark = pytest.mark.usefixtures("direct_kernels")
each_problem = pytest.mark.parametrize("name", PROBLEMS)


@each_problem
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matches_the_reference(isa: str, rng: np.random.Generator, name: str, dtype: Any) -> None:
    check_all_passes(PROBLEMS[name], rng, dtype)


@pytest.mark.parametrize("name", [name for name, p in PROBLEMS.items() if len(p.image) > 1])
@pytest.mark.parametrize("formats", FORMATS[1:], ids=str)
def test_reads_both_formats(rng: np.random.Generator, name: str, formats: tuple[bool, bool, bool]) -> None:
    check_all_passes(PROBLEMS[name], rng, np.float32, formats)


@pytest.mark.parametrize("name", ["vector tails", "depthwise, strided", "groups", "1x1", "3d", "many images"])
def test_reads_channels_last_at_every_level(isa: str, rng: np.random.Generator, name: str) -> None:
    check_all_passes(PROBLEMS[name], rng, np.float64, (True, True, True))


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("formats", FORMATS[::7], ids=["first", "last"])
def test_large_problems(isa: str, rng: np.random.Generator, name: str, formats: tuple[bool, bool, bool]) -> None:
    check_all_passes(LARGE[name], rng, np.float32, formats)


@each_problem
@pytest.mark.parametrize("channels_last", [False, True])
def test_bfloat16(isa: str, rng: np.random.Generator, name: str, channels_last: bool) -> None:
    """Sums are float32: the one rounding to bfloat16 is what a result may be off by."""
    if channels_last and len(PROBLEMS[name].image) == 1:
        return check_all_passes(PROBLEMS[name], rng, ml_dtypes.bfloat16, roundings=1.0)
    check_all_passes(PROBLEMS[name], rng, ml_dtypes.bfloat16, (channels_last,) * 3, roundings=1.0)


@pytest.mark.parametrize("name", [*PROBLEMS, *LARGE])
@pytest.mark.parametrize("channels_last", [False, True])
def test_same_bits_for_any_threads(rng: np.random.Generator, name: str, channels_last: bool) -> None:
    problem = {**PROBLEMS, **LARGE}[name]
    x, weight, bias = problem.draw(rng, np.float32)

    def run() -> Any:
        leaves = [in_format(a, channels_last).requires_grad_() for a in (x, weight)]
        y = problem.run(*leaves, dd2424.from_numpy(bias))
        y.backward(dd2424.cos(y.detach()))
        return [y, leaves[0].grad, leaves[1].grad]

    same_for_any_threads(run)


@pytest.mark.parametrize("name", ["odd sizes", "depthwise, multiplied", "1x1", "many images"])
def test_a_window_of_a_larger_tensor_gives_the_same_bits(rng: np.random.Generator, name: str) -> None:
    """Other strides, and memory that ends where the tensor ends, change nothing."""
    problem = PROBLEMS[name]
    x, weight, bias = (dd2424.from_numpy(a) for a in problem.draw(rng, np.float32))
    wide = dd2424.zeros([n + 3 for n in x.shape])
    window = wide[tuple(slice(1, n + 1) for n in x.shape)]
    window.copy_(x)
    assert bits(problem.run(window, weight, bias)) == bits(problem.run(x, weight, bias))


@pytest.mark.parametrize("name", ["odd sizes", "depthwise", "1x1", "blocks of channels", "huge padding", "3d"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_relu_in_the_same_pass(isa: str, rng: np.random.Generator, name: str, channels_last: bool) -> None:
    problem = {**PROBLEMS, **LARGE}[name]
    x, weight, bias = problem.draw(rng, np.float32)
    results = []
    for fused in (True, False):
        leaves = [in_format(a, channels_last).requires_grad_() for a in (x, weight)]
        b = dd2424.from_numpy(bias).requires_grad_()
        y = problem.run(*leaves, b, fused)
        y = y if fused else F.relu(y)
        y.backward(dd2424.ones_like(y))
        results.append([y, *(leaf.grad for leaf in leaves), b.grad])
    assert bits(results[0]) == bits(results[1])
    assert (results[0][0].detach().numpy() >= 0).all()


@pytest.mark.parametrize("channels", [(3, 4), (4, 4)])
def test_a_nan_stays_where_its_taps_are(isa: str, channels: tuple[int, int]) -> None:
    groups = 1 if channels[0] == 3 else 4
    x = np.zeros((1, channels[0], 9, 9), np.float32)
    x[0, 1, 4, 5] = np.nan
    weight = np.ones((channels[1], channels[0] // groups, 3, 3), np.float32)
    y = F.conv2d(*map(dd2424.from_numpy, (x, weight)), padding=1, groups=groups, relu=True).numpy()
    expected = np.zeros((9, 9), bool)
    expected[3:6, 4:7] = True
    reached = (1,) if groups == 4 else range(channels[1])
    for channel in range(channels[1]):
        assert (np.isnan(y[0, channel]) == (expected if channel in reached else False)).all()


def test_infinities_and_large_values(isa: str) -> None:
    x, weight = np.ones((1, 2, 4, 4), np.float32), np.ones((1, 2, 1, 1), np.float32)
    x[0, 0, 0, 0], x[0, 1, 1, 1], x[0, :, 2, 2] = np.inf, -np.inf, 3e38
    y = F.conv2d(dd2424.from_numpy(x), dd2424.from_numpy(weight)).numpy()[0, 0]
    assert y[0, 0] == np.inf
    assert y[1, 1] == -np.inf
    assert y[2, 2] == np.inf
    assert y[3, 3] == 2


def test_the_terms_of_a_sum_may_cancel(isa: str, rng: np.random.Generator) -> None:
    problem = PROBLEMS["vector tails"]
    x, weight, _ = problem.draw(rng, np.float32)
    x = x + np.float32(1e4)
    scale = problem.exact(np.abs(x), np.abs(weight))
    y = problem.run(dd2424.from_numpy(x), dd2424.from_numpy(weight))
    assert_accurate(y, problem.exact(x, weight), roundings=4, scale=scale)
