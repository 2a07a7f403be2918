"""What is recorded on the tape and what is not: modes, leaves, detached tensors."""

from __future__ import annotations

from typing import Any

import pytest

import dd2424
from dd2424 import Tensor


def leaf(*values: float) -> Tensor:
    return dd2424.tensor(values, dtype=dd2424.float64, requires_grad=True)


def test_modes_as_contexts_and_decorators() -> None:
    x = leaf(1)
    with dd2424.no_grad():
        assert not (x * 2).requires_grad
        with dd2424.enable_grad():
            assert (x * 2).requires_grad
        assert not dd2424.is_grad_enabled()
    assert (x * 2).requires_grad
    with dd2424.inference_mode():
        assert not (x * 2).requires_grad
    with dd2424.inference_mode(False):
        assert (x * 2).requires_grad
    with dd2424.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert dd2424.is_grad_enabled()

    @dd2424.no_grad()
    def off() -> Tensor:
        return x * 2

    @dd2424.no_grad
    def off_too() -> Tensor:
        """Its own docstring."""
        return x * 2

    @dd2424.inference_mode()
    def inferred() -> Tensor:
        return dd2424.enable_grad()(lambda: x * 2)()

    assert not off().requires_grad
    assert not off_too().requires_grad
    assert off_too.__doc__ == "Its own docstring."
    assert inferred().requires_grad
    assert dd2424.is_grad_enabled()


def test_set_grad_enabled_as_a_call() -> None:
    try:
        dd2424.set_grad_enabled(False)
        assert not dd2424.is_grad_enabled()
    finally:
        dd2424.set_grad_enabled(True)


def test_modes_end_with_an_exception() -> None:
    with pytest.raises(KeyError), dd2424.no_grad():
        raise KeyError
    assert dd2424.is_grad_enabled()
    mode = dd2424.no_grad()
    with mode, mode:
        assert not dd2424.is_grad_enabled()
    assert dd2424.is_grad_enabled()


def test_a_generator_keeps_its_mode_to_itself() -> None:
    seen = []

    @dd2424.no_grad()
    def steps() -> Any:
        try:
            while True:
                seen.append((yield dd2424.is_grad_enabled()))
        except ValueError:
            yield "caught", dd2424.is_grad_enabled()
        finally:
            seen.append(dd2424.is_grad_enabled())

    running = steps()
    assert next(running) is False
    assert dd2424.is_grad_enabled()
    assert running.send("sent") is False
    assert running.throw(ValueError()) == ("caught", False)
    running.close()
    assert seen == ["sent", False]


def test_backward_works_where_nothing_records() -> None:
    x = leaf(2)
    y = (x * x).sum()
    with dd2424.no_grad():
        y.backward()
        assert not dd2424.is_grad_enabled()
    assert x.grad.tolist() == [4]


def test_detach_shares_memory_and_stops_gradients() -> None:
    x = leaf(1, 2)
    y = x * 2
    cut = y.detach()
    assert cut.data_ptr() == y.data_ptr()
    assert cut.is_leaf
    assert not cut.requires_grad
    assert cut.grad_fn is None
    (y * cut).sum().backward()
    assert x.grad.tolist() == [4, 8]  # 2 * cut
    z = x * 2
    assert z.detach_() is z
    assert not z.requires_grad
    with pytest.raises(RuntimeError, match="detach_: a view"):
        x[0].detach_()


def test_leaves() -> None:
    x = leaf(1, 2)
    constant = dd2424.ones(2)
    assert x.is_leaf
    assert constant.is_leaf
    assert (constant * 2).is_leaf
    assert not (x * 2).is_leaf
    with dd2424.no_grad():
        assert (x * 2).is_leaf
    assert x.grad_fn is None
    assert (x.requires_grad_(False)) is x
    assert not x.requires_grad
    y = x.requires_grad_() * 2
    assert y.requires_grad_() is y, "what a recorded tensor has may be asked for"
    with pytest.raises(RuntimeError, match="requires_grad: can only be changed on leaves"):
        y.requires_grad = False
    with pytest.raises(RuntimeError, match=r"only floating tensors.*int64"):
        dd2424.ones(2, dtype=dd2424.int64).requires_grad_()
