"""Nodes as a user sees them, and hooks on tensors and nodes."""

from __future__ import annotations

from typing import Any

import pytest

import dd2424
from dd2424 import Tensor
from dd2424.autograd import Function


def leaf(*values: float) -> Tensor:
    return dd2424.tensor(values, dtype=dd2424.float64, requires_grad=True)


class SplitUp(Function):
    """One node of as many outputs as its input has elements."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(part * 1 for part in x.unbind())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return dd2424.stack(grads)


def test_nodes_have_pytorchs_names() -> None:
    x = dd2424.ones(2, 3, requires_grad=True)
    made = {
        "AddBackward0": x + 1, "MulBackward0": x * 2, "ReluBackward0": x.relu(), "SumBackward0": x.sum(),
        "ViewBackward0": x.view(6), "ExpandBackward0": x.expand(4, 2, 3), "SelectBackward0": x[0],
        "SliceBackward0": x[:, 1:], "NegBackward0": -x, "ExpBackward0": x.exp(), "PermuteBackward0": x.permute(1, 0),
    }  # fmt: skip
    for name, y in made.items():
        assert y.grad_fn.name() == name
    assert repr((x + 1).grad_fn) == "<AddBackward0>"
    y = x * 2
    y[0] = 0.0
    assert y.grad_fn.name() == "CopySlices"


def test_next_functions_lead_to_the_leaves() -> None:
    x, w = leaf(1), leaf(2)
    y = (x * w) + 1
    ((product, index), (nothing, _)) = (*y.grad_fn.next_functions, (None, 0))[:2]
    assert product.name() == "MulBackward0"
    assert index == 0
    assert nothing is None
    (to_x, _), (to_w, _) = product.next_functions
    assert to_x.name() == "AccumulateGrad"
    assert to_x.variable is x
    assert to_w.variable is w
    assert len({to_x, to_w, product.next_functions[0][0]}) == 2


# Hooks on tensors.


def test_a_hook_sees_and_replaces_the_gradient() -> None:
    x, seen = leaf(1, 2), []
    y = x * 3
    y.register_hook(lambda grad: seen.append(grad.tolist()))
    y.register_hook(lambda grad: grad * 10)
    y.register_hook(lambda grad: seen.append(grad.tolist()))
    x.register_hook(lambda grad: grad + 1)
    (y * 2).sum().backward()
    assert seen == [[2, 2], [20, 20]]
    assert x.grad.tolist() == [61, 61]


def test_hooks_on_a_leaf_run_once_on_the_whole_gradient() -> None:
    x, seen = leaf(1), []
    x.register_hook(lambda grad: seen.append(grad.item()))
    (x * 2 + x * 3).sum().backward()
    assert seen == [5]


def test_a_hook_on_an_inner_tensor_sees_the_sum_of_its_uses() -> None:
    x, seen = leaf(1), []
    y = x * 1
    y.register_hook(lambda grad: seen.append(grad.item()))
    (y * 2 + y * 3).sum().backward()
    assert seen == [5]


def test_hooks_also_run_for_grad() -> None:
    x = leaf(1)
    y = x * 2
    x.register_hook(lambda grad: grad * 10)
    y.register_hook(lambda grad: grad * 100)
    dx, dy = dd2424.autograd.grad((y * 3).sum(), [x, y])
    assert (dx.item(), dy.item()) == (6000, 300)


def test_a_removed_hook_is_gone() -> None:
    x, seen = leaf(1), []
    handle = x.register_hook(lambda grad: seen.append("leaf"))
    y = x * 2
    inner = y.register_hook(lambda grad: seen.append("inner"))
    handle.remove()
    inner.remove()
    handle.remove()
    y.sum().backward()
    assert seen == []


def test_a_hook_may_remove_itself_and_register_another() -> None:
    x, seen = leaf(1), []

    def once(grad: Tensor) -> None:
        seen.append("once")
        handle.remove()
        x.register_hook(lambda grad: seen.append("next"))

    handle = x.register_hook(once)
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    assert seen == ["once", "next"]


def test_a_hook_may_register_others_on_the_same_node() -> None:
    x, seen = leaf(*range(40)), []
    parts = SplitUp.apply(x)

    def hook(grad: Tensor) -> None:
        for part in parts[2:]:
            part.register_hook(seen.append)

    parts[0].register_hook(hook)
    parts[1].register_hook(lambda grad: grad * 3)
    dd2424.stack(parts).sum().backward()
    assert x.grad.tolist() == [1, 3] + [1] * 38
    assert len(seen) == 38


def test_a_hook_may_run_backward_itself() -> None:
    x, other = leaf(1), leaf(2)

    def nested(grad: Tensor) -> None:
        with dd2424.enable_grad():
            (other * other).sum().backward()

    (x * 2).register_hook(nested)
    y = x * 2
    y.register_hook(nested)
    y.sum().backward()
    assert other.grad.item() == 4
    assert x.grad.item() == 2


def test_hooks_are_recorded_with_create_graph() -> None:
    x = leaf(3)
    y = x * x
    y.register_hook(lambda grad: grad * x)
    (dx,) = dd2424.autograd.grad(y.sum(), x, create_graph=True)  # 2 x * x
    (second,) = dd2424.autograd.grad(dx.sum(), x)
    assert (dx.item(), second.item()) == (18, 12)


def test_what_a_hook_may_return() -> None:
    x = leaf(1, 2)
    y = x * 2
    handle = y.register_hook(lambda grad: grad.sum())
    with pytest.raises(RuntimeError, match=r"hook: result must have the gradient's shape and dtype \(2,\).*got \(\)"):
        y.sum().backward()
    handle.remove()
    handle = y.register_hook(lambda grad: grad.float())
    with pytest.raises(RuntimeError, match=r"hook: result must have.*got \(2,\) dd2424.float32"):
        y.sum().backward()
    handle.remove()
    y.register_hook(lambda grad: 3)
    with pytest.raises(TypeError, match="hook: must return a tensor or None"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="register_hook: the tensor must require a gradient"):
        dd2424.ones(2).register_hook(print)


def test_an_exception_in_a_hook_reaches_the_caller() -> None:
    x = leaf(1)
    y = x * 2

    def fail(grad: Tensor) -> None:
        raise KeyError("from the hook")

    handle = y.register_hook(fail)
    with pytest.raises(KeyError, match="from the hook"):
        y.sum().backward(retain_graph=True)
    assert dd2424.is_grad_enabled()
    assert x.grad is None
    handle.remove()
    y.sum().backward()
    assert x.grad.item() == 2


def test_post_accumulate_hooks_get_the_leaf() -> None:
    x, seen = leaf(1), []
    handle = x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.item())))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    handle.remove()
    (x * 2).sum().backward()
    assert seen == [(True, 2.0), (True, 4.0)]
    with pytest.raises(RuntimeError, match="register_post_accumulate_grad_hook: the tensor must be a leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_a_leaf_that_is_gone_is_not_handed_out() -> None:
    x, seen = leaf(1), []
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t))
    y = x * 2
    accumulate = y.grad_fn.next_functions[0][0]
    assert accumulate.variable is x
    del x
    others = [leaf(float(i)) for i in range(9)]  # one of them where x was
    assert accumulate.variable is None
    y.sum().backward()
    assert not seen
    assert all(other.grad is None for other in others)


def test_retain_grad_keeps_an_inner_gradient() -> None:
    x = leaf(1, 2)
    y = x * 2
    y.retain_grad()
    y.retain_grad()
    y.register_hook(lambda grad: grad * 10)
    assert y.grad is None
    (y * 3).sum().backward(retain_graph=True)
    assert y.grad.tolist() == [30, 30]
    y.sum().backward()
    assert y.grad.tolist() == [40, 40]
    with pytest.raises(RuntimeError, match="retain_grad: the tensor must require a gradient"):
        dd2424.ones(2).retain_grad()


# Hooks on nodes.


def test_node_hooks_run_around_the_node() -> None:
    x, w, seen = leaf(1), leaf(5), []
    y = x * w
    after = y.grad_fn.register_hook(lambda inputs, outputs: seen.append(("after", inputs, outputs)))
    before = y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 3,))
    y.sum().backward(retain_graph=True)
    ((kind, inputs, outputs),) = seen
    assert kind == "after"
    assert [t.item() for t in inputs] == [15, 3]
    assert [t.item() for t in outputs] == [3]
    before.remove()
    after.remove()
    y.sum().backward()
    assert len(seen) == 1
    assert (x.grad.item(), w.grad.item()) == (20, 4)


def test_a_node_hook_replaces_the_gradients_of_the_inputs() -> None:
    x = leaf(1, 2)
    y = x * 2
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 100, inputs[1]))
    y.sum().backward()
    assert x.grad.tolist() == [200, 200]
    z = x * 2
    z.grad_fn.register_hook(lambda inputs, outputs: (inputs[0].sum(), None))
    with pytest.raises(RuntimeError, match="hook: result 0 must have the shape and dtype"):
        z.sum().backward()
