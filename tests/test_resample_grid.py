"""Sampling at the places of a grid: values, gradients of both orders, borders and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd
from dd2424.nn import functional as F
from reference import resample as reference

NAMES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}
PADDINGS = ("zeros", "border", "reflection")
# Image and places; more places than a block, one pixel.
SIZES = [((2, 3, 5, 4), (3, 7)), ((1, 2, 3, 6), (9, 11)), ((1, 1, 1, 1), (2, 3)), ((1, 2, 3, 2, 4), (2, 3, 3))]
each_mode = pytest.mark.parametrize("mode", NAMES)
each_padding = pytest.mark.parametrize("padding", PADDINGS)
each_corners = pytest.mark.parametrize("align_corners", [False, True])


def data(rng: np.random.Generator, shape: Any, out: Any, dtype: Any = np.float64, reach: float = 1.6) -> Any:
    """Images, and places on them and beside them."""
    grid = rng.uniform(-reach, reach, (shape[0], *out, len(out)))
    return rng.standard_normal(shape).astype(dtype), grid.astype(dtype)


def away_from_jumps(grid: Any, shape: Any) -> Any:
    """The places moved off the lines where weights have kinks or jumps, so that differences may be taken."""
    steps = np.array([2 * n * (n - 1 or 1) * 2 for n in shape[:1:-1]])
    return (np.floor(grid * steps) + 0.5) / steps + 0.01 / steps


@each_mode
@each_padding
@each_corners
@pytest.mark.parametrize(("shape", "out"), SIZES)
def test_values(
    rng: np.random.Generator, isa: str, mode: str, padding: str, align_corners: bool, shape: Any, out: Any
) -> None:
    if mode == "cubic" and len(shape) == 5:
        return
    x, grid = data(rng, shape, out)
    y = F.grid_sample(dd2424.from_numpy(x), dd2424.from_numpy(grid), NAMES[mode], padding, align_corners)
    assert_accurate(y, reference.grid_sample(x, grid, mode, padding, align_corners), roundings=100, scale=1.0)


@each_mode
@each_padding
def test_float32_and_formats(rng: np.random.Generator, isa: str, mode: str, padding: str) -> None:
    x, grid = data(rng, (1, 3, 6, 5), (4, 20), np.float32)
    grid = away_from_jumps(grid, x.shape).astype(np.float32)
    tensor, places = dd2424.from_numpy(x), dd2424.from_numpy(grid)
    y = F.grid_sample(tensor, places, NAMES[mode], padding, align_corners=False)
    exact = reference.grid_sample(x, grid, mode, padding, False)
    assert_accurate(y, exact, roundings=100, scale=1.0)
    last = tensor.to(memory_format=dd2424.channels_last)
    assert bits(F.grid_sample(last, places, NAMES[mode], padding, align_corners=False)) == bits(y)
    half = F.grid_sample(tensor.bfloat16(), places.bfloat16(), NAMES[mode], padding, align_corners=False)
    wide = F.grid_sample(
        tensor.bfloat16().float(), places.bfloat16().float(), NAMES[mode], padding, align_corners=False
    )
    assert bits(half) == bits(wide.bfloat16())


@each_mode
@each_padding
@each_corners
@pytest.mark.parametrize(("shape", "out"), [((1, 2, 3, 4), (2, 3)), ((1, 1, 2, 3, 2), (1, 2, 2))])
def test_gradients_by_differences(
    rng: np.random.Generator, mode: str, padding: str, align_corners: bool, shape: Any, out: Any
) -> None:
    if mode == "cubic" and len(shape) == 5:
        return
    x, grid = data(rng, shape, out)
    leaves = [dd2424.from_numpy(v).requires_grad_() for v in (x, away_from_jumps(grid, shape))]

    def function(x: Any, grid: Any) -> Any:
        return F.grid_sample(x, grid, NAMES[mode], padding, align_corners)

    assert autograd.gradcheck(function, tuple(leaves))
    assert autograd.gradgradcheck(function, tuple(leaves))


@each_mode
def test_the_fused_gradient_is_the_composed_one(rng: np.random.Generator, isa: str, mode: str) -> None:
    x, grid = data(rng, (2, 9, 6, 5), (9, 11))
    dy = dd2424.from_numpy(rng.standard_normal((2, 9, 9, 11)))
    leaves = [dd2424.from_numpy(v).requires_grad_() for v in (x, grid)]
    y = F.grid_sample(*leaves, NAMES[mode], align_corners=False)
    fused = autograd.grad([y], leaves, [dy], retain_graph=True)
    composed = autograd.grad([y], leaves, [dy], create_graph=True)
    for a, b in zip(fused, composed, strict=True):
        assert_accurate(a, b.detach().numpy(), roundings=200, scale=1.0)


@each_mode
@pytest.mark.parametrize(("shape", "out"), [((2, 17, 20, 30), (40, 25)), ((1, 9, 5, 6, 7), (8, 9, 10))])
def test_same_bits_for_any_threads(rng: np.random.Generator, mode: str, shape: Any, out: Any) -> None:
    if mode == "cubic" and len(shape) == 5:
        return
    x, grid = data(rng, shape, out, np.float32)
    dy = dd2424.from_numpy(rng.standard_normal((*shape[:2], *out)).astype(np.float32))

    def run() -> Any:
        leaves = [dd2424.from_numpy(v).requires_grad_() for v in (x, grid)]
        y = F.grid_sample(*leaves, NAMES[mode], "border", align_corners=False)
        y.backward(dy)
        return y.detach(), [leaf.grad for leaf in leaves]

    same_for_any_threads(run)


@each_mode
@each_padding
def test_places_far_away(isa: str, mode: str, padding: str) -> None:
    x = dd2424.full((1, 1, 3, 4), 2.0, requires_grad=True)
    far = dd2424.tensor([1e30, -1e30, 3e9, -7.0, float("inf"), float("nan")])
    grid = dd2424.stack([far, far.flip(0)], -1).reshape(1, 1, 6, 2).requires_grad_()
    y = F.grid_sample(x, grid, NAMES[mode], padding, align_corners=False)
    y.sum().backward()
    finite = y.flatten()[2:4]
    assert finite.tolist() == ([0, 0] if padding == "zeros" else [2, 2])
    assert x.grad.shape == x.shape


def test_what_weighs_nothing_is_not_read(isa: str) -> None:
    x = dd2424.full((1, 1, 2, 2), float("nan"))
    assert F.grid_sample(x, dd2424.full((1, 1, 1, 2), 5.0), align_corners=False).item() == 0
    x[0, 0, 1, 1] = 3
    assert F.grid_sample(x, dd2424.ones(1, 1, 1, 2), align_corners=True).item() == 3


@pytest.mark.parametrize(("theta", "size"), [((2, 2, 3), (2, 3, 4, 5)), ((1, 3, 4), (1, 2, 3, 1, 4))])
@each_corners
def test_affine_grid(rng: np.random.Generator, theta: Any, size: Any, align_corners: bool) -> None:
    maps = rng.standard_normal(theta)
    ends = [1 if align_corners else 1 - 1 / n for n in size[2:]]
    axes = [np.linspace(-e, e, n) if n > 1 else np.zeros(1) for e, n in zip(ends, size[2:], strict=True)]
    places = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(size[2:])], -1)
    expected = np.einsum("nij,...j->n...i", maps, places)
    leaf = dd2424.from_numpy(maps).requires_grad_()
    assert_accurate(F.affine_grid(leaf, size, align_corners), expected, roundings=8, scale=4.0)
    assert autograd.gradcheck(lambda t: F.affine_grid(t, size, align_corners), (leaf,))


def test_the_identity_gives_the_image_back(rng: np.random.Generator) -> None:
    x = dd2424.from_numpy(rng.standard_normal((1, 2, 4, 5)))
    grid = F.affine_grid(dd2424.eye(3, dtype=dd2424.float64)[None, :2], (1, 2, 4, 5), align_corners=False)
    assert_accurate(F.grid_sample(x, grid, align_corners=False), x.numpy(), roundings=16, scale=2.0)


def test_empty(rng: np.random.Generator) -> None:
    x, grid = dd2424.ones(2, 3, 4, 5, requires_grad=True), dd2424.zeros(2, 0, 7, 2, requires_grad=True)
    y = F.grid_sample(x, grid, align_corners=False)
    y.sum().backward()
    assert y.shape == (2, 3, 0, 7)
    assert x.grad.abs().sum().item() == 0
    assert F.grid_sample(x[:, :0], dd2424.zeros(2, 6, 7, 2), align_corners=False).shape == (2, 0, 6, 7)


ONES, GRID, MAPS = dd2424.ones(2, 3, 4, 5), dd2424.zeros(2, 6, 7, 2), dd2424.zeros(2, 2, 3)
# fmt: off
REFUSALS: list[tuple[type[Exception], str, Any]] = [
    (ValueError, "grid_sample: mode must be bilinear, nearest or bicubic", lambda: F.grid_sample(ONES, GRID, "foo")),
    (ValueError, "grid_sample: padding_mode must be zeros, border or reflection, got foo",
     lambda: F.grid_sample(ONES, GRID, padding_mode="foo")),
    (RuntimeError, r"grid_sample: grid must be \(2, \*, 2\) of 4 dimensions .*, got \(1, 6, 7, 2\)",
     lambda: F.grid_sample(ONES, GRID[:1])),
    (RuntimeError, "grid_sample: grid must be", lambda: F.grid_sample(ONES, GRID[..., :1])),
    (RuntimeError, r"grid_sample: input must be \(N, C, H, W\)", lambda: F.grid_sample(ONES[0], GRID[0])),
    (RuntimeError, "grid_sample: grid must have the input's dtype", lambda: F.grid_sample(ONES, GRID.double())),
    (RuntimeError, "grid_sample: input must have images of 1 to", lambda: F.grid_sample(ONES[:, :, :0], GRID)),
    (RuntimeError, "grid_sample: input must have 4 dimensions in mode bicubic",
     lambda: F.grid_sample(ONES[None], dd2424.zeros(1, 1, 1, 1, 3), "bicubic")),
    (NotImplementedError, "grid_sample: input must have a floating", lambda: F.grid_sample(ONES.long(), GRID.long())),
    (ValueError, "affine_grid: theta must have a floating dtype", lambda: F.affine_grid(MAPS.long(), (2, 3, 4, 5))),
    (ValueError, r"affine_grid: theta must be \(N, 3, 4\)", lambda: F.affine_grid(MAPS, (2, 3, 4, 5, 6))),
    (ValueError, "affine_grid: size must be positive", lambda: F.affine_grid(MAPS, (2, 3, 0, 5))),
    (NotImplementedError, "affine_grid: size must have 4 or 5 numbers", lambda: F.affine_grid(MAPS, (2, 3, 4))),
    (RuntimeError, r"affine_grid: theta must have size\[0\] = 3 maps", lambda: F.affine_grid(MAPS, (3, 3, 4, 5))),
]
# fmt: on


@pytest.mark.parametrize(("error", "message", "call"), REFUSALS)
def test_each_refusal(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()
