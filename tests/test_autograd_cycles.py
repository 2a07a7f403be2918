"""A graph that is dropped is freed, whatever was saved, written in place or hooked: nothing may keep itself alive."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

import dd2424
from dd2424 import Tensor
from dd2424.autograd import Function

ROWS = dd2424.tensor([1, 2])


class SavesWhatItWrites(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        y.mul_(x)
        ctx.mark_dirty(y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        return dy, dy


class KeepsItsOutput(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x * 2
        ctx.y = y
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        x, y = ctx.saved_tensors
        return dy * x * y


def hooked(y: Tensor) -> None:
    y.register_hook(lambda dy: dy * y)
    y.grad_fn.register_hook(lambda _, grads: (grads[0] * y,))
    y.grad_fn.register_prehook(lambda _: None if y.ndim else ())


def leaf_with_a_graph_in_its_gradient(w: Tensor) -> None:
    x = w.detach().clone().requires_grad_()
    (x**3).sum().backward(create_graph=True)
    KeepsItsOutput.apply(x).sum().backward(create_graph=True)


def retained_with_a_graph(w: Tensor) -> None:
    y = w * 2
    y.retain_grad()
    (y * y).sum().backward(create_graph=True, inputs=[y])


def written_after_it_stopped_wanting_a_gradient(w: Tensor) -> None:
    x = w.detach().clone().requires_grad_()
    y = x * w
    x.requires_grad_(False)
    x.copy_(y)


def views_and_bases(x: Tensor, w: Tensor) -> None:
    view = x[:4]
    view.copy_((x * w)[:4])
    x.mul_(view.sum())
    view.add_(x[:4] * w[:4])


# x holds constants, w wants a gradient; what is made of them is never walked
USES: dict[str, Callable[[Tensor, Tensor], object]] = {
    "copy of a product": lambda x, w: x.copy_(x * w),
    "copy of a chain": lambda x, w: x.copy_((x * w).exp() + 1),
    "product with itself": lambda x, w: x.mul_(w).mul_(x),
    "quotient": lambda x, w: x.mul_(w).div_(x).sub_(x * w),
    "functions": lambda x, w: x.copy_((x * w).exp()).exp_().sqrt_().clamp_(0, 1).relu_(),
    "reductions": lambda x, w: x.copy_((x * w).prod() * x.norm() * x.std() * x.logsumexp(0)),
    "softmax": lambda x, w: x.copy_((x * w).softmax(0)).copy_(x.sort()[0]),
    "matrix product": lambda x, w: x.copy_(x @ (w * dd2424.ones(8, 8))),
    "layer norm": lambda x, w: x.copy_(dd2424.nn.functional.layer_norm(x, (8,), w, w)),
    "view": lambda x, w: x[:3].mul_(x[1:4] * w[:3]),
    "views and bases": views_and_bases,
    "rows": lambda x, w: x.index_put_((ROWS,), x[:2] * w[:2]).index_add_(0, ROWS, (x * w)[:2]),
    "scatter": lambda x, w: x.scatter_(0, ROWS, x * w).scatter_add_(0, ROWS, x * w),
    "mask": lambda x, w: x.masked_fill_(x > 0, (x * w).sum()).masked_scatter_(x > 0, x * w),
    "parts": lambda x, w: x.copy_(dd2424.cat((x * w).split(4)) * x).copy_(dd2424.stack(x.unbind()) * x),
    "Function in place": lambda x, w: SavesWhatItWrites.apply(w, x),
    "Function on a view": lambda x, w: SavesWhatItWrites.apply(w[:3], x[:3]),
    "Function with its output": lambda _, w: KeepsItsOutput.apply(w),
    "hooks": lambda x, w: hooked(x * w),
    "leaf": lambda _, w: leaf_with_a_graph_in_its_gradient(w),
    "retained": lambda _, w: retained_with_a_graph(w),
    "no longer a leaf": lambda _, w: written_after_it_stopped_wanting_a_gradient(w),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_nothing_is_left(use: Callable[[Tensor, Tensor], object]) -> None:
    w = dd2424.ones(8, requires_grad=True)

    def in_use_after() -> int:
        use(dd2424.ones(8), w)
        gc.collect()
        return dd2424.memory_stats()["in_use_bytes"]

    in_use_after()  # what is made once stays
    assert in_use_after() == in_use_after()


def test_a_gradient_goes_with_its_tensor() -> None:
    """A leaf that nobody can ask for its gradient gets none, and those who still can do."""
    x = dd2424.ones(2, requires_grad=True)
    y = (dd2424.ones(2, requires_grad=True) * x).sum()
    y.backward()
    assert x.grad.tolist() == [1, 1]
