"""Hooks around forward and backward: order, what they may replace, removal."""

from __future__ import annotations

from typing import Any

import pytest

import dd2424
from dd2424 import Tensor, nn


class Sum(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        return (x if y is None else x + y) * scale


def ones(requires_grad: bool = False) -> Tensor:
    return dd2424.ones(2, requires_grad=requires_grad)


def test_forward_hooks_see_and_replace() -> None:
    net, seen = Sum(), []
    net.register_forward_pre_hook(lambda module, args: seen.append(("before", module is net, len(args))))
    net.register_forward_hook(lambda module, args, output: seen.append(("after", args[0].tolist(), output.tolist())))
    assert net(ones()).tolist() == [1, 1]
    assert seen == [("before", True, 1), ("after", [1, 1], [1, 1])]
    net.register_forward_pre_hook(lambda module, args: args[0] * 3)
    net.register_forward_hook(lambda module, args, output: output + 1)
    assert net(ones()).tolist() == [4, 4]


def test_order_prepending_and_removal() -> None:
    net, seen = Sum(), []
    first = net.register_forward_hook(lambda *_: seen.append(1))
    net.register_forward_hook(lambda *_: seen.append(2))
    net.register_forward_hook(lambda *_: seen.append(0), prepend=True)
    net(ones())
    assert seen == [0, 1, 2]
    first.remove()
    first.remove()
    net(ones())
    assert seen == [0, 1, 2, 0, 2]
    with net.register_forward_hook(lambda *_: seen.append(9)):
        net(ones())
    net(ones())
    assert seen[5:] == [0, 2, 9, 0, 2]


def test_keyword_arguments() -> None:
    net, seen = Sum(), []
    net.register_forward_pre_hook(lambda module, args, kwargs: (args, {"scale": kwargs["scale"] * 2}), with_kwargs=True)
    net.register_forward_hook(lambda module, args, kwargs, output: seen.append(kwargs), with_kwargs=True)
    assert net(ones(), scale=2.0).tolist() == [4, 4]
    assert seen == [{"scale": 4.0}]


def test_hooks_that_always_run() -> None:
    net, seen = Sum(), []
    net.register_forward_hook(lambda *_: seen.append("only after success"))
    net.register_forward_hook(lambda module, args, output: seen.append(output), always_call=True)
    with pytest.raises(TypeError):
        net(ones(), scale="x")
    assert seen == [None]


def test_backward_hooks_see_both_gradients() -> None:
    net, seen = nn.Linear(2, 1, bias=False), []
    with dd2424.no_grad():
        net.weight.copy_(dd2424.tensor([[2.0, 3.0]]))
    net.register_full_backward_pre_hook(lambda module, grad_output: seen.append(grad_output[0].tolist()))
    net.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(grad_input[0].tolist()))
    x = dd2424.ones(1, 2, requires_grad=True)
    (net(x) * 5).sum().backward()
    assert seen == [[[5]], [[10, 15]]]
    assert x.grad.tolist() == [[10, 15]]
    assert net.weight.grad.tolist() == [[5, 5]]


def test_backward_hooks_replace_gradients() -> None:
    net = Sum()
    net.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 2,))
    net.register_full_backward_hook(lambda module, grad_input, grad_output: (grad_input[0] * 10, None))
    x, y = ones(True), ones()
    net(x, y).sum().backward()
    assert x.grad.tolist() == [20, 20]


def test_backward_hooks_without_gradient_of_the_input() -> None:
    net, seen = nn.Linear(2, 1), []
    net.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append((grad_input, len(grad_output))))
    net(dd2424.ones(1, 2)).sum().backward()
    assert seen == [((None,), 1)]
    assert net.weight.grad is not None


def test_hooks_in_a_network() -> None:
    net, shapes = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), {}

    def remember(module: nn.Module, _: Any, output: Tensor) -> None:
        shapes[type(module).__name__] = tuple(output.shape)

    handles = [module.register_forward_hook(remember) for module in net]
    net(dd2424.ones(5, 3))
    assert shapes == {"Linear": (5, 2), "ReLU": (5, 4)}
    for handle in handles:
        handle.remove()
    shapes.clear()
    net(dd2424.ones(5, 3))
    assert shapes == {}
