"""Parts of a tensor side by side (split, chunk, unbind): their gradients are written together, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits
from dd2424.autograd import gradcheck, gradgradcheck

PARTS: dict[str, Callable[[Any], Any]] = {
    "split": lambda x: x.split(2, 1),
    "sizes": lambda x: x.split([1, 0, 3], 1),
    "chunk": lambda x: x.chunk(3, -1),
    "unbind": lambda x: x.unbind(0),
    "one": lambda x: x.split(4, 1),
}


def leaf(rng: np.random.Generator) -> Any:
    return dd2424.from_numpy(rng.standard_normal((3, 4))).requires_grad_()


@pytest.mark.parametrize("name", PARTS)
def test_derivatives(rng: np.random.Generator, name: str) -> None:
    def function(x: Any) -> Any:
        return sum((i + 1) * part.sin().sum() for i, part in enumerate(PARTS[name](x)))

    assert gradcheck(function, (leaf(rng),))
    assert gradgradcheck(function, (leaf(rng),))


@pytest.mark.parametrize("name", ["split", "unbind"])
@pytest.mark.parametrize("used", [0, 1])
def test_a_part_that_is_not_used_has_no_gradient(rng: np.random.Generator, name: str, used: int) -> None:
    x = leaf(rng)
    parts = PARTS[name](x)
    parts[used].sum().backward()
    exact = np.zeros((3, 4))
    exact[(slice(None), slice(2 * used, 2 * used + 2)) if name == "split" else used] = 1
    np.testing.assert_array_equal(x.grad.numpy(), exact)
    y = leaf(rng)
    assert gradgradcheck(lambda y: PARTS[name](y)[used].exp(), (y,))


def test_the_gradients_of_all_parts_are_copied_once(rng: np.random.Generator) -> None:
    parts, upstream = leaf(rng).split(2, 1), [dd2424.ones(3, 2, dtype=dd2424.float64) for _ in range(2)]
    before = dd2424.kernel_count()
    dd2424.autograd.backward(list(parts), upstream)
    assert dd2424.kernel_count() - before == 2, "one copy a part"


def test_parts_are_numbered_outputs_of_one_node(rng: np.random.Generator) -> None:
    first, second = leaf(rng).split(2, 1)
    assert first.grad_fn == second.grad_fn
    assert (first.output_nr, second.output_nr) == (0, 1)


@pytest.mark.parametrize("name", ["split", "unbind"])
def test_a_part_may_be_written_in_place(rng: np.random.Generator, name: str) -> None:
    x = leaf(rng)
    y = x * 2
    parts = PARTS[name](y)
    parts[0].mul_(3)
    parts[1].exp_()
    y.sum().backward()
    exact = np.full((3, 4), 2.0)
    for i, part in enumerate(PARTS[name](dd2424.from_numpy(exact))):
        if i < 2:
            part.copy_(dd2424.full_like(part, 6.0) if i == 0 else 2 * parts[1].detach())
    np.testing.assert_allclose(x.grad.numpy(), exact, rtol=1e-15)


def test_parts_share_memory_and_see_later_writes(rng: np.random.Generator) -> None:
    x = leaf(rng)
    y = x * 1
    first, _ = y.split(2, 1)
    y.mul_(5)
    assert bits(first) == bits(y[:, :2])
    first.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[5, 5, 0, 0]] * 3)


def test_nothing_is_recorded_without_need(rng: np.random.Generator) -> None:
    x = leaf(rng)
    with dd2424.no_grad():
        assert all(part.grad_fn is None for part in x.split(2, 1))
    assert all(part.grad_fn is None for part in x.detach().unbind())
