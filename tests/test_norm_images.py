"""Batch normalisation of images in both memory formats, with a residual and ReLU in the same pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd
from dd2424.nn import functional as F
from reference import norm as reference

# Whole channels in the cache, in one block and in two, tiles of images of few pixels, chunks of images, and odd tails
# of each; volumes last.
SHAPES = [(3, 5, 3, 7), (5, 70, 3, 3), (4, 18, 9, 11), (25, 17, 9, 11), (600, 3, 2, 5), (9, 67, 4, 4), (2, 3, 260, 260),
          (3, 5, 2, 3, 4)]  # fmt: skip
OPTIONS = [(False, False), (True, False), (False, True), (True, True)]
each_option = pytest.mark.parametrize(("relu", "has_residual"), OPTIONS)
both_formats = pytest.mark.parametrize("channels_last", [False, True])


def in_format(array: Any, channels_last: bool) -> Any:
    tensor = dd2424.from_numpy(array.copy())
    if not channels_last or array.ndim < 4:
        return tensor
    layout = dd2424.channels_last if array.ndim == 4 else dd2424.channels_last_3d
    return tensor.contiguous(memory_format=layout)


def data(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32, offset: float = 0.0) -> list[Any]:
    """x, weight, bias, residual."""
    x, weight, bias, residual = (rng.standard_normal(s) for s in (shape, shape[1], shape[1], shape))
    return [a.astype(dtype) for a in (x + offset, weight, bias, residual)]


def gradients(arrays: list[Any], dy: Any, channels_last: bool, relu: bool, has_residual: bool) -> list[Any]:
    """y, and the gradients of sum(y * dy) by x, weight, bias and residual."""
    leaves = [in_format(a, channels_last).requires_grad_() for a in arrays[: 4 if has_residual else 3]]
    x, weight, bias, *residual = leaves
    y = F.batch_norm(x, None, None, weight, bias, True, relu=relu, residual=residual[0] if residual else None)
    y.backward(in_format(dy, channels_last))
    return [y.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0.0, 1e4])
@both_formats
@each_option
def test_values_and_gradients(
    rng: np.random.Generator, isa: str, shape: Any, offset: float, channels_last: bool, relu: bool, has_residual: bool
) -> None:
    arrays, dy = data(rng, shape, np.float32, offset), rng.standard_normal(shape).astype(np.float32)
    found = gradients(arrays, dy, channels_last, relu, has_residual)
    exact = reference.batch_norm(*arrays[:3]) + (arrays[3] if has_residual else 0.0)
    assert_accurate(found[0], np.maximum(exact, 0) if relu else exact, roundings=24, scale=2.0)
    passed = np.where(found[0].numpy() > 0, dy, 0) if relu else dy
    expected = [*reference.batch_norm_gradients(arrays[0], passed, arrays[1]), passed]
    for gradient, of_float64 in zip(found[1:], expected, strict=False):
        assert_accurate(gradient, of_float64, roundings=32, scale=float(np.abs(of_float64).max()))


# Those of the second line have planes or rows whose passage through the ReLU is kept in bits: tiles, whole channels and
# chunks of planes; narrow and wide rows, in a chunk and in several.
@pytest.mark.parametrize("shape", [(5, 7), (4, 18, 9, 11), (9, 67, 4, 4), (300, 70),
                                   (3, 6, 8, 8), (5, 18, 16, 24), (2, 3, 128, 128), (5, 64, 3, 3), (9, 64, 9, 11),
                                   (300, 192), (9, 192, 7, 9)])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@both_formats
@pytest.mark.parametrize("training", [False, True])
def test_fused_is_the_same_as_apart(
    rng: np.random.Generator, isa: str, shape: Any, dtype: Any, channels_last: bool, training: bool
) -> None:
    arrays, dy = data(rng, shape, dtype), rng.standard_normal(shape).astype(dtype)
    arrays[0][0, 0] = arrays[3][0, 0] = 0.0
    moving = [dd2424.from_numpy(np.full(shape[1], v, dtype)) for v in (0.25, 1.5)]
    seen = []
    for fused in (False, True):
        x, weight, bias, residual = (in_format(a, channels_last).requires_grad_() for a in arrays)
        extra = {"relu": True, "residual": residual} if fused else {}
        y = F.batch_norm(x, *(m.clone() for m in moving), weight, bias, training, **extra)
        y = y if fused else F.relu(y + residual)
        y.backward(in_format(dy, channels_last))
        seen.append([bits(t) for t in (y.detach(), x.grad, weight.grad, bias.grad, residual.grad)])
    assert seen[0] == seen[1]


@pytest.mark.parametrize("shape", [(3, 2, 2, 2), (2, 3, 4), (2, 2, 2, 1, 2)])
@both_formats
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_first_and_second_gradients(
    rng: np.random.Generator, shape: Any, channels_last: bool, training: bool, relu: bool
) -> None:
    leaves = [in_format(a, channels_last).requires_grad_() for a in data(rng, shape, np.float64)]
    moving = [dd2424.full((shape[1],), v, dtype=dd2424.float64) for v in (0.25, 1.5)]

    def function(x: Any, weight: Any, bias: Any, residual: Any) -> Any:
        statistics = [None, None] if training else moving
        return F.batch_norm(x, *statistics, weight, bias, training, relu=relu, residual=residual)

    assert autograd.gradcheck(function, tuple(leaves))
    assert autograd.gradgradcheck(function, tuple(leaves))


@pytest.mark.parametrize(
    "shape", [(8, 16, 64, 64), (64, 130, 4, 4), (2, 3, 300, 300), (16, 130, 9, 9), (9, 192, 16, 8)]
)
@both_formats
def test_same_bits_for_any_threads(rng: np.random.Generator, shape: Any, channels_last: bool) -> None:
    arrays, dy = data(rng, shape), rng.standard_normal(shape).astype(np.float32)
    same_for_any_threads(lambda: gradients(arrays, dy, channels_last, True, True))
    same_for_any_threads(lambda: gradients(arrays, dy, channels_last, True, False))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@both_formats
def test_bits_of_what_has_passed_are_those_of_the_sign(
    rng: np.random.Generator, isa: str, dtype: str, channels_last: bool
) -> None:
    arrays = data(rng, (3, 64, 8, 16))
    x, weight, bias, residual = (in_format(a, channels_last).requires_grad_() for a in arrays)
    half = [t.detach().to(getattr(dd2424, dtype)).requires_grad_() for t in (x, residual)]
    with dd2424.no_grad():
        half[1][0, 0, 0, 0] = float("nan")  # passes, as in PyTorch
    y = F.batch_norm(half[0], None, None, weight, bias, True, relu=True, residual=half[1])
    dy = dd2424.ones_like(y)
    (of_residual,) = autograd.grad(y, half[1], dy, retain_graph=True)  # by y: the input's gradient is not asked for
    y.backward(dy)
    assert bits(half[1].grad) == bits(of_residual) == bits((~(y.detach() <= 0)).to(y.dtype))


@both_formats
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.slow
def test_results_past_the_caches(rng: np.random.Generator, isa: str, channels_last: bool, relu: bool) -> None:
    shape = (33, 64, 32, 32)
    arrays, dy = data(rng, shape), rng.standard_normal(shape).astype(np.float32)
    y, dx, *_, dresidual = gradients(arrays, dy, channels_last, relu, True)
    exact = reference.batch_norm(*arrays[:3]) + arrays[3]
    assert_accurate(y, np.maximum(exact, 0) if relu else exact, roundings=24, scale=2.0)
    passed = np.where(y.numpy() > 0, dy, 0) if relu else dy
    assert np.array_equal(dresidual.numpy(), passed)
    exact = reference.batch_norm_gradients(arrays[0], passed, arrays[1])[0]
    assert_accurate(dx, exact, roundings=32, scale=float(np.abs(exact).max()))


@both_formats
def test_results_lie_like_the_input(rng: np.random.Generator, channels_last: bool) -> None:
    x, _, _, residual = (in_format(a, channels_last) for a in data(rng, (2, 3, 4, 5)))
    other = residual.contiguous(memory_format=dd2424.contiguous_format)
    x.requires_grad_()
    y = F.batch_norm(x, None, None, training=True, residual=other)
    y.backward(dd2424.ones(2, 3, 4, 5))
    assert y.stride() == x.grad.stride() == x.stride()
    assert bits(y.detach()) == bits(F.batch_norm(x.detach(), None, None, training=True, residual=residual))


@both_formats
@pytest.mark.parametrize("training", [False, True])
def test_no_images(channels_last: bool, training: bool) -> None:
    x = in_format(np.zeros((0, 3, 2, 2), np.float32), channels_last).requires_grad_()
    weight, mean, var = dd2424.ones(3, requires_grad=True), dd2424.zeros(3), dd2424.ones(3)
    y = F.batch_norm(x, mean, var, weight, training=training, relu=True, residual=x.detach())
    y.sum().backward()
    assert y.shape == x.grad.shape == (0, 3, 2, 2)
    assert weight.grad.tolist() == mean.tolist() == [0, 0, 0]
    assert var.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(6, 5, 3, 7), (25, 17, 9, 11)])
def test_bfloat16_with_a_residual(rng: np.random.Generator, isa: str, shape: Any) -> None:
    x, weight, bias, residual = (dd2424.from_numpy(a) for a in data(rng, shape))
    x, residual = x.bfloat16(), residual.bfloat16().requires_grad_()
    y = F.batch_norm(x, None, None, weight, bias, True, relu=True, residual=residual)
    exact = reference.batch_norm(*(t.double().numpy() for t in (x, weight, bias))) + residual.detach().double().numpy()
    assert_accurate(y, np.maximum(exact, 0), roundings=1, scale=1e-2)
    y.sum().backward()
    assert residual.grad.dtype == dd2424.bfloat16
    np.testing.assert_array_equal(residual.grad.float().numpy(), y.detach().float().numpy() > 0)


@pytest.mark.parametrize(
    ("residual", "message"),
    [
        (dd2424.ones(2, 3, 4), r"residual must have the input's shape \(2, 3, 2, 2\), got \(2, 3, 4\)"),
        (
            dd2424.ones(2, 3, 2, 2, dtype=dd2424.float64),
            "residual must have the input's dtype .*float32, got .*float64",
        ),
    ],
)
def test_each_refusal_of_a_residual(residual: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match="batch_norm: " + message):
        F.batch_norm(dd2424.ones(2, 3, 2, 2), None, None, training=True, residual=residual)
    with pytest.raises(ValueError, match=r"input must have more than one value a channel, got \(1, 3, 1, 1\)"):
        F.batch_norm(dd2424.ones(1, 3, 1, 1), None, None, training=True)


LAYERS: dict[str, Any] = {
    "group_norm": lambda x, w, b: F.group_norm(x, 2, w, b),
    "instance_norm": lambda x, w, b: F.instance_norm(x, None, None, w, b),
    "local_response_norm": lambda x, w, b: F.local_response_norm(x, 3, alpha=0.5) * w.reshape(1, -1, 1, 1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_other_norms_in_either_format(rng: np.random.Generator, name: str) -> None:
    arrays, dy = data(rng, (3, 4, 3, 5), np.float64)[:3], rng.standard_normal((3, 4, 3, 5))
    seen = []
    for channels_last in (False, True):
        leaves = [in_format(a, channels_last).requires_grad_() for a in arrays]
        y = LAYERS[name](*leaves)
        y.backward(in_format(dy, channels_last))
        seen.append([y.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves if leaf.grad is not None)])
        assert y.stride() == leaves[0].stride()
    for plain, last in zip(*seen, strict=True):
        np.testing.assert_allclose(last, plain, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", LAYERS)
@both_formats
def test_gradients_of_other_norms(rng: np.random.Generator, name: str, channels_last: bool) -> None:
    leaves = tuple(in_format(a, channels_last).requires_grad_() for a in data(rng, (2, 4, 2, 2), np.float64)[:3])
    if name == "local_response_norm":
        leaves = leaves[:2]
    function = LAYERS[name]
    assert autograd.gradcheck(lambda *t: function(*t, *[None] * (3 - len(t))), leaves)
    assert autograd.gradgradcheck(lambda *t: function(*t, *[None] * (3 - len(t))), leaves)
