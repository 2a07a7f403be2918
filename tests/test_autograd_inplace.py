"""Writing in place: what the tape makes of it, through views too, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda x: x,
    "row": lambda x: x[1],
    "slice": lambda x: x[:, 1:3],
    "step": lambda x: x[::2, ::2],
    "transpose": lambda x: x.T,
    "flat": lambda x: x.view(-1)[2:7],
    "diagonal": lambda x: x.diagonal(),
    "view of view": lambda x: x.T[1:][:, 0],
    "strided": lambda x: x.as_strided((2, 2), (4, 2), 1),
}
WRITES: dict[str, Callable[[Tensor, Tensor], None]] = {
    "add_": lambda v, w: v.add_(w.sum()),
    "mul_": lambda v, w: v.mul_(w.sum()),
    "copy_": lambda v, w: v.copy_(w.sum() * 2),
    "fill_": lambda v, w: v.fill_(3.0),
    "zero_": lambda v, w: v.zero_(),
    "exp_": lambda v, w: v.exp_(),
    "clamp_": lambda v, w: v.clamp_(-0.5, 0.5),
    "setitem": lambda v, w: v.__setitem__(0, w[0, 0]),
    "setitem by array": lambda v, w: v.__setitem__([0], w[0, 0]),
    "masked_fill_": lambda v, w: v.masked_fill_(v.detach() > 0, 0.1),
    "div_": lambda v, w: v.div_(2 + w[0, 0].square()),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("write", WRITES)
def test_gradients_of_writes_through_views(view: str, write: str) -> None:
    x, w = (dd2424.randn(3, 4, dtype=dd2424.float64, requires_grad=True) for _ in range(2))

    def function(x: Tensor, w: Tensor) -> Tensor:
        y = x * 1.5
        window = VIEWS[view](y)
        WRITES[write](window, w)
        return y + window.sum()

    assert gradcheck(function, (x, w))
    assert gradgradcheck(function, (x, w), atol=1e-4)


def test_a_base_with_gaps() -> None:
    """The gradient of the write is laid out in the base's strides, which span more memory than it has elements."""
    base = dd2424.zeros(200, 64)[:, ::2].detach()
    w = dd2424.ones(200, requires_grad=True)
    base[:, 0].copy_(w * 2)
    base.sum().backward()
    assert w.grad.tolist() == [2.0] * 200


def test_a_view_made_before_the_write_sees_it() -> None:
    x = dd2424.ones(4, requires_grad=True)
    y = x * 2
    early = y[1:3]
    y.mul_(5)
    assert early.tolist() == [10, 10]
    early.sum().backward()
    assert x.grad.tolist() == [0, 10, 10, 0]


def test_views_of_a_written_view() -> None:
    x = dd2424.ones(4, requires_grad=True)
    y = x * 2
    first, second = y[:2], y[1:]
    first.mul_(3)
    second.mul_(5)
    (first.sum() + y[3]).backward()
    assert x.grad.tolist() == [6, 30, 0, 10]


USES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mul": lambda weight, v: weight * v,
    "cat": lambda weight, v: 5 * dd2424.cat([weight, v])[3:],
}


@pytest.mark.parametrize("name", USES)
def test_a_stale_views_new_node_is_older_than_its_first_use(name: str) -> None:
    """A walk goes from the youngest node to the oldest: made later, the view's node would be left too early."""
    x, weight = (dd2424.full(shape, 5.0, requires_grad=True) for shape in ((2, 3), (3,)))
    y = x * 1
    view = y[0]
    y.mul_(2)
    first, second = USES[name](weight, view), view * 3
    (dview,) = dd2424.autograd.grad(first.sum() + second.sum(), [view])
    assert dview.tolist() == [8, 8, 8]


def test_a_write_into_a_tensor_without_gradient_makes_it_need_one() -> None:
    x = dd2424.ones(2, requires_grad=True)
    buffer = dd2424.zeros(3)
    buffer[1:] = x * 4
    assert buffer.requires_grad
    assert not buffer.is_leaf
    buffer.sum().backward()
    assert x.grad.tolist() == [4, 4]


def test_versions_are_shared_by_views_and_detach_but_not_by_data() -> None:
    x = dd2424.zeros(3)
    view, cut, data = x[1:], x.detach(), x.data
    x.add_(1)
    assert x._version == view._version == cut._version == 1
    assert data._version == 0
    cut.add_(1)
    assert x._version == 2
    data.add_(1)
    assert x._version == 2
    assert x.tolist() == [3, 3, 3]


STALE: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "mul": lambda y: (y * y, y),
    "exp's output": lambda y: (lambda e: (e * 1, e))(y.exp()),
    "matmul": lambda y: (y @ y, y),
    "through a view": lambda y: (y * y, y[0]),
    "through detach": lambda y: (y * y, y.detach()),
    "sigmoid's output": lambda y: (lambda s: (s * 1, s))(y.sigmoid()),
    "div": lambda y: (1 / y, y),
    "where": lambda y: (y.pow(3), y),
}


@pytest.mark.parametrize("name", STALE)
def test_a_stale_saved_value_is_an_error(name: str) -> None:
    y = dd2424.ones(2, 2, requires_grad=True) * 2
    result, written = STALE[name](y)
    with dd2424.no_grad():
        written.add_(1)
    with pytest.raises(RuntimeError, match=r"has been modified by an in-place operation: it is at version 1, expected"):
        result.sum().backward()


def test_a_write_through_data_is_not_seen() -> None:
    x = dd2424.ones(2, requires_grad=True)
    y = x * 2
    result = y * y
    y.data.add_(1)
    result.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [12, 12]  # from the value that y has now, 3: outside the promise, as in PyTorch


def test_what_saves_nothing_may_be_written() -> None:
    x = dd2424.ones(2, requires_grad=True)
    y = x * 2
    z = y + 1
    y.add_(5)
    (z + y).sum().backward()
    assert x.grad.tolist() == [4, 4]


REFUSALS: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "leaf": (lambda x: x.add_(1), "a leaf that requires a gradient must not be written in place while recording"),
    "view of a leaf": (lambda x: x[0].zero_(), "a view of a leaf that requires a gradient"),
    "setitem": (lambda x: x.__setitem__(0, 1.0), "a view of a leaf that requires a gradient"),
    "expanded": (lambda x: (x * 1)[0].expand(3, 4).add_(1), "must have one place in memory per element"),
    "overlapping": (lambda x: (x * 1).as_strided((3, 3), (1, 1)).add_(1), "must have one place in memory per element"),
    "dtype": (lambda x: dd2424.zeros(3, 4, dtype=dd2424.int64).add_(x * 1), "result|dtype|cast"),
    "shape": (lambda x: (x * 1)[0].add_(x), "shape|broadcast"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    call, message = REFUSALS[name]
    with pytest.raises(RuntimeError, match=message):
        call(dd2424.ones(3, 4, requires_grad=True))


def test_a_view_made_under_no_grad_may_not_be_written_while_recording() -> None:
    y = dd2424.ones(3, requires_grad=True) * 2
    with dd2424.no_grad():
        view = y[1:]
        view.add_(1)
    with pytest.raises(RuntimeError, match=r"a view made under no_grad\(\)"):
        view.add_(1)


def test_leaves_may_be_written_where_nothing_records() -> None:
    x = dd2424.ones(3, requires_grad=True)
    with dd2424.no_grad():
        x.sub_(0.5)
        x[0] = 9.0
    assert x.tolist() == [9, 0.5, 0.5]
    assert x.is_leaf
    assert x.requires_grad


def test_setting_data() -> None:
    x = dd2424.ones(3, requires_grad=True)
    other = dd2424.arange(4.0)
    x.data = other
    assert x.shape == (4,)
    assert np.shares_memory(x.detach().numpy(), other.numpy())
    y = x * x
    x.data = dd2424.zeros(4)
    y.sum().backward()
    assert x.grad.tolist() == [0, 2, 4, 6]  # of what x was when it was squared
    with pytest.raises(RuntimeError, match=r"data: a tensor that requires a gradient must stay floating"):
        x.data = dd2424.zeros(4, dtype=dd2424.int64)
    with pytest.raises(TypeError, match=r"data: must be set to a tensor"):
        x.data = 3


def test_a_saved_view_keeps_its_place_on_the_tape() -> None:
    x = dd2424.randn(2, 3, dtype=dd2424.float64, requires_grad=True)
    row = dd2424.zeros(2, 3, dtype=dd2424.float64)[0].requires_grad_()  # a view that is a leaf

    def written(x: Tensor) -> Tensor:
        y = x * 1
        view = y[0]
        y.mul_(x)
        return view * view * y[1]

    assert gradgradcheck(written, x)
    (drow,) = dd2424.autograd.grad(row.exp().sum() + (row * row).sum(), [row], create_graph=True)
    drow.sum().backward()
    assert row.grad.tolist() == [3, 3, 3]
