"""Interpolation: every mode against dense matrices, gradients, layouts and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd
from dd2424.nn import functional as F
from reference import resample as reference

FIRST = {3: "", 4: "bi", 5: "tri"}  # of the linear mode's name
# Larger, smaller, one pixel; rows of less and more than a vector, channels likewise.
SIZES = [
    ((2, 3, 7), (16,)),
    ((1, 2, 70), (9,)),
    ((2, 3, 5, 6), (10, 12)),
    ((1, 2, 9, 40), (4, 70)),
    ((2, 19, 4, 3), (1, 7)),
    ((1, 1, 1, 1), (3, 2)),
    ((1, 2, 3, 4, 5), (6, 2, 9)),
    ((1, 17, 2, 3, 2), (3, 6, 4)),
]
MODES = ["nearest", "nearest-exact", "linear", "cubic", "area"]
MODES += [f"{kernel} antialias" for kernel in ("linear", "cubic", "lanczos")]
each_mode, each_size = pytest.mark.parametrize("mode", MODES), pytest.mark.parametrize(("shape", "size"), SIZES)


def formats(x: Any) -> list[Any]:
    """The same images in each format they may lie in."""
    last = {4: dd2424.channels_last, 5: dd2424.channels_last_3d}.get(x.ndim)
    tensors = [dd2424.from_numpy(x.copy()) for _ in range(1 if last is None else 2)]
    return [tensors[0], *(tensor.to(memory_format=last) for tensor in tensors[1:])]


def options(mode: str, ndim: int, align_corners: bool) -> dict[str, Any] | None:
    """The arguments of `interpolate` for a mode, or None where it is not for images of so many dimensions."""
    name, _, antialias = mode.partition(" ")
    if ndim != 4 and (antialias or name == "cubic"):
        return None
    if align_corners and name not in ("linear", "cubic"):
        return None
    full = {"linear": FIRST[ndim] + "linear", "cubic": "bicubic"}.get(name, name)
    corners = align_corners if name in ("linear", "cubic") else None
    return {"mode": full, "align_corners": corners, "antialias": bool(antialias)}


def matrices(mode: str, shape: Any, size: Any, align_corners: bool = False, scale: Any = None) -> list[Any]:
    name, _, antialias = mode.partition(" ")
    make = reference.antialiased if antialias else reference.matrix
    scales = scale or [None] * len(size)
    return [make(n, out, name, align_corners, s) for n, out, s in zip(shape[2:], size, scales, strict=True)]


@each_mode
@each_size
@pytest.mark.parametrize("align_corners", [False, True])
def test_values_and_gradients(
    rng: np.random.Generator, isa: str, mode: str, shape: Any, size: Any, align_corners: bool
) -> None:
    given = options(mode, len(shape), align_corners)
    if given is None:
        return
    maps = matrices(mode, shape, size, align_corners)
    # Weights are made in float64, whose own roundings show there, the more the further a pixel stands.
    for dtype, roundings in ((np.float32, 8), (np.float64, 200)):
        x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal((*shape[:2], *size)).astype(dtype)
        y, dx = reference.separable(x, maps), reference.separable(dy, [m.T for m in maps])
        for tensor in formats(x):
            result = F.interpolate(tensor.requires_grad_(), size=size, **given)
            assert_accurate(result, y, roundings, scale=reference.separable(np.abs(x), [np.abs(m) for m in maps]))
            result.backward(dd2424.from_numpy(dy))
            scale = reference.separable(np.abs(dy), [np.abs(m.T) for m in maps])
            assert_accurate(tensor.grad, dx, roundings, scale=scale + 1e-30)


@each_mode
def test_a_scale_says_where_pixels_stand(rng: np.random.Generator, mode: str) -> None:
    x, scale = rng.standard_normal((1, 2, 5, 6)), (2.3, 0.7)
    given, size = options(mode, 4, False), (11, 4)
    assert given is not None
    exact = reference.separable(x, matrices(mode, x.shape, size, scale=None if mode == "area" else scale))
    assert_accurate(F.interpolate(dd2424.from_numpy(x), scale_factor=scale, **given), exact, roundings=32, scale=4.0)
    again = F.interpolate(dd2424.from_numpy(x), scale_factor=scale, recompute_scale_factor=True, **given)
    assert bits(again) == bits(F.interpolate(dd2424.from_numpy(x), size=size, **given))


@each_mode
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("shape", "size"), [((1, 2, 3), (5,)), ((1, 2, 3, 4), (4, 3)), ((1, 1, 2, 2, 2), (3, 2, 1))])
def test_gradients_by_differences(
    rng: np.random.Generator, mode: str, align_corners: bool, shape: Any, size: Any
) -> None:
    given = options(mode, len(shape), align_corners)
    if given is None:
        return
    x = dd2424.from_numpy(rng.standard_normal(shape)).requires_grad_()
    assert autograd.gradcheck(lambda x: F.interpolate(x, size, **given), (x,))
    assert autograd.gradgradcheck(lambda x: F.interpolate(x, size, **given), (x,))


@each_mode
def test_same_bits_for_any_threads(rng: np.random.Generator, mode: str) -> None:
    x, dy = (rng.standard_normal((3, 17, *size)).astype(np.float32) for size in ((40, 33), (55, 64)))
    given = options(mode, 4, False)
    assert given is not None

    def run() -> Any:
        leaves = [t.requires_grad_() for t in formats(x)]
        results = [F.interpolate(leaf, (55, 64), **given) for leaf in leaves]
        for y in results:
            y.backward(dd2424.from_numpy(dy))
        return [y.detach().contiguous() for y in results], [leaf.grad.contiguous() for leaf in leaves]

    same_for_any_threads(run)


@each_mode
def test_bfloat16(rng: np.random.Generator, isa: str, mode: str) -> None:
    given = options(mode, 4, False)
    assert given is not None
    for tensor in formats(rng.standard_normal((2, 20, 5, 6)).astype(np.float32)):
        x = tensor.bfloat16().requires_grad_()
        y = F.interpolate(x, (10, 12), **given)
        assert y.dtype == dd2424.bfloat16
        maps = matrices(mode, x.shape, (10, 12))
        exact = x.detach().double().numpy()
        assert_accurate(y, reference.separable(exact, maps), roundings=1, scale=0.1)
        y.backward(dd2424.ones(y.shape, dtype=dd2424.bfloat16))
        expected = reference.separable(np.ones(tuple(y.shape)), [m.T for m in maps])
        assert_accurate(x.grad, expected, roundings=1, scale=0.1)


def test_nearest_neighbours_of_bytes(isa: str) -> None:
    x = dd2424.arange(12).reshape(1, 1, 3, 4).to(dd2424.uint8)
    y = F.interpolate(x, size=(2, 6))
    assert y.dtype == dd2424.uint8
    assert y.tolist() == [[[[0, 0, 1, 2, 2, 3], [4, 4, 5, 6, 6, 7]]]]


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_the_format_stays(rng: np.random.Generator, mode: str) -> None:
    for x in formats(rng.standard_normal((2, 3, 4, 5))):
        y = F.interpolate(x, size=(6, 7), mode=mode)
        assert y.is_contiguous() == x.is_contiguous()
        same = F.interpolate(x, size=(4, 5), mode="nearest")
        assert bits(same.contiguous()) == bits(x.contiguous())
        assert same.data_ptr() != x.data_ptr()


def test_odd_layouts(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 4, 10))
    strided, plain = dd2424.from_numpy(x)[..., ::2], dd2424.from_numpy(np.ascontiguousarray(x[..., ::2]))
    assert bits(F.interpolate(strided, 7, mode="bicubic")) == bits(F.interpolate(plain, 7, mode="bicubic"))
    assert F.interpolate(plain[:0], 7, mode="bilinear").shape == (0, 3, 7, 7)


def test_no_pixel_is_read_that_weighs_nothing(isa: str) -> None:
    x = dd2424.tensor([[[1.0, float("inf"), 2.0, float("nan")]]])
    assert F.interpolate(x, 4, mode="linear").tolist()[0][0][:3] == [1, float("inf"), 2]
    assert F.interpolate(x, 7, mode="linear", align_corners=True).tolist()[0][0][0] == 1


ONES = dd2424.ones(2, 3, 4, 5)
# fmt: off
REFUSALS: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ValueError, "size or scale_factor must be given, and not both", {"size": None}),
    (ValueError, "size or scale_factor must be given, and not both", {"scale_factor": 2.0}),
    (ValueError, r"size must have a number for each of 2 dimensions of input .*, got \(3,\)", {"size": (3,)}),
    (ValueError, "scale_factor must have a number for each", {"size": None, "scale_factor": (2.0,)}),
    (ValueError, "align_corners must be None in mode area, got False", {"mode": "area", "align_corners": False}),
    (ValueError, "antialias must go with", {"antialias": True}),
    (ValueError, "antialias must go with", {"antialias": True, "mode": "linear", "input": ONES[0], "size": 3}),
    (ValueError, "mode lanczos must go with antialias=True", {"mode": "lanczos"}),
    (ValueError, "recompute_scale_factor must not be set with an explicit size", {"recompute_scale_factor": True}),
    (RuntimeError, r"size must be positive and below 2\^31, got \(0, 3\)", {"size": (0, 3)}),
    (RuntimeError, "size must be positive", {"size": None, "scale_factor": 0.1}),
    (RuntimeError, "input must not be empty but for its batch", {"input": ONES[:, :, :0]}),
    (NotImplementedError, "mode must be nearest, .* got foo", {"mode": "foo"}),
    (NotImplementedError, "input must have another number of dimensions for mode trilinear", {"mode": "trilinear"}),
    (NotImplementedError, "input must have 3 to 5 dimensions", {"input": ONES[0, 0], "size": 3}),
    (NotImplementedError, "input must have a floating dtype in mode area", {"input": ONES.long(), "mode": "area"}),
]
# fmt: on


@pytest.mark.parametrize(("error", "message", "changes"), REFUSALS)
def test_each_refusal(error: type[Exception], message: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"input": ONES, "size": (3, 3)}
    with pytest.raises(error, match="interpolate: " + message):
        F.interpolate(**{**arguments, **changes})
