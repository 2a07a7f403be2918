"""Fixtures that every family's tests share."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import pytest

import dd2424


@pytest.fixture(params=dd2424.supported_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each ISA level of this processor in turn."""
    before = dd2424.get_isa()
    dd2424.set_isa(request.param)
    yield request.param
    dd2424.set_isa(before)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's name, so that a test's data do not depend on which others run."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(scope="module")
def direct_kernels() -> Iterator[None]:
    """Convolutions without Winograd's kernels, which round otherwise and have tests of their own."""
    before = dd2424._core.winograd_enabled()
    dd2424._core.set_winograd(False)
    yield
    dd2424._core.set_winograd(before)


@pytest.fixture(autouse=True)
def clean_state() -> Iterator[None]:
    """Every test starts from one seed, and leaves threads, dtype and grad mode as they were."""
    threads, dtype = dd2424.get_num_threads(), dd2424.get_default_dtype()
    dd2424.manual_seed(0)
    yield
    dd2424.set_num_threads(threads)
    dd2424.set_default_dtype(dtype)
    assert dd2424.is_grad_enabled(), "a test left recording switched off"
