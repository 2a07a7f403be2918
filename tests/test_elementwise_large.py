"""Operands that do not fit a last-level cache of 32 MB: results are stored around it, and are the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import dd2424
from accuracy import same_for_any_threads

ROWS, COLUMNS = 1201, 4096  # 20 MB in float32; of 1201 rows no number of threads gets as many each

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((ROWS, COLUMNS), np.float32), rng.random((ROWS, COLUMNS), np.float32)


# name: of x and y; whatever of them is written comes out as NumPy has it
OPERATIONS: dict[str, Callable] = {
    "two operands": lambda x, y: x + y,
    "one": lambda x, y: x * 1.5,
    "a row": lambda x, y: x - y[0],
    "a column": lambda x, y: x * y[:, :1],
    "from where no line begins": lambda x, y: x.reshape(-1)[1:] + y.reshape(-1)[:-1],
    "rows that are no whole lines": lambda x, y: x[:, 3:] + y[:, :-3],
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_same_as_numpy_for_any_threads(isa: str, pair: tuple[np.ndarray, np.ndarray], name: str) -> None:
    x, y = (dd2424.from_numpy(operand) for operand in pair)
    actual = same_for_any_threads(lambda: OPERATIONS[name](x, y))
    np.testing.assert_array_equal(actual.numpy(), OPERATIONS[name](*pair))


def test_copies_and_fills(isa: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    x = dd2424.from_numpy(pair[0])
    np.testing.assert_array_equal(same_for_any_threads(x.clone).numpy(), pair[0])
    np.testing.assert_array_equal(x[:, 1:].clone().numpy(), pair[0][:, 1:])
    assert bool((dd2424.full((ROWS, COLUMNS), 2.5) == 2.5).all())


def test_in_place(isa: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = dd2424.from_numpy(pair[0].copy()), dd2424.from_numpy(pair[1])
    np.testing.assert_array_equal(x.add_(y).numpy(), pair[0] + pair[1])
