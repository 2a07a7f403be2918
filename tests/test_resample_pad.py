"""Pads: every mode against NumPy's, gradients, layouts, dtypes and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd
from dd2424.nn import functional as F
from reference import resample as reference

MODES = ("constant", "reflect", "replicate", "circular")
# Rows of less and more than a vector; with and without a batch.
CASES = [
    ((2, 3, 7), (2, 1)),
    ((3, 7), (3, 0)),
    ((2, 3, 4, 37), (1, 1, 2, 1)),
    ((3, 4, 5), (-1, 2, 1, -2)),
    ((2, 20, 5, 3), (2, 2, 0, 3)),
    ((2, 3, 4, 5, 6), (1, 2, 3, 0, -1, 2)),
    ((1, 2, 70, 70), (0, 0, 3, 1)),
    ((2, 3, 4, 5), (1, 2, 1, 1, 2, 1)),  # what lies channels-last is padded along its channels
]
each_mode, each_case = pytest.mark.parametrize("mode", MODES), pytest.mark.parametrize(("shape", "pads"), CASES)


def images(rng: np.random.Generator, shape: Any, dtype: Any = np.float32) -> Any:
    return rng.standard_normal(shape).astype(dtype)


def formats(x: Any) -> list[Any]:
    """The same images in each format they may lie in."""
    last = {4: dd2424.channels_last, 5: dd2424.channels_last_3d}.get(x.ndim)
    tensors = [dd2424.from_numpy(x.copy()) for _ in range(1 if last is None else 2)]
    return [tensors[0], *(tensor.to(memory_format=last) for tensor in tensors[1:])]


@each_mode
@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values(rng: np.random.Generator, isa: str, mode: str, shape: Any, pads: Any, dtype: Any) -> None:
    x = images(rng, shape, dtype)
    value = 0.5 if mode == "constant" else None
    expected = reference.pad(x, pads, mode, 0.5)
    for tensor in formats(x):
        assert bits(F.pad(tensor, pads, mode, value).contiguous()) == bits(np.ascontiguousarray(expected))


@each_mode
@each_case
def test_gradient(rng: np.random.Generator, isa: str, mode: str, shape: Any, pads: Any) -> None:
    x = images(rng, shape)
    dy = images(rng, reference.pad(x, pads, mode).shape)
    expected = reference.pad_gradient(shape, dy, pads, mode)
    for tensor in formats(x):
        tensor.requires_grad_()
        F.pad(tensor, pads, mode).backward(dd2424.from_numpy(dy))
        assert_accurate(tensor.grad, expected, roundings=4, scale=4.0)


@each_mode
@pytest.mark.parametrize(
    ("shape", "pads"), [((2, 3), (1, 2)), ((2, 2, 3), (1, 1, 0, -1)), ((1, 2, 2, 3), (2, 0, 1, 1))]
)
def test_gradients_by_differences(rng: np.random.Generator, mode: str, shape: Any, pads: Any) -> None:
    x = dd2424.from_numpy(images(rng, shape, np.float64)).requires_grad_()
    assert autograd.gradcheck(lambda x: F.pad(x, pads, mode), (x,))
    assert autograd.gradgradcheck(lambda x: F.pad(x, pads, mode), (x,))


@each_mode
def test_same_bits_for_any_threads(rng: np.random.Generator, mode: str) -> None:
    x, dy = images(rng, (4, 16, 40, 40)), images(rng, (4, 16, 45, 43))

    def run() -> Any:
        leaves = [t.requires_grad_() for t in formats(x)]
        for leaf in leaves:
            F.pad(leaf, (1, 2, 3, 2), mode).backward(dd2424.from_numpy(dy))
        return [F.pad(leaf, (1, 2, 3, 2), mode).detach().contiguous() for leaf in leaves], [x.grad for x in leaves]

    same_for_any_threads(run)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int64", "int16", "uint8", "bool"])
@each_mode
def test_any_dtype(isa: str, dtype: str, mode: str) -> None:
    x = dd2424.arange(42.0).reshape(1, 2, 3, 7).to(getattr(dd2424, dtype))
    y = F.pad(x, (1, 2, 1, 1), mode)
    assert y.dtype == x.dtype
    expected = F.pad(x.double(), (1, 2, 1, 1), mode)
    assert y.double().tolist() == expected.tolist()


def test_bfloat16_gradient(rng: np.random.Generator, isa: str) -> None:
    x = dd2424.from_numpy(images(rng, (2, 3, 5, 40))).bfloat16().requires_grad_()
    dy = dd2424.from_numpy(images(rng, (2, 3, 7, 45))).bfloat16()
    F.pad(x, (3, 2, 1, 1), "reflect").backward(dy)
    wide = x.detach().float().requires_grad_()
    F.pad(wide, (3, 2, 1, 1), "reflect").backward(dy.float())
    assert_accurate(x.grad, wide.grad.double().numpy(), roundings=1)


def test_a_constant_pads_any_dimensions(rng: np.random.Generator) -> None:
    x = images(rng, (2, 3, 4, 5))
    pads = (1, 0, 0, 2, 3, 1, 1, 1)
    assert bits(F.pad(dd2424.from_numpy(x), pads, value=7)) == bits(reference.pad(x, pads, "constant", 7))
    assert F.pad(dd2424.tensor(3.0), ()).item() == 3
    assert F.pad(dd2424.ones(2), (1, 1), value=float("inf")).tolist() == [float("inf"), 1, 1, float("inf")]
    assert F.pad(dd2424.zeros(0, 2), (1, 1, 1, 0)).tolist() == [[0, 0, 0, 0]]


def test_a_constant_hides_what_it_stands_on() -> None:
    x = dd2424.full((1, 1, 2), float("nan"), requires_grad=True)
    F.pad(x, (-1, 1)).backward(dd2424.tensor([[[1.0, float("inf")]]]))
    assert x.grad.tolist() == [[[0, 1]]]


@each_mode
def test_odd_layouts(rng: np.random.Generator, mode: str) -> None:
    x = images(rng, (2, 3, 4, 10))
    strided = dd2424.from_numpy(x)[..., ::2]
    plain = dd2424.from_numpy(np.ascontiguousarray(x[..., ::2]))
    assert bits(F.pad(strided, (1, 1, 1, 1), mode)) == bits(F.pad(plain, (1, 1, 1, 1), mode))
    empty = F.pad(dd2424.zeros(0, 3, 4, 5, requires_grad=True), (1, 1, 1, 1), mode)
    empty.sum().backward()
    assert empty.shape == (0, 3, 6, 7)


ONES = dd2424.ones(2, 3, 4, 5)
# fmt: off
REFUSALS: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (RuntimeError, r"pad must have two numbers for each dimension, got \(1,\)", {"pad": (1,)}),
    (RuntimeError, "pad must have at most two numbers for each dimension", {"pad": (1,) * 10}),
    (RuntimeError, r"pad must not cut off more than there is, got -3 and -3 in dimension 3", {"pad": (-3, -3)}),
    (RuntimeError, "pad must not cut off more than there is", {"pad": (-6, 6)}),
    (RuntimeError, r"pad must be smaller than the dimension it reflects, got 5 and 0",
     {"pad": (5, 0, 0, 0), "mode": "reflect"}),
    (RuntimeError, "pad must not wrap around more than once, got 6 and 0", {"pad": (6, 0, 0, 0), "mode": "circular"}),
    (RuntimeError, "pad must not wrap around more than once, got -5 and 1", {"pad": (-5, 1, 0, 0), "mode": "circular"}),
    (RuntimeError, r"pad must be below 2\^40", {"pad": (2**41, 0)}),
    (RuntimeError, "value must be None in mode reflect, got 1", {"mode": "reflect", "value": 1.0}),
    (RuntimeError, r"input must not be empty but for its batch in this mode, got \(2, 0, 4, 5\)",
     {"input": ONES[:, :0], "mode": "replicate"}),
    (NotImplementedError, "mode must be constant, reflect, replicate or circular, got edge", {"mode": "edge"}),
    (NotImplementedError, r"pad must have 2, 4 or 6 numbers .* got 2 for input", {"pad": (1, 1), "mode": "reflect"}),
]
# fmt: on


@pytest.mark.parametrize(("error", "message", "changes"), REFUSALS)
def test_each_refusal(error: type[Exception], message: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"input": ONES, "pad": (1, 1, 1, 1)}
    with pytest.raises(error, match="pad: " + message):
        F.pad(**{**arguments, **changes})
