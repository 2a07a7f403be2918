"""autograd.functional: Jacobians and Hessians against central differences and against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor
from dd2424.autograd import functional, gradcheck

STEP = 1e-5


def matrix_and_vector(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return dd2424.tensor(rng.standard_normal((2, 3))), dd2424.tensor(rng.standard_normal(3))


def vector_of(a: Any, b: Any) -> Any:
    return (a @ b).exp() * b.sum()


def two_of(a: Any, b: Any) -> Any:
    return (a @ b).tanh(), b * b


def number_of(a: Any, b: Any) -> Any:
    return ((a @ b) ** 3).sum() * b[0]


def cube(x: Tensor) -> Tensor:
    return x**3


def differences(function: Callable[..., Any], inputs: tuple[Tensor, ...], which: int) -> np.ndarray:
    """d function / d inputs[which] by central differences: (*output, *input)."""
    x = inputs[which]
    columns = []
    for i in range(x.numel()):
        step = dd2424.zeros(x.numel(), dtype=x.dtype)
        step[i] = STEP
        moved = [function(*inputs[:which], x + sign * step.reshape(x.shape), *inputs[which + 1 :]) for sign in (1, -1)]
        columns.append((moved[0] - moved[1]).numpy() / (2 * STEP))
    return np.stack(columns, -1).reshape(*columns[0].shape, *x.shape)


def assert_near(actual: Tensor, expected: Any) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_jacobian(rng: np.random.Generator) -> None:
    inputs = matrix_and_vector(rng)
    found = functional.jacobian(vector_of, inputs)
    both = functional.jacobian(two_of, inputs)
    for i in range(2):
        assert_near(found[i], differences(vector_of, inputs, i))
        for output in range(2):
            assert_near(both[output][i], differences(lambda *x: two_of(*x)[output], inputs, i))  # noqa: B023
    one = functional.jacobian(lambda b: vector_of(inputs[0], b), inputs[1])
    assert one.tolist() == found[1].tolist()
    assert not one.requires_grad


def test_hessian(rng: np.random.Generator) -> None:
    inputs = matrix_and_vector(rng)
    blocks = functional.hessian(number_of, inputs)
    for i in range(2):
        for j in range(2):
            gradient = lambda *x: functional.vjp(number_of, x)[1][i]  # noqa: B023
            assert_near(blocks[i][j], differences(gradient, inputs, j))
    one = functional.hessian(lambda b: number_of(inputs[0], b), inputs[1])
    np.testing.assert_allclose(one.numpy(), blocks[1][1].numpy(), rtol=1e-12)


def times(blocks: Any, vectors: tuple[Tensor, ...]) -> Any:
    """The sum of blocks times vectors, by input."""
    return sum(np.tensordot(b.numpy(), v.numpy(), v.ndim) for b, v in zip(blocks, vectors, strict=True))


def test_products_are_the_whole_matrix_times_the_vector(rng: np.random.Generator) -> None:
    inputs, v = matrix_and_vector(rng), matrix_and_vector(rng)
    u = dd2424.tensor(rng.standard_normal(2))
    rows = functional.jacobian(vector_of, inputs)
    output, product = functional.vjp(vector_of, inputs, u)
    assert output.tolist() == vector_of(*inputs).tolist()
    assert_near(product[0], np.tensordot(u.numpy(), rows[0].numpy(), 1))
    assert_near(product[1], np.tensordot(u.numpy(), rows[1].numpy(), 1))
    assert_near(functional.jvp(vector_of, inputs, v)[1], times(rows, v))
    blocks = functional.hessian(number_of, inputs)
    for function in (functional.hvp, functional.vhp):
        value, product = function(number_of, inputs, v)
        assert value.item() == number_of(*inputs).item()
        assert_near(product[0], times(blocks[0], v))
        assert_near(product[1], times(blocks[1], v))


def test_a_number_needs_no_vector() -> None:
    x = dd2424.tensor(2.0)
    assert functional.vjp(cube, x)[1].item() == 12
    assert functional.jvp(lambda x: x * dd2424.ones(2), x)[1].tolist() == [1, 1]
    assert functional.hvp(cube, x)[1].item() == 12


def test_results_can_be_differentiated(rng: np.random.Generator) -> None:
    x, v = (dd2424.tensor(rng.standard_normal(3), requires_grad=True) for _ in range(2))
    number = lambda x: cube(x).sum() * x[0]
    assert gradcheck(lambda x: functional.jacobian(cube, x, create_graph=True), x)
    assert gradcheck(lambda x: functional.hessian(number, x, create_graph=True), x)
    for function, of in [(functional.jvp, cube), (functional.vjp, cube), (functional.hvp, number)]:
        assert gradcheck(lambda x, v: function(of, x, v, create_graph=True)[1], [x, v])  # noqa: B023


def test_the_callers_tensors_are_left_alone() -> None:
    x = dd2424.ones(3, requires_grad=True)
    with dd2424.no_grad():
        matrix = functional.jacobian(lambda x: x * x, x)
    assert matrix.tolist() == (2 * np.eye(3)).tolist()
    assert x.grad is None


def test_what_does_not_depend_on_an_input() -> None:
    x, other = dd2424.ones(3), dd2424.arange(3.0)
    assert functional.jacobian(lambda x: other * 2, x).tolist() == np.zeros((3, 3)).tolist()
    assert functional.hessian(lambda x: x.sum(), x).tolist() == np.zeros((3, 3)).tolist()
    assert functional.jvp(lambda x: other * 1, x, x)[1].tolist() == [0, 0, 0]
    assert functional.jacobian(lambda x: x[:0], x).shape == (0, 3)
    with pytest.raises(RuntimeError, match=r"jacobian: output 0 must depend on the inputs"):
        functional.jacobian(lambda x: other * 2, x, strict=True)
    with pytest.raises(RuntimeError, match=r"vjp: the derivative by input 1 must depend on the inputs"):
        functional.vjp(lambda x, y: x * 2, (x, x), x, strict=True)
    with pytest.raises(RuntimeError, match=r"hvp: the derivative by input 0 must depend"):
        functional.hvp(lambda x: x.sum(), x, x, strict=True)


X = dd2424.ones(3)
REFUSALS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "inputs": (lambda: functional.jacobian(cube, 3), TypeError, "jacobian: inputs must be a tensor or a tuple"),
    "result": (lambda: functional.vjp(lambda x: 3, X), TypeError, "vjp: the result of func must be a tensor or a tup"),
    "no vector": (lambda: functional.vjp(cube, X), RuntimeError, "vjp: v must be given where the output"),
    "no direction": (lambda: functional.jvp(cube, X), RuntimeError, "jvp: v must be given where the input"),
    "shape": (lambda: functional.vjp(cube, X, dd2424.ones(2)), RuntimeError,
              r"vjp: v must have the shapes of the output, \[\(3,\)\], got \[\(2,\)\]"),
    "no number": (lambda: functional.hessian(cube, X), RuntimeError,
                  r"hessian: func must return one tensor of one element, got shapes \[\(3,\)\]"),
    "forward": (lambda: functional.jacobian(cube, X, strategy="forward-mode"), NotImplementedError,
                "jacobian: the strategy must be \"reverse-mode\", got 'forward-mode'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    call, kind, message = REFUSALS[name]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.torch
def test_as_in_pytorch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    arrays = [t.numpy() for t in (*matrix_and_vector(rng), *matrix_and_vector(rng))]

    def results(lib: Any) -> list[Any]:
        a, b, *v = (lib.tensor(array) for array in arrays)
        of = lib.autograd.functional
        return [
            of.jacobian(vector_of, (a, b)), of.jacobian(two_of, (a, b)), of.hessian(number_of, (a, b)),
            of.vjp(two_of, (a, b), two_of(*v)), of.jvp(two_of, (a, b), tuple(v)), of.hvp(number_of, (a, b), tuple(v)),
            of.vhp(number_of, (a, b), tuple(v)), of.jacobian(number_of, (a, b)), of.vjp(number_of, (a, b)),
        ]  # fmt: skip

    def compare(ours: Any, theirs: Any) -> None:
        assert isinstance(ours, tuple) == isinstance(theirs, tuple)
        if isinstance(theirs, tuple):
            for one, other in zip(ours, theirs, strict=True):
                compare(one, other)
        else:
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12, atol=1e-12, strict=True)

    for ours, theirs in zip(results(dd2424), results(torch), strict=True):
        compare(ours, theirs)
