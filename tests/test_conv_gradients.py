"""Gradients of convolutions, first and second, by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import dd2424
from convolutions import Problem
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from dd2424.nn import functional as F

# fmt: off
PROBLEMS = {
    "2d": Problem(2, 2, 3, (5, 4), (3, 2), padding=1),
    "strided": Problem(1, 2, 2, (5, 6), (3, 3), stride=2, padding=1, dilation=(1, 2)),
    "1x1": Problem(2, 3, 2, (3, 2), (1, 1)),
    "groups": Problem(1, 4, 6, (4, 4), (2, 2), padding=((1, 0), (0, 1)), groups=2),
    "depthwise": Problem(1, 3, 6, (4, 5), (3, 3), stride=(1, 2), padding=1, groups=3),
    "1d": Problem(2, 2, 3, (7,), (3,), stride=2, padding=1),
    "3d": Problem(1, 2, 2, (3, 2, 3), (2, 2, 2), padding=1),
    "transposed": Problem(1, 2, 3, (3, 3), (3, 3), 2, 1, output_padding=1, transposed=True),
    "transposed, depthwise": Problem(1, 3, 3, (3, 4), (2, 3), 2, 1, groups=3, transposed=True),
}
# fmt: on


def operands(problem: Problem, rng: np.random.Generator) -> list[Tensor]:
    return [dd2424.from_numpy(a).requires_grad_() for a in problem.draw(rng, np.float64)]


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize("has_bias", [True, False])
def test_gradients(rng: np.random.Generator, name: str, check: Callable[..., bool], has_bias: bool) -> None:
    x, weight, bias = operands(PROBLEMS[name], rng)
    assert check(PROBLEMS[name].run, (x, weight, bias) if has_bias else (x, weight))


@pytest.mark.parametrize("name", ["2d", "transposed"])
def test_gradients_of_relu(rng: np.random.Generator, name: str) -> None:
    x, weight, bias = operands(PROBLEMS[name], rng)
    y = PROBLEMS[name].run(x, weight, bias)
    assert abs(y.detach().numpy()).min() > 1e-3, "no sum is so near to the corner that a difference would cross it"
    assert gradcheck(lambda *t: PROBLEMS[name].run(*t, True), (x, weight, bias))
    assert gradgradcheck(lambda *t: PROBLEMS[name].run(*t, True), (x, weight, bias))


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_what_is_asked_for(rng: np.random.Generator, wanted: tuple[bool, ...]) -> None:
    tensors = [t.requires_grad_(w) for t, w in zip(operands(PROBLEMS["2d"], rng), wanted, strict=True)]
    PROBLEMS["2d"].run(*tensors).sum().backward()
    assert [t.grad is not None for t in tensors] == list(wanted)


def test_a_stale_operand_is_an_error() -> None:
    x, weight = dd2424.ones(1, 1, 3, 3).requires_grad_(), dd2424.ones(1, 1, 2, 2).requires_grad_()
    y = F.conv2d(x, weight)
    with dd2424.no_grad():
        weight.mul_(2)
    with pytest.raises(RuntimeError, match="conv2d"):
        y.sum().backward()


def test_without_a_batch(rng: np.random.Generator) -> None:
    x, weight, bias = (dd2424.from_numpy(rng.standard_normal(s)).requires_grad_() for s in ((2, 4, 5), (3, 2, 2, 2), 3))
    y = F.conv2d(x, weight, bias)
    assert y.shape == (3, 3, 4)
    np.testing.assert_array_equal(y.detach().numpy(), F.conv2d(x[None], weight, bias)[0].detach().numpy())
    assert gradcheck(F.conv2d, (x, weight, bias))


@pytest.mark.parametrize(
    "shapes", [((0, 2, 4, 4), (3, 2, 3, 3)), ((2, 0, 4, 4), (3, 0, 3, 3)), ((2, 3, 4, 4), (0, 3, 3, 3))]
)
def test_of_nothing(shapes: tuple[tuple[int, ...], ...]) -> None:
    """No images give no result, no input channels give the bias, no filters give no channels."""
    x, weight = (dd2424.ones(*shape).requires_grad_() for shape in shapes)
    bias = dd2424.full((shapes[1][0],), 2.0).requires_grad_()
    y = F.conv2d(x, weight, bias, padding=1)
    assert y.shape == (shapes[0][0], shapes[1][0], 4, 4)
    assert (y.detach().numpy() == 2).all() or shapes[0][1] > 0
    y.sum().backward()
    assert (x.grad.shape, weight.grad.shape) == shapes
    assert not weight.grad.numpy().any()
    assert bias.grad.numpy().tolist() == [shapes[0][0] * 16] * shapes[1][0]
