"""The tape: what backward() and grad() give, to whom, in what order, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor, autograd


def leaf(*values: float, dtype: Any = dd2424.float64) -> Tensor:
    return dd2424.tensor(values, dtype=dtype, requires_grad=True)


def assert_grad(x: Tensor, *expected: float) -> None:
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert x.grad.dtype == x.dtype
    np.testing.assert_array_equal(x.grad.numpy(), np.asarray(expected).reshape(x.shape))


# Backward.


def test_backward_gives_the_gradient_of_a_product() -> None:
    x, y = leaf(1, 2, 3), leaf(4, 5, 6)
    (x * y).sum().backward()
    assert_grad(x, 4, 5, 6)
    assert_grad(y, 1, 2, 3)
    assert not x.grad.requires_grad
    assert x.grad.is_leaf


def test_backward_adds_to_what_is_there() -> None:
    x = leaf(1, 2)
    (x * 3).sum().backward()
    first = x.grad
    (x * 4).sum().backward()
    assert x.grad is first, "the gradient is added in place, so that optimizers may keep it"
    assert_grad(x, 7, 7)
    x.grad = None
    (x * 5).sum().backward()
    assert_grad(x, 5, 5)


def test_a_gradient_is_shared_with_nobody() -> None:
    x, y, start = leaf(1, 2), leaf(3, 4), dd2424.tensor([1.0, 1.0], dtype=dd2424.float64)
    (x + y).backward(start)  # the same dy for both
    x.grad.mul_(10)
    assert_grad(y, 1, 1)
    assert start.tolist() == [1, 1]
    z = leaf(1, 2)
    z.backward(start)  # a leaf as root: its gradient is what was given
    z.grad.mul_(10)
    assert start.tolist() == [1, 1]


def test_an_expanded_gradient_is_made_dense() -> None:
    x = leaf(1, 2, 3)
    x.sum().backward()
    assert x.grad.stride() == (1,)
    x.grad[0] = 5.0
    assert_grad(x, 5, 1, 1)


def test_gradient_of_a_root_with_many_elements() -> None:
    x = leaf(1, 2, 3)
    (x * x).backward(dd2424.tensor([1.0, 10.0, 100.0], dtype=dd2424.float64))
    assert_grad(x, 2, 40, 600)


def test_gradient_is_cast_to_the_roots_dtype() -> None:
    x = leaf(1, 2, dtype=dd2424.float32)
    (x * 2).backward(dd2424.tensor([1, 2]))
    assert_grad(x, 2, 4)


def test_several_roots_are_walked_once() -> None:
    x = leaf(1, 2)
    y = x * x
    autograd.backward([y.sum(), y], [None, dd2424.tensor([1.0, 2.0], dtype=dd2424.float64)])
    assert_grad(x, 4, 12)


def test_the_same_root_twice_counts_twice() -> None:
    x = leaf(3)
    y = (x * x).sum()
    autograd.backward([y, y])
    assert_grad(x, 12)


def test_inputs_restrict_where_gradients_go() -> None:
    x, w = leaf(1, 2), leaf(3, 4)
    hidden = x * w
    hidden.sum().backward(inputs=[x])
    assert_grad(x, 3, 4)
    assert w.grad is None
    hidden = x * w
    (hidden * hidden).sum().backward(inputs=hidden)  # a tensor inside the graph
    np.testing.assert_array_equal(hidden.grad.numpy(), [6, 16])
    assert w.grad is None


def test_mixed_dtypes_give_each_leaf_its_own() -> None:
    x, y = leaf(1, 2, dtype=dd2424.float32), leaf(3, 4)
    (x * y).sum().backward()
    assert_grad(x, 3, 4)
    assert_grad(y, 1, 2)


def test_broadcasting_is_undone() -> None:
    x, y = dd2424.ones(2, 1, 3, requires_grad=True), dd2424.ones(4, 1, requires_grad=True)
    (x * y).sum().backward()
    assert x.grad.shape == (2, 1, 3)
    assert x.grad.unique().tolist() == [4.0]
    assert y.grad.shape == (4, 1)
    assert y.grad.unique().tolist() == [6.0]


def test_zero_size_tensors_have_zero_size_gradients() -> None:
    x = dd2424.ones(0, 3, requires_grad=True)
    (x * 2).sum().backward()
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so(value: float) -> None:
    x = leaf(value, 2.0)
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2 * value, 4.0])


# A graph that is walked more than once.


def test_second_backward_needs_retain_graph() -> None:
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"backward: the graph must still be whole.*retain_graph=True"):
        y.backward()
    assert_grad(x, 2, 4)


def test_retain_graph_keeps_it() -> None:
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert_grad(x, 6, 12)


def test_a_graph_that_saves_nothing_may_be_walked_again() -> None:
    x = leaf(1, 2)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert_grad(x, 2, 2)


def test_two_heads_over_one_trunk() -> None:
    x = leaf(1, 2)
    trunk = x * x
    (trunk * 2).sum().backward(retain_graph=True)
    (trunk * 3).sum().backward()
    assert_grad(x, 10, 20)


def test_create_graph_gives_second_and_third_derivatives() -> None:
    x = leaf(2)
    (first,) = autograd.grad((x**4).sum(), x, create_graph=True)
    (second,) = autograd.grad(first.sum(), x, create_graph=True)
    (third,) = autograd.grad(second.sum(), x)
    assert [first.item(), second.item(), third.item()] == [32, 48, 48]
    assert first.requires_grad
    assert not third.requires_grad


def test_backward_through_a_gradient() -> None:
    x, w = leaf(1, 2), leaf(3, 4)
    (dx,) = autograd.grad((x * x * w).sum(), x, create_graph=True)
    (dx * dx).sum().backward()  # of (2 x w)^2: by x 8 x w^2, by w 8 x^2 w
    assert_grad(x, 72, 256)
    assert_grad(w, 24, 128)


def test_create_graph_of_backward_records_the_gradient() -> None:
    x = leaf(3)
    (x**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = autograd.grad(x.grad.sum(), x)
    assert second.item() == 18
    x.grad = None  # the gradient's graph holds x: as in PyTorch, the cycle is the user's to break


def test_create_graph_accumulates_out_of_place() -> None:
    x = leaf(3)
    (x * 2).sum().backward()
    before = x.grad
    (x * x).sum().backward(create_graph=True)
    assert before.item() == 2
    assert x.grad.item() == 8
    x.grad = None


# Grad.


def test_grad_touches_no_leaf() -> None:
    x, y = leaf(1, 2), leaf(3, 4)
    dx, dy = autograd.grad((x * y).sum(), (x, y))
    assert dx.tolist() == [3, 4]
    assert dy.tolist() == [1, 2]
    assert x.grad is None
    assert y.grad is None


def test_grad_of_a_tensor_inside_the_graph_and_beyond_it() -> None:
    x = leaf(1, 2)
    hidden = x * 3
    dx, dhidden = autograd.grad((hidden * hidden).sum(), [x, hidden])
    assert dhidden.tolist() == [6, 12]
    assert dx.tolist() == [18, 36]


def test_grad_of_the_output_itself_is_what_it_starts_from() -> None:
    x = leaf(1, 2)
    y = x * 2
    start = dd2424.tensor([5.0, 7.0], dtype=dd2424.float64)
    (dy,) = autograd.grad(y, y, start)
    assert dy.tolist() == [5, 7]


def test_grad_with_the_same_input_twice() -> None:
    x = leaf(2)
    first, second = autograd.grad((x * x).sum(), [x, x])
    assert first.item() == second.item() == 4


def test_grad_outputs_weigh_the_outputs() -> None:
    x = leaf(1, 2)
    weights = [dd2424.tensor([1.0, 2.0], dtype=dd2424.float64), None]
    (dx,) = autograd.grad([x * x, (x * 3).sum()], [x], weights)
    assert dx.tolist() == [5, 11]


def test_unused_inputs() -> None:
    x, unused = leaf(1), leaf(2, 3)
    with pytest.raises(RuntimeError, match=r"grad: input 1 was not used.*allow_unused=True"):
        autograd.grad((x * 2).sum(), [x, unused])
    dx, nothing = autograd.grad((x * 2).sum(), [x, unused], allow_unused=True)
    assert dx.item() == 2
    assert nothing is None
    _, zeros = autograd.grad((x * 2).sum(), [x, unused], materialize_grads=True)
    assert zeros.tolist() == [0, 0]


def test_only_what_leads_to_the_inputs_is_computed() -> None:
    x, w = dd2424.ones(8, 8, requires_grad=True), dd2424.ones(8, 8, requires_grad=True)
    y = x.exp() @ w.exp()
    total = y.sum()
    before = dd2424.kernel_count()
    autograd.grad(total, [w], retain_graph=True)
    restricted = dd2424.kernel_count() - before
    before = dd2424.kernel_count()
    autograd.grad(total, [x, w])
    assert restricted < dd2424.kernel_count() - before


GEOMETRIES = {  # rows, columns of a (4, 6) tensor; shape, strides, offset in its memory
    "beyond both ends": (slice(2, 3), slice(1, 3), (20,), (1,), 2),
    "before": (slice(2, 3), slice(0, 6), (3,), (2,), 1),
    "behind": (slice(0, 1), slice(0, 6), (6,), (1,), 18),
    "gaps": (slice(0, 4), slice(0, 2), (20,), (1,), 0),
    "overlapping": (slice(1, 2), slice(2, 5), (5, 4), (1, 2), 4),
    "empty": (slice(1, 2), slice(2, 5), (0, 4), (1, 2), 4),
    "of an empty one": (slice(1, 1), slice(2, 5), (5, 4), (1, 2), 4),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_strided_window_may_reach_beyond_its_input(name: str) -> None:
    """The gradient is that of the input's own elements: the others of its memory are constants."""
    rows, columns, shape, strides, offset = GEOMETRIES[name]
    place = np.arange(24).reshape(4, 6)  # of each element in memory
    window = np.lib.stride_tricks.as_strided(place.ravel()[offset:], shape, [8 * s for s in strides])
    is_own = np.isin(place, place[rows, columns])
    w = leaf(*range(24)).detach().reshape(4, 6).requires_grad_()
    seen = (w * 1)[rows, columns].as_strided(shape, strides, offset)
    assert seen.tolist() == window.tolist()
    dy = leaf(*range(1, window.size + 1)).detach().reshape(shape).requires_grad_()
    (dw,) = autograd.grad(seen, [w], [dy], create_graph=True)
    expected = np.zeros(24)
    np.add.at(expected, window.ravel(), dy.detach().numpy().ravel())
    assert dw.tolist() == np.where(is_own, expected.reshape(4, 6), 0).tolist()
    weights = dd2424.arange(1, 25, dtype=dd2424.float64).reshape(4, 6)
    (ddy,) = autograd.grad(dw, [dy], [weights])
    assert ddy.tolist() == np.where(is_own, weights.numpy(), 0).ravel()[window].tolist()
