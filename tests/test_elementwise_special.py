"""Rare special functions: Bessel functions, the normal distribution, and the names of torch.special."""

from __future__ import annotations

import math

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import special
from dd2424.autograd import gradcheck, gradgradcheck
from reference import elementwise as reference

POINTS = np.concatenate([np.linspace(-40, 40, 332), [0.01, 29.999, 30.0, 30.001, -100.0, 300.0, 709.0]])
BESSEL = [("i0", 0), ("i1", 1)]


@pytest.mark.parametrize(("name", "order"), BESSEL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bessel_functions(name: str, order: int, dtype: type) -> None:
    x = POINTS.astype(dtype)
    scaled = reference.scaled_bessel(x, order)
    assert_accurate(getattr(special, f"{name}e")(dd2424.tensor(x)), scaled, roundings=24)
    small = x[np.abs(x) < 80] if dtype is np.float32 else x
    exact = reference.scaled_bessel(small, order) * np.exp(np.abs(small.astype(np.longdouble)))
    assert_accurate(getattr(special, name)(dd2424.tensor(small)), exact, roundings=24)


@pytest.mark.parametrize("name", ["i0", "i0e", "i1", "i1e"])
def test_slopes(name: str) -> None:
    function = getattr(special, name)
    x = dd2424.tensor([[-33.0, -2.0, -0.3], [0.4, 3.0, 30.5]], dtype=dd2424.float64, requires_grad=True)
    rise = function(x.detach().abs()) if name in ("i0", "i1") else 1.0  # gradients of a common size
    assert gradcheck(lambda x: function(x) / rise, x)
    assert gradgradcheck(lambda x: function(x) / rise, x)
    at_zero = dd2424.zeros(1, requires_grad=True)
    function(at_zero).backward()
    assert at_zero.grad.item() == (0.5 if "1" in name else 0)


def test_edges() -> None:
    x = dd2424.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 713.0], dtype=dd2424.float64)
    assert special.i0(x).tolist()[:4] == [1, 1, math.inf, math.inf]
    assert special.i1(x).tolist()[:4] == [0, 0, math.inf, -math.inf]
    assert special.i0e(x).tolist()[:4] == [1, 1, 0, 0]
    for function in (special.i0, special.i1, special.i0e, special.i1e):
        assert math.isnan(function(x)[4].item())
        assert math.isfinite(function(x)[5].item())  # e^713 is not
        assert function(x[:0]).shape == (0,)
    assert special.i0(dd2424.tensor([[1]])).dtype == dd2424.float32
    assert special.i0(dd2424.ones((), dtype=dd2424.bfloat16)).dtype == dd2424.bfloat16


def test_methods() -> None:
    x = dd2424.tensor([0.5, -2.0])
    assert x.i0().tolist() == special.i0(x).tolist() == dd2424.i0(x).tolist()
    expected = special.i0(x).tolist()
    assert x.i0_().tolist() == expected


def test_ndtr(rng: np.random.Generator) -> None:
    x = rng.uniform(-5, 5, (3, 17))
    exact = reference.erfc(-x * np.sqrt(0.5)) / 2
    assert_accurate(special.ndtr(dd2424.tensor(x)), exact, roundings=60)  # the argument's rounding counts for 25 times
    assert gradcheck(special.ndtr, dd2424.tensor(x[:1], requires_grad=True))


@pytest.mark.torch
def test_names_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for name in special.__all__:
        x = [0.25, 0.75]
        arguments = {"logsumexp": (0,), "softmax": (0,), "log_softmax": (0,), "multigammaln": (1,)}.get(name, ())
        if name in ("polygamma", "xlogy"):
            ours, theirs = (
                getattr(lib.special, name)(*((1, lib.tensor(x)) if name == "polygamma" else [lib.tensor(x)] * 2))
                for lib in (dd2424, torch)
            )
        else:
            ours, theirs = (getattr(lib.special, name)(lib.tensor(x), *arguments) for lib in (dd2424, torch))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5)
