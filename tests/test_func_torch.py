"""Transforms of functions beside PyTorch's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*torch:DeprecationWarning")]


def energy(w: Any, x: Any) -> Any:
    return (w @ x).tanh().pow(2).sum()


def wave(w: Any, x: Any) -> Any:
    return (w @ x).sin()


# fmt: off
USES: list[tuple[str, Callable[[Any, Any, Any], Any]]] = [
    ("grad", lambda f, w, x: f.grad(energy)(w, x)),
    ("argnums", lambda f, w, x: f.grad(energy, argnums=(0, 1))(w, x)[1]),
    ("nested", lambda f, w, x: f.grad(lambda t: f.grad(energy, 1)(w, t).sum())(x)),
    ("value", lambda f, w, x: f.grad_and_value(energy)(w, x)[1]),
    ("hessian", lambda f, w, x: f.hessian(energy, 1)(w, x)),
    ("jacrev", lambda f, w, x: f.jacrev(wave, 1)(w, x)), ("jacfwd", lambda f, w, x: f.jacfwd(wave)(w, x)),
    ("jvp", lambda f, w, x: f.jvp(wave, (w, x), (w, x))[1]), ("vjp", lambda f, w, x: f.vjp(wave, w, x)[1](x)[0]),
    ("vmap", lambda f, w, x: f.vmap(f.grad(energy), in_dims=(None, 0))(w, w)),
    ("in columns", lambda f, w, x: f.vmap(wave, in_dims=(None, 1), out_dims=1)(w, w)),
]
# fmt: on


@pytest.mark.parametrize(("name", "use"), USES)
def test_same_values(rng: np.random.Generator, name: str, use: Callable[[Any, Any, Any], Any]) -> None:
    w, x = rng.standard_normal((4, 4)), rng.standard_normal(4)
    ours, theirs = (use(lib.func, lib.from_numpy(w), lib.from_numpy(x)).numpy() for lib in (dd2424, torch))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["grad", "grad_and_value", "vjp", "functional_call", "stack_module_state", "vmap"])
def test_same_arguments(name: str) -> None:
    ours, theirs = (
        [(p.name, p.kind) for p in inspect.signature(getattr(lib.func, name)).parameters.values()]
        for lib in (dd2424, torch)
    )
    assert ours == theirs
