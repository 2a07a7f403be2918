"""Operations of one's own: what forward and backward are given, may return and may mark."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import dd2424
from dd2424 import Tensor
from dd2424.autograd import Function, gradcheck, gradgradcheck, once_differentiable


class Cube(Function):
    """Its derivative is written with operations."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * dy


def leaf(*values: float) -> Tensor:
    return dd2424.tensor(values, dtype=dd2424.float64, requires_grad=True)


def test_derivatives_of_every_order() -> None:
    x = leaf(1, -2)
    assert gradcheck(Cube.apply, x)
    assert gradgradcheck(Cube.apply, x)
    assert Cube.apply(x).grad_fn.name() == "CubeBackward"


def test_forward_is_not_recorded_and_what_needs_no_gradient_makes_no_node() -> None:
    modes = []

    class Look(Cube):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            modes.append((dd2424.is_grad_enabled(), ctx.needs_input_grad))
            return x * 2

    assert Look.apply(leaf(1)).requires_grad
    assert not Look.apply(dd2424.ones(1)).requires_grad
    with dd2424.no_grad():
        assert not Look.apply(leaf(1)).requires_grad
    assert modes == [(False, (True,)), (False, (False,)), (False, (True,))]


class Mixed(Function):
    """Several inputs, of which some are no tensors, and several outputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, power: int, y: Tensor, note: str = "") -> tuple[Tensor, Tensor, str]:
        ctx.power = power
        ctx.save_for_backward(x, y)
        return x**power, x * y, note

    @staticmethod
    def backward(ctx: Any, da: Tensor, db: Tensor, dnote: None) -> tuple[Any, ...]:
        x, y = ctx.saved_tensors
        dx = ctx.power * x ** (ctx.power - 1) * da + y * db
        return dx, None, x * db if ctx.needs_input_grad[2] else None, None


def test_several_inputs_and_outputs() -> None:
    x, y = leaf(2, 3), leaf(4, 5)
    a, b, note = Mixed.apply(x, 2, y, "kept")
    assert note == "kept"
    (a + b).sum().backward()
    assert x.grad.tolist() == [8, 11]
    assert y.grad.tolist() == [2, 3]
    assert gradcheck(lambda x, y: Mixed.apply(x, 3, y, "")[:2], (x, y))
    x.grad = None
    Mixed.apply(x, 2, y, "")[0].sum().backward()  # the other output's gradient is made of zeros
    assert x.grad.tolist() == [4, 6]


def test_gradients_that_nobody_made() -> None:
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx: Any, da: Tensor | None, db: Tensor | None) -> Tensor:
            seen.append((da is None, db is None))
            return db * 2 if da is None else da

    x = leaf(1)
    Two.apply(x)[1].sum().backward()
    assert seen == [(True, False)]
    assert x.grad.tolist() == [2]


def test_marks() -> None:
    class Marked(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
            index = x.argmax().double()
            ctx.mark_non_differentiable(index)
            return x * 2, index

        @staticmethod
        def backward(ctx: Any, dy: Tensor, dindex: Tensor) -> Tensor:
            return dy * 2

    y, index = Marked.apply(leaf(1, 5))
    assert y.requires_grad
    assert not index.requires_grad


class AddInPlace(Function):
    """Writes its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x.add_(1)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return dy * 1


def test_writing_in_place() -> None:
    x = leaf(1, 2)
    y = x * 2
    z = AddInPlace.apply(y)
    assert z is y
    (z * z).sum().backward()
    assert x.grad.tolist() == [12, 20]
    with pytest.raises(RuntimeError, match=r"AddInPlace: a leaf that requires a gradient"):
        AddInPlace.apply(leaf(1))
    base = leaf(1, 2, 3) * 1
    AddInPlace.apply(base[1:])
    assert base.grad_fn.name() == "CopySlices"


def test_saving_an_output_makes_no_cycle() -> None:
    class Exp(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            return dy * ctx.saved_tensors[0]

    x = leaf(0.5)
    assert gradcheck(Exp.apply, x)
    assert gradgradcheck(Exp.apply, x)
    gc.disable()
    try:
        y = Exp.apply(x)
        watched = weakref.ref(y)
        del y
        assert watched() is None
    finally:
        gc.enable()


def test_stale_and_freed_saved_tensors() -> None:
    x = leaf(1) * 1
    y = Cube.apply(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match=r"saved by Cube.*has been modified by an in-place operation"):
        y.sum().backward()
    z = Cube.apply(leaf(1))
    z.sum().backward()
    with pytest.raises(RuntimeError, match=r"backward: the graph must still be whole"):
        z.sum().backward()


def test_setup_context() -> None:
    class Split(Function):
        @staticmethod
        def forward(x: Tensor, factor: float) -> Tensor:
            return x * factor

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
            ctx.factor = inputs[1]

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
            return dy * ctx.factor, None

    assert gradcheck(lambda x: Split.apply(x, 3.0), leaf(1, 2))
    assert Split.apply(leaf(1), 3.0).grad_fn.name() == "SplitBackward"


def test_once_differentiable() -> None:
    class Once(Cube):
        @staticmethod
        @once_differentiable
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return dd2424.from_numpy(3 * x.detach().numpy() ** 2) * dy

    x = leaf(2)
    assert gradcheck(Once.apply, x)
    start = leaf(1)
    (dx,) = dd2424.autograd.grad(Once.apply(x), x, start, create_graph=True)
    assert dx.item() == 12
    with pytest.raises(RuntimeError, match=r"differentiate twice"):
        dx.sum().backward()


RETURNS: dict[str, tuple[Any, type[Exception], str]] = {
    "too few": (lambda dy: (dy,), RuntimeError, "Bad: backward must return 2 gradients, one per argument"),
    "too many": (lambda dy: (dy, dy, dy), RuntimeError, "Bad: backward must return 2 gradients"),
    "no tensor": (lambda dy: (1.0, None), TypeError, "Bad: backward must return tensors or None, got float"),
    "shape": (lambda dy: (dd2424.ones(3), None), RuntimeError, r"Bad: gradient 0 must have the shape \(2,\)"),
}


@pytest.mark.parametrize("name", RETURNS)
def test_what_backward_may_not_return(name: str) -> None:
    returned, error, message = RETURNS[name]

    class Bad(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
            return x * factor

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            return returned(dy)

    with pytest.raises(error, match=message):
        Bad.apply(leaf(1, 2), 2.0).sum().backward()


def test_exceptions_pass_through() -> None:
    class Fails(Cube):
        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            raise KeyError("mine")

    with pytest.raises(KeyError, match=r"mine"):
        Fails.apply(leaf(1)).sum().backward()
    with pytest.raises(NotImplementedError, match=r"must define forward"):
        Function.apply(leaf(1))
    assert dd2424.is_grad_enabled()


def test_a_gradient_is_cast_and_summed_to_its_argument() -> None:
    class Wide(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.double().expand(3, 2)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            return dy

    x = dd2424.ones(2, requires_grad=True)
    Wide.apply(x).sum().backward()
    assert x.grad.dtype is dd2424.float32
    assert x.grad.tolist() == [3, 3]
