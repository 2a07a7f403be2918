"""Resampling on a GPU, real or emulated: values and gradients as the processor's, sums in a fixed order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits
from dd2424 import Tensor, cuda
from dd2424.autograd import gradcheck, gradgradcheck
from dd2424.nn import functional as F
from on_gpu import FLOATS, assert_alike, both, needs_gpu

pytestmark = needs_gpu
both_formats = pytest.mark.parametrize("channels_last", [False, True])
INTERPOLATIONS: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((2, 3, 7), 11, {"mode": "nearest"}),
    ((2, 3, 7), 4, {"mode": "linear", "align_corners": True}),
    ((2, 3, 5, 6), (9, 4), {"mode": "nearest"}),
    ((2, 3, 5, 6), (9, 4), {"mode": "nearest-exact"}),
    ((2, 4, 5, 6), (9, 13), {"mode": "bilinear"}),
    ((2, 3, 5, 6), (5, 3), {"mode": "bilinear", "align_corners": True}),
    ((2, 3, 5, 6), (7, 11), {"mode": "bicubic"}),
    ((2, 3, 9, 8), (4, 3), {"mode": "bilinear", "antialias": True}),
    ((1, 3, 9, 8), (4, 11), {"mode": "bicubic", "antialias": True}),
    ((2, 3, 5, 6), (3, 4), {"mode": "area"}),
    ((2, 2, 3, 4, 5), (5, 3, 6), {"mode": "trilinear"}),
    ((2, 2, 3, 4, 5), (5, 3, 6), {"mode": "nearest"}),
]


def in_format(x: Tensor, channels_last: bool) -> Tensor:
    if not channels_last or x.ndim < 4:
        return x
    return x.contiguous(memory_format=dd2424.channels_last if x.ndim == 4 else dd2424.channels_last_3d)


def compare(function: Any, arrays: list[Any], dtype: str, roundings: float, last: bool = False) -> None:
    results, pairs = [], [both(a, dtype) for a in arrays]
    for device in (0, 1):
        leaves = [in_format(pair[device], last).detach().requires_grad_() for pair in pairs]
        y = function(*leaves)
        weights = dd2424.linspace(-1, 2, y.numel(), dtype=dd2424.float64).reshape(y.shape).to(y.dtype).to(y.device)
        (y * weights).sum().backward()
        results.append([y, *(leaf.grad for leaf in leaves)])
    for gpu, here in zip(results[1], results[0], strict=True):
        assert_alike(gpu, here, roundings, scale=8.0)


@pytest.mark.parametrize("dtype", FLOATS)
@both_formats
@pytest.mark.parametrize(("shape", "size", "options"), INTERPOLATIONS, ids=str)
def test_interpolation(rng, shape, size, options, channels_last, dtype):
    compare(lambda x: F.interpolate(x, size, **options), [rng.normal(size=shape)], dtype, 8, channels_last)


def test_interpolation_of_bytes(rng):
    here, gpu = both(rng.integers(0, 255, (2, 3, 5, 6)), "uint8")
    assert_alike(F.interpolate(gpu, (8, 3)), F.interpolate(here, (8, 3)))


@pytest.mark.parametrize("dtype", FLOATS)
@both_formats
@pytest.mark.parametrize(("shape", "pads"), [((2, 3, 7), (2, 1)), ((2, 3, 5, 6), (1, 2, 3, 0)),
                                             ((2, 2, 3, 4, 5), (1, 1, 2, 1, 0, 2))], ids=str)  # fmt: skip
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding(rng, shape, pads, mode, channels_last, dtype):
    compare(lambda x: F.pad(x, pads, mode), [rng.normal(size=shape)], dtype, 8, channels_last)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "uint8", "bool", "float16"])
def test_padding_of_every_type(rng, dtype):
    here, gpu = both(rng.integers(0, 2, (4, 5)), dtype)
    for pads in [(1, 2), (-1, 1), (0, 0, 2, 1), (-2, -1, 1, -3)]:
        assert_alike(F.pad(gpu, pads, value=1), F.pad(here, pads, value=1))


def test_shuffles(rng):
    for channels_last in (False, True):
        compare(lambda x: F.pixel_shuffle(x, 2), [rng.normal(size=(2, 8, 3, 5))], "float32", 0, channels_last)
        compare(lambda x: F.pixel_unshuffle(x, 2), [rng.normal(size=(2, 3, 4, 6))], "float32", 0, channels_last)
    compare(lambda x: F.channel_shuffle(x, 2), [rng.normal(size=(2, 6, 3))], "float32", 0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"stride": (1, 3), "dilation": (2, 1)}], ids=str)
def test_patches(rng, options, dtype):
    image = rng.normal(size=(2, 3, 7, 9))
    compare(lambda x: F.unfold(x, (3, 2), **options), [image], dtype, 4)
    columns = F.unfold(both(image)[0], (3, 2), **options).numpy()
    compare(lambda x: F.fold(x, (7, 9), (3, 2), **options), [columns], dtype, 4)


def grid_of(rng: np.random.Generator, *shape: int) -> Any:
    return rng.uniform(-1.4, 1.4, size=shape)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample(rng, mode, padding, dtype):
    image, grid = rng.normal(size=(2, 3, 5, 6)), grid_of(rng, 2, 4, 7, 2)
    for align in (False, True):
        compare(lambda x, g, align=align: F.grid_sample(x, g, mode, padding, align), [image, grid], dtype, 64)
    if mode != "bicubic":
        image, grid = rng.normal(size=(1, 2, 3, 4, 5)), grid_of(rng, 1, 2, 3, 4, 3)
        compare(lambda x, g: F.grid_sample(x, g, mode, padding, False), [image, grid], dtype, 64)


def test_grids_that_meet_in_a_few_pixels(rng):
    """Long lists for some pixels, none for others; not a number; no places at all."""
    image = rng.normal(size=(2, 2, 4, 5))
    grid = 3 * np.sign(rng.normal(size=(2, 20, 20, 2)))
    grid[0, 0, 0] = np.nan
    for mode in ("bilinear", "bicubic"):
        compare(lambda x, mode=mode: F.grid_sample(x, both(grid)[int(x.is_cuda)], mode, "border", False), [image],
                "float32", 64)  # fmt: skip
    x = both(image)[1].requires_grad_()
    F.grid_sample(x, dd2424.zeros(2, 0, 3, 2, device="cuda"), align_corners=False).sum().backward()
    assert x.grad.abs().sum().item() == 0


def test_affine_grids(rng):
    theta = rng.normal(size=(2, 2, 3))
    compare(lambda t: F.affine_grid(t, (2, 3, 4, 5), align_corners=False), [theta], "float64", 16)


def test_gradients_of_both_orders(rng):
    x = dd2424.randn(1, 2, 4, 5, dtype=dd2424.float64, device="cuda", requires_grad=True)
    grid = both(rng.uniform(-0.9, 0.9, size=(1, 3, 2, 2)), "float64")[1].requires_grad_()
    for function, inputs in [
        (lambda x: F.interpolate(x, (7, 3), mode="bicubic") ** 2, (x,)),
        (lambda x: F.pad(x, (1, 2, 2, 1), "reflect") ** 2, (x,)),
        (lambda x: F.unfold(x * x, 2, stride=2), (x,)),
        (lambda x, g: F.grid_sample(x, g, "bicubic", align_corners=False), (x, grid)),
        (lambda x, g: F.grid_sample(x, g, "bilinear", align_corners=True), (x, grid)),
    ]:
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)


def test_bits_are_the_same_again(rng):
    image, grid = both(rng.normal(size=(2, 3, 9, 8)))[1], both(grid_of(rng, 2, 30, 30, 2))[1]
    found = []
    for _ in range(2):
        x = image.detach().requires_grad_()
        y = F.grid_sample(x, grid, align_corners=False)
        (y * y).sum().backward()
        found.append(bits([y.cpu(), x.grad.cpu()]))
    assert found[0] == found[1]


def test_refusals_are_the_processors():
    x = dd2424.ones(1, 2, 4, 4, device="cuda")
    for call, message in [
        (lambda: F.pad(x, (4, 0), "reflect"), "pad must have 2, 4 or 6 numbers|smaller than the dimension"),
        (lambda: F.interpolate(x, (0, 3)), "size must be positive"),
        (lambda: F.grid_sample(x, dd2424.zeros(1, 2, 2, 2), align_corners=False), "must be on one device"),
        (lambda: F.fold(x[0], (4, 4), 3), "fold"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            call()


CAPTURED: list[tuple[Any, tuple[int, ...]]] = [
    *[(lambda x, size=size, options=options: F.interpolate(x, size, **options), shape)
      for shape, size, options in INTERPOLATIONS],
    *[(lambda x, mode=mode: F.pad(x, (2, 1, 0, 3), mode), (2, 3, 5, 6))
      for mode in ("constant", "reflect", "replicate", "circular")],
    (lambda x: F.channel_shuffle(x, 2), (2, 6, 3)),
    (lambda x: F.pixel_shuffle(x, 2), (2, 8, 3, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "shape"), CAPTURED)
def test_a_captured_step_is_the_step(rng, function, shape):
    """Forward and backward; the lists that the kernels read belong to the graph, whoever else lets go of them."""

    def step(x: Tensor) -> tuple[Tensor, Tensor]:
        leaf = x.detach().requires_grad_()
        y = function(leaf)
        (grad,) = dd2424.autograd.grad((y * y).sum(), [leaf])
        return y.detach(), grad

    x = dd2424.tensor(rng.normal(size=shape)).float().cuda()
    step(x)
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        results = step(x)
    cuda.empty_cache()
    others = [dd2424.full((n,), -1.0, device="cuda") for n in (1, 100, 1000) for _ in range(10)]
    for _ in range(2):
        x.copy_(dd2424.tensor(rng.normal(size=shape)).float())
        g.replay()
        for replayed, eager in zip(results, step(x), strict=True):
            assert bits(replayed.cpu()) == bits(eager.cpu())
    assert all((other == -1).all() for other in others)


def test_lists_are_copied_once_and_given_back(rng):
    x = dd2424.tensor(rng.normal(size=(1, 2, 6, 7))).float().cuda()
    cuda.empty_cache()
    before = cuda.memory_allocated()
    first = F.interpolate(x, (9, 5), mode="bicubic")
    held = cuda.memory_allocated()
    second = F.interpolate(x + 0, (9, 5), mode="bicubic")
    assert cuda.memory_allocated() - held == second.nbytes
    assert bits(first.cpu()) == bits(second.cpu())
    del first, second
    cuda.empty_cache()
    assert cuda.memory_allocated() == before


def test_more_sizes_than_are_kept(rng):
    x = dd2424.tensor(rng.normal(size=(1, 1, 3))).float()
    gpu = x.cuda()
    for size in [*range(1, 300), *range(1, 300, 50)]:
        assert_alike(F.interpolate(gpu, size, mode="linear"), F.interpolate(x, size, mode="linear"), 8)
