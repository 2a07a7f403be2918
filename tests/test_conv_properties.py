"""Whatever the sizes of a convolution, all passes are right, in any combination of memory formats and groups."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

import dd2424
from convolutions import Problem, check_all_passes

EXAMPLES = 8 * int(os.environ.get("DD2424_EXAMPLES", "12"))
property_test = settings(
    max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@st.composite
def problems(draw: Any, transposed: bool) -> Problem:
    """Mostly small; channels reach over one vector, kernels beyond the image, where padding makes room."""
    space = draw(st.sampled_from((1, 2, 2, 2, 3)))

    def each(*choices: Any) -> list[Any]:
        return [draw(st.sampled_from(choices)) for _ in range(space)]

    groups = draw(st.sampled_from((1, 1, 2, 3, 18)))
    inputs, outputs = (groups * draw(st.sampled_from((1, 2, 3, 4, 17))) for _ in range(2))
    image, kernel = each(1, 2, 3, 5, 8, 11), each(1, 1, 2, 3, 4)
    stride, dilation = each(1, 1, 2, 3), each(1, 1, 2, 3)
    padding = [(p, p) for p in each(0, 1, 2)] if transposed else [*zip(each(0, 1, 2, 4), each(0, 1, 2, 4))]
    extra = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation)] if transposed else 0
    batch = draw(st.sampled_from((1, 2, 13)))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    if transposed:
        more = zip(image, stride, padding, reach, extra)  # type: ignore[arg-type]
        assume(all((n - 1) * s + r + e > sum(p) for n, s, p, r, e in more))
    else:
        assume(all(r <= n + sum(p) for r, n, p in zip(reach, image, padding)))
    return Problem(batch, inputs, outputs, image, kernel, stride, padding, dilation, groups, extra, transposed)


ISAS = st.sampled_from(dd2424.supported_isas())
FORMATS = st.tuples(st.booleans(), st.booleans(), st.booleans())


def check(problem: Problem, isa: str, formats: tuple[bool, bool, bool]) -> None:
    before = dd2424.get_isa()
    dd2424.set_isa(isa)
    try:
        check_all_passes(problem, np.random.default_rng(0), np.float32, formats)
    finally:
        dd2424.set_isa(before)


@pytest.mark.slow
@property_test
@given(problem=problems(False), isa=ISAS, formats=FORMATS)
def test_convolutions(problem: Problem, isa: str, formats: tuple[bool, bool, bool]) -> None:
    check(problem, isa, formats)


@pytest.mark.slow
@property_test
@given(problem=problems(True), isa=ISAS, formats=FORMATS)
def test_transposed_convolutions(problem: Problem, isa: str, formats: tuple[bool, bool, bool]) -> None:
    check(problem, isa, formats)
