"""Pooling agrees with PyTorch: values, positions, strides, gradients, names and defaults."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn
from dd2424.nn import functional as F

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

OPTIONS = {
    "max_pool": [(2,), (3, 2, 1), (3, 1, 0, 2), (2, 3, 1, 1, True), (3, 3, 1, 2, True)],
    "avg_pool": [(2,), (3, 2, 1), (3, 2, 1, True), (3, 3, 1, True, False), (2, 1, 1, False, False)],
    "adaptive_avg_pool": [(1,), (2,), (4,), (9,)],
    "adaptive_max_pool": [(1,), (2,), (4,), (9,)],
}
CASES = [(kind, options) for kind, all_options in OPTIONS.items() for options in all_options]
SHAPES = [(2, 3, 13), (2, 5, 7, 13), (2, 5, 6, 7, 9)]


def both(x: Any, channels_last: bool) -> tuple[Any, Any]:
    """The same values for PyTorch and for us, in the same memory format."""
    theirs = torch.from_numpy(x.copy())
    if channels_last and x.ndim > 3:
        theirs = theirs.to(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)
    ours = dd2424.from_numpy(theirs.numpy())
    assert tuple(ours.stride()) == theirs.stride()
    return theirs.requires_grad_(), ours.requires_grad_()


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_agrees(rng: np.random.Generator, kind: str, options: Any, shape: Any, channels_last: bool) -> None:
    name = f"{kind}{len(shape) - 2}d"
    x = rng.integers(-3, 4, shape).astype(np.float64)
    theirs, ours = both(x, channels_last)
    indices = {"return_indices": True} if "max" in kind else {}
    expected = getattr(torch.nn.functional, name)(theirs, *options, **indices)
    got = getattr(F, name)(ours, *options, **indices)
    if indices:
        assert np.array_equal(expected[1].numpy(), got[1].numpy())
        assert expected[1].stride() == tuple(got[1].stride())
        expected, got = expected[0], got[0]
    assert expected.stride() == tuple(got.stride())
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-14, atol=1e-14)
    expected.sum().backward()
    got.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("space", [2, 3])
def test_fractional_agrees(rng: np.random.Generator, space: int) -> None:
    x, samples = rng.standard_normal((2, 3, 9, 8, 10)[: space + 2]), rng.random((2, 3, space))
    name = f"fractional_max_pool{space}d"
    given = {"kernel_size": 2, "output_size": 4, "return_indices": True}
    u = torch.from_numpy(samples)
    expected = getattr(torch.nn.functional, name)(torch.from_numpy(x), **given, _random_samples=u)
    got = getattr(F, name)(dd2424.from_numpy(x), **given, _random_samples=dd2424.from_numpy(samples))
    for theirs, ours in zip(expected, got, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("norm", [1, 2, 3.5])
def test_lp_pool_agrees(rng: np.random.Generator, norm: float) -> None:
    theirs, ours = both(rng.uniform(0.5, 2, (2, 3, 7, 8)), True)
    expected, got = torch.nn.functional.lp_pool2d(theirs, norm, 3, 2), F.lp_pool2d(ours, norm, 3, 2)
    expected.sum().backward()
    got.sum().backward()
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12)


def test_unpooling_agrees(rng: np.random.Generator) -> None:
    theirs, ours = both(rng.standard_normal((2, 3, 7, 7)), True)
    expected = torch.nn.functional.max_unpool2d(*torch.nn.functional.max_pool2d(theirs, 2, return_indices=True), 2,
                                                output_size=(7, 7))  # fmt: skip
    got = F.max_unpool2d(*F.max_pool2d(ours, 2, return_indices=True), 2, output_size=(7, 7))
    np.testing.assert_array_equal(got.detach().numpy(), expected.detach().numpy())
    assert tuple(got.stride()) == expected.stride()


LAYERS = sorted(name for name in dir(torch.nn) if "Pool" in name and name.endswith("d"))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_their_arguments(name: str) -> None:
    def defaults(layer: Any) -> list[Any]:
        return [(p.name, p.default) for p in inspect.signature(layer).parameters.values()]

    assert defaults(getattr(nn, name)) == defaults(getattr(torch.nn, name))
    sample = {"LPPool": (2, 3), "Adaptive": (2,), "Fractional": (2, 3)}
    arguments = next((given for part, given in sample.items() if part in name), (3, 2))
    ours, theirs = getattr(nn, name)(*arguments), getattr(torch.nn, name)(*arguments)
    assert repr(ours) == repr(theirs)


def test_no_function_is_missing() -> None:
    theirs = {name for name in dir(torch.nn.functional) if "pool" in name and not name.startswith("_")}
    assert theirs <= set(dir(F))


@pytest.mark.parametrize("arguments", [
    ((1, 1, 4, 4), 0), ((1, 1, 4, 4), 2, 0), ((1, 1, 4, 4), 2, 1, 2), ((1, 1, 4, 4), 9), ((4, 4), 2),
    ((1, 0, 4, 4), 2), ((1, 1, 4, 4), (2, 2, 2)), ((1, 1, 4, 4), 2, 2, -1), ((1, 1, 4, 4), 2, 2, 0, 0),
])  # fmt: skip
def test_refuses_what_pytorch_refuses(arguments: Any) -> None:
    shape, *options = arguments
    with pytest.raises(RuntimeError):
        torch.nn.functional.max_pool2d(torch.zeros(shape), *options)
    with pytest.raises(RuntimeError, match="max_pool2d: "):
        F.max_pool2d(dd2424.zeros(shape), *options)
