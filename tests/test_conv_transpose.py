"""Transposed convolution: the same kernels the other way round, with sizes of its own."""

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
    "plain": Problem(2, 3, 5, (7, 6), (3, 3), transposed=True),
    "doubles": Problem(2, 20, 9, (5, 7), (4, 4), stride=2, padding=1, transposed=True),
    "doubles, odd kernel": Problem(2, 5, 33, (5, 7), (3, 3), 2, 1, output_padding=1, transposed=True),
    "no overlap": Problem(2, 4, 6, (3, 4), (2, 2), stride=2, transposed=True),
    "gaps": Problem(2, 4, 6, (3, 4), (2, 1), stride=5, output_padding=4, transposed=True),
    "dilation": Problem(1, 4, 3, (6, 5), (3, 2), stride=(2, 3), padding=2, dilation=(2, 3), transposed=True),
    "stride and dilation share a factor": Problem(1, 2, 3, (4, 5), (3, 3), 4, 0, 6, output_padding=5, transposed=True),
    "1x1": Problem(2, 17, 20, (4, 5), (1, 1), transposed=True),
    "groups": Problem(2, 6, 9, (5, 6), (3, 3), padding=1, groups=3, transposed=True),
    "depthwise": Problem(2, 19, 19, (5, 6), (3, 3), 2, 1, groups=19, output_padding=1, transposed=True),
    "depthwise, multiplied": Problem(2, 5, 10, (5, 6), (3, 3), padding=1, groups=5, transposed=True),
    "cuts all of a pixel's patch": Problem(1, 2, 3, (9, 8), (2, 3), padding=(4, 3), transposed=True),
    "one pixel": Problem(3, 4, 6, (1, 1), (5, 4), transposed=True),
    "1d": Problem(2, 3, 5, (17,), (3,), 2, 1, output_padding=1, transposed=True),
    "3d": Problem(2, 4, 6, (3, 2, 4), (3, 2, 3), 2, 1, groups=2, output_padding=(1, 0, 1), transposed=True),
}
# fmt: on
each_problem = pytest.mark.parametrize("name", PROBLEMS)


@each_problem
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matches_the_reference(isa: str, rng: np.random.Generator, name: str, dtype: Any) -> None:
    check_all_passes(PROBLEMS[name], rng, dtype)


@each_problem
@pytest.mark.parametrize("formats", [(True, True, True), (True, False, False), (False, True, False)], ids=str)
def test_reads_both_formats(rng: np.random.Generator, name: str, formats: tuple[bool, bool, bool]) -> None:
    check_all_passes(PROBLEMS[name], rng, np.float32, formats)


@each_problem
def test_bfloat16(rng: np.random.Generator, name: str) -> None:
    check_all_passes(PROBLEMS[name], rng, ml_dtypes.bfloat16, roundings=1.0)


@each_problem
def test_same_bits_for_any_threads(rng: np.random.Generator, name: str) -> None:
    x, weight, bias = (dd2424.from_numpy(a) for a in PROBLEMS[name].draw(rng, np.float32))
    same_for_any_threads(lambda: PROBLEMS[name].run(x, weight, bias))


@pytest.mark.parametrize("name", ["doubles", "depthwise", "gaps"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_relu_in_the_same_pass(rng: np.random.Generator, name: str, channels_last: bool) -> None:
    x, weight, bias = PROBLEMS[name].draw(rng, np.float32)
    results = []
    for fused in (True, False):
        leaves = [in_format(a, channels_last).requires_grad_() for a in (x, weight)]
        y = PROBLEMS[name].run(*leaves, dd2424.from_numpy(bias), fused)
        y = y if fused else F.relu(y)
        y.backward(dd2424.ones_like(y))
        results.append([y, *(leaf.grad for leaf in leaves)])
    assert bits(results[0]) == bits(results[1])


def test_it_is_the_gradient_of_a_convolution(rng: np.random.Generator) -> None:
    x, weight, dy = (dd2424.from_numpy(rng.standard_normal(s)) for s in ((2, 3, 9, 8), (5, 3, 3, 3), (2, 5, 5, 4)))
    y = F.conv2d(x.requires_grad_(), weight, stride=2, padding=1)
    y.backward(dy)
    again = F.conv_transpose2d(dy, weight, stride=2, padding=1, output_padding=(0, 1))
    assert_accurate(again, x.grad.numpy(), roundings=0)
