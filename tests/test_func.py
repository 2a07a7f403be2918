"""Transforms of functions: derivatives that nest, calls by item, modules with other parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits
from dd2424 import Tensor, nn
from dd2424.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    stack_module_state,
    vjp,
    vmap,
)
from dd2424.nn import functional as F


def numbers(rng: np.random.Generator, *shape: int) -> Tensor:
    return dd2424.from_numpy(rng.standard_normal(shape))


def assert_close(x: Any, expected: Any) -> None:
    np.testing.assert_allclose(x.detach().numpy(), np.asarray(expected), rtol=1e-12, atol=1e-12)


def cubic(x: Tensor) -> Tensor:
    return (x**3).sum()


def test_grad_nests(rng: np.random.Generator) -> None:
    x = numbers(rng, 4)
    assert_close(grad(cubic)(x), 3 * x.numpy() ** 2)
    assert_close(grad(lambda y: grad(cubic)(y).sum())(x), 6 * x.numpy())
    assert x.grad is None
    assert not grad(cubic)(x).requires_grad


def test_an_inner_function_sees_the_outer_argument() -> None:
    """d/dx (x * d/dy (x * y^2)) = d/dx (2 x^2 y) = 4 x y, where the inner argument has nothing to do with x."""
    y = dd2424.tensor(3.0)
    assert_close(grad(lambda x: x * grad(lambda z: x * z * z)(y))(dd2424.tensor(5.0)), 60.0)


def test_grad_by_several_arguments_in_any_form(rng: np.random.Generator) -> None:
    p = {"w": numbers(rng, 3), "rest": [numbers(rng, 3)]}
    x = numbers(rng, 3)

    def f(p: Any, x: Tensor) -> tuple[Tensor, str]:
        return (p["w"] * x + 2 * p["rest"][0]).sum(), "kept"

    (by_p, by_x), aux = grad(f, argnums=(0, 1), has_aux=True)(p, x)
    assert_close(by_p["w"], x.numpy())
    assert_close(by_p["rest"][0], [2, 2, 2])
    assert_close(by_x, p["w"].numpy())
    assert aux == "kept"
    gradient, (value, _) = grad_and_value(f, has_aux=True)(p, x)
    assert_close(gradient["w"], x.numpy())
    assert_close(value, f(p, x)[0].numpy())


def test_a_recorded_argument_leaves_the_gradient_recorded() -> None:
    x = dd2424.tensor(2.0, requires_grad=True)
    grad(cubic)(x).backward()
    assert x.grad is not None
    assert x.grad.item() == 12.0
    with dd2424.no_grad():
        assert grad(cubic)(dd2424.tensor(2.0)).item() == 12.0


def test_vjp_may_be_pulled_again(rng: np.random.Generator) -> None:
    a, x, v = numbers(rng, 3, 4), numbers(rng, 4), numbers(rng, 3)
    y, pull = vjp(lambda m, t: m @ t, a, x)
    assert_close(y, a.numpy() @ x.numpy())
    for _ in range(2):
        by_a, by_x = pull(v)
        assert_close(by_a, np.outer(v.numpy(), x.numpy()))
        assert_close(by_x, v.numpy() @ a.numpy())


def test_jvp_is_the_directional_derivative(rng: np.random.Generator) -> None:
    x, t, z = numbers(rng, 4), numbers(rng, 4), numbers(rng, 4)
    y, change = jvp(lambda u, w: (u.sin(), u * w), (x, z), (t, z))
    assert_close(y[1], x.numpy() * z.numpy())
    assert_close(change[0], np.cos(x.numpy()) * t.numpy())
    assert_close(change[1], t.numpy() * z.numpy() + x.numpy() * z.numpy())
    second = jvp(lambda u: jvp(cubic, (u,), (t,))[1], (x,), (t,))[1]
    assert_close(second, (6 * x.numpy() * t.numpy() ** 2).sum())


@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_jacobians_and_hessians(rng: np.random.Generator, jacobian: Callable[..., Any]) -> None:
    x, a = numbers(rng, 3), numbers(rng, 2, 3)
    assert_close(jacobian(lambda t: a @ t**2)(x), a.numpy() * 2 * x.numpy())
    by_a, by_x = jacobian(lambda m, t: m @ t, argnums=(0, 1))(a, x)
    assert_close(by_x, a.numpy())
    assert_close(by_a, np.einsum("ij,k->ijk", np.eye(2), x.numpy()))
    assert_close(hessian(cubic)(x), np.diag(6 * x.numpy()))
    assert_close(jacobian(grad(cubic))(x), np.diag(6 * x.numpy()))


def test_gradients_of_every_sample_at_once(rng: np.random.Generator) -> None:
    layer, x, target = nn.Linear(4, 3).double(), numbers(rng, 5, 4), dd2424.tensor([0, 1, 2, 0, 1])
    parameters = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(p: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(layer, p, (x[None],)), label[None])

    found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, target)
    assert found["weight"].shape == (5, 3, 4)
    F.cross_entropy(layer(x), target).backward()
    assert layer.weight.grad is not None
    assert_close(found["weight"].mean(0), layer.weight.grad.numpy())


def test_vmap_takes_and_gives_any_dimension(rng: np.random.Generator) -> None:
    a, b = numbers(rng, 4, 3), numbers(rng, 3, 4)
    assert_close(vmap(dd2424.dot, in_dims=(0, 1))(a, b), (a.numpy() * b.numpy().T).sum(1))
    assert_close(vmap(lambda x: x * 2, in_dims=1, out_dims=1)(a), 2 * a.numpy())
    assert_close(
        vmap(vmap(lambda x, y: x * y, (None, 0)), (0, None))(a[:, 0], b[0]), np.outer(a[:, 0].numpy(), b[0].numpy())
    )
    pair = vmap(lambda d: (d["x"], d["y"].sum()), in_dims=({"x": 1, "y": 0},), out_dims=(1, 0))({"x": b, "y": a})
    assert_close(pair[0], b.numpy())
    assert_close(pair[1], a.numpy().sum(1))


def test_what_vmap_makes_of_random_numbers() -> None:
    x = dd2424.zeros(3)
    dd2424.manual_seed(0)
    same = vmap(lambda t: t + dd2424.rand(()), randomness="same")(x)
    different = vmap(lambda t: t + dd2424.rand(()), randomness="different")(x)
    assert len(set(same.tolist())) == 1
    assert len(set(different.tolist())) == 3
    state = bits(dd2424.get_rng_state())
    with pytest.raises(RuntimeError, match="randomness must be 'same' or 'different'"):
        vmap(lambda t: t + dd2424.rand(()))(x)
    assert bits(dd2424.get_rng_state()) == state


def test_a_call_with_other_parameters_leaves_the_module_alone(rng: np.random.Generator) -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.BatchNorm1d(3), nn.Linear(3, 3, bias=False)).double()
    net[2].weight = net[0].weight
    x, untouched = numbers(rng, 4, 3), ("0.weight", "1.weight", "1.running_mean", "2.weight")
    before = [bits(net.state_dict()[name]) for name in untouched]
    other = {"0.weight": numbers(rng, 3, 3), "1.running_mean": dd2424.zeros(3, dtype=dd2424.float64)}
    y = functional_call(net, other, x)
    assert [bits(net.state_dict()[name]) for name in untouched] == before
    net[0].weight = nn.Parameter(other["0.weight"])
    net[2].weight = net[0].weight
    assert bits(y) == bits(net(x))


def test_stacked_modules_are_called_side_by_side(rng: np.random.Generator) -> None:
    models = [nn.Linear(3, 2).double() for _ in range(4)]
    parameters, buffers = stack_module_state(models)
    x = numbers(rng, 5, 3)
    together = vmap(lambda p: functional_call(models[0], (p, buffers), (x,)))(parameters)
    assert_close(together, np.stack([model(x).detach().numpy() for model in models]))
    assert parameters["weight"].requires_grad


# fmt: off
REFUSALS: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (RuntimeError, "grad: func must return a tensor of one number", lambda: grad(lambda x: x)(dd2424.ones(2))),
    (RuntimeError, "grad: argnums must name arguments among the 1", lambda: grad(cubic, argnums=1)(dd2424.ones(2))),
    (RuntimeError, "grad: argument 0 must hold floating-point tensors, got float", lambda: grad(cubic)(1.0)),
    (RuntimeError, "with has_aux", lambda: grad(cubic, has_aux=True)(dd2424.ones(1))),
    (RuntimeError, "vjp: v must have the shapes", lambda: vjp(cubic, dd2424.ones(2))[1](dd2424.ones(3))),
    (RuntimeError, "jvp: primals and tangents", lambda: jvp(cubic, (dd2424.ones(2),), (dd2424.ones(3),))),
    (ValueError, "in_dims must name a dimension of a tensor, got 2", lambda: vmap(cubic, 2)(dd2424.ones(2))),
    (ValueError, "one common number of items", lambda: vmap(dd2424.add)(dd2424.ones(2), dd2424.ones(3))),
    (ValueError, "in_dims must have an entry for each", lambda: vmap(cubic, (0, 0))(dd2424.ones(2))),
    (ValueError, "func must return tensors, got int", lambda: vmap(lambda x: 1)(dd2424.ones(2))),
    (RuntimeError, "randomness must be", lambda: vmap(cubic, randomness="some")),  # type: ignore[arg-type]
    (KeyError, "no parameter or buffer named x", lambda: functional_call(nn.ReLU(), {"x": dd2424.ones(1)}, ())),
    (RuntimeError, "got none for \\['bias'\\]",
     lambda: functional_call(nn.Linear(1, 1), {"weight": dd2424.ones(1, 1)}, dd2424.ones(1, 1), strict=True)),
    (RuntimeError, "models must be of one class", lambda: stack_module_state([nn.ReLU(), nn.Tanh()])),
]
# fmt: on


@pytest.mark.parametrize(("error", "message", "call"), REFUSALS)
def test_each_refusal(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message):
        call()
