"""Views in place: a tensor that changes how it reads its memory, on the tape and beside views of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck

# Each in place, and the view that it becomes.
CHANGES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "squeeze_": (lambda x: x.squeeze_(), lambda x: x.squeeze()),
    "squeeze_(1)": (lambda x: x.squeeze_(1), lambda x: x.squeeze(1)),
    "squeeze_((0, 1))": (lambda x: x.squeeze_((0, 1)), lambda x: x.squeeze((0, 1))),
    "squeeze_(dim=)": (lambda x: x.squeeze_(dim=-2), lambda x: x.squeeze(dim=-2)),
    "unsqueeze_(0)": (lambda x: x.unsqueeze_(0), lambda x: x.unsqueeze(0)),
    "unsqueeze_(-1)": (lambda x: x.unsqueeze_(dim=-1), lambda x: x.unsqueeze(-1)),
    "transpose_": (lambda x: x.transpose_(0, -1), lambda x: x.transpose(0, -1)),
    "swapaxes_": (lambda x: x.swapaxes_(0, 1), lambda x: x.swapaxes(0, 1)),
    "swapdims_": (lambda x: x.swapdims_(1, 2), lambda x: x.swapdims(1, 2)),
    "as_strided_": (lambda x: x.as_strided_((2, 2), (1, 2), 1), lambda x: x.as_strided((2, 2), (1, 2), 1)),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("shape", [(3, 1, 2), (1, 1, 5), (2, 3, 4)], ids=str)
def test_the_tensor_becomes_the_view(name: str, shape: tuple[int, ...]) -> None:
    in_place, view = CHANGES[name]
    x = dd2424.randn(shape)
    expected = view(x.clone())
    memory = x.data_ptr() + 4 * expected.storage_offset()
    assert in_place(x) is x
    assert (x.shape, x.stride(), x.is_contiguous()) == (expected.shape, expected.stride(), expected.is_contiguous())
    assert x.data_ptr() == memory
    np.testing.assert_array_equal(x.numpy(), expected.numpy())


@pytest.mark.parametrize("name", CHANGES)
def test_gradients(name: str) -> None:
    x = dd2424.randn(3, 1, 2, dtype=dd2424.float64, requires_grad=True)

    def changed(x: Tensor) -> Tensor:
        y = x * x
        before = y * y  # what was saved is not written
        return CHANGES[name][0](y) * y + before.sum()

    assert gradcheck(changed, x)
    assert gradgradcheck(changed, x)


def test_of_a_view_that_is_written_afterwards() -> None:
    x = dd2424.randn(2, 3, dtype=dd2424.float64, requires_grad=True)

    def written(x: Tensor) -> Tensor:
        y = x * 1
        column = y[:, 1:2]
        column.t_().mul_(x[:, 2])
        return y * y * column.sum()

    assert gradcheck(written, x)
    assert gradgradcheck(written, x)


def test_of_a_base_whose_views_are_written_afterwards() -> None:
    x = dd2424.randn(2, 3, dtype=dd2424.float64, requires_grad=True)

    def written(x: Tensor) -> Tensor:
        y = x * 1
        row = y[0]
        y.t_()
        row.mul_(x[1])
        assert y.shape == (3, 2)
        return y @ y.t() * row

    assert gradcheck(written, x)
    assert gradgradcheck(written, x)


def test_t_() -> None:
    assert dd2424.ones(2, 3).t_().shape == (3, 2)
    assert dd2424.ones(3).t_().shape == (3,)
    assert dd2424.tensor(1.0).t_().shape == ()
    with pytest.raises(RuntimeError, match=r"t: input must have at most 2 dimensions, got 3"):
        dd2424.ones(1, 2, 3).t_()


def test_without_recording() -> None:
    """A leaf may change; what an operation made keeps its place on the tape."""
    w = dd2424.ones(2, 3, requires_grad=True)
    y = w * 2
    with dd2424.no_grad():
        assert w.t_().is_leaf
        y.t_()
    assert w.shape == (3, 2)
    assert y.grad_fn is not None
    (grad,) = dd2424.autograd.grad(y.sum(), [y])
    assert grad.shape == (3, 2)


@pytest.mark.parametrize("name", [n for n in CHANGES if n != "as_strided_"])
def test_leaves_refuse(name: str) -> None:
    x = dd2424.ones(1, 1, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"_: a leaf that requires a gradient must not be written in place"):
        CHANGES[name][0](x)
    with pytest.raises(RuntimeError, match=r"_: a view of a leaf that requires a gradient"):
        CHANGES[name][0](x[:])


def test_dimensions_out_of_range() -> None:
    for call in (lambda x: x.squeeze_(2), lambda x: x.unsqueeze_(4), lambda x: x.transpose_(0, 2)):
        x = dd2424.ones(2, 3)
        with pytest.raises(IndexError, match=r"dim must be from"):
            call(x)
        assert x.shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "instead"), [("resize_", "new_empty"), ("set_", ".data"), ("apply_", "numpy"), ("storage", "data_ptr")]
)
def test_what_would_change_the_memory_names_another_way(name: str, instead: str) -> None:
    with pytest.raises(NotImplementedError, match=rf"Tensor: '{name}' is not implemented; .*{instead}"):
        getattr(dd2424.ones(2), name)


@pytest.mark.torch
@pytest.mark.parametrize("name", CHANGES)
def test_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    array = np.arange(6, dtype=np.float32).reshape(3, 1, 2)
    ours, theirs = (CHANGES[name][0](lib.tensor(array)) for lib in (dd2424, torch))
    assert (tuple(ours.shape), tuple(ours.stride())) == (tuple(theirs.shape), tuple(theirs.stride()))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
