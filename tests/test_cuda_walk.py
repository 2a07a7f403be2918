"""Elementwise kernels and copies of a GPU, real or emulated, in every layout: packs, their tails, tiles, numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor
from on_gpu import FLOATS, INTEGERS, assert_alike, both, needs_gpu

pytestmark = needs_gpu
TYPES = [*FLOATS, *INTEGERS, "bool"]
# What packs read together, what they cannot (odd lines, places between them), broadcast lines, and numbers.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "whole": lambda x: x,
    "tail": lambda x: x.flatten()[:4111],
    "shifted": lambda x: x.flatten()[3:4096],
    "columns": lambda x: x[:, 32:96],
    "odd columns": lambda x: x[:, 5:80],
    "every other": lambda x: x[:, ::2],
    "rows": lambda x: x[::3],
    "transposed": lambda x: x.t(),
    "backwards": lambda x: x.flip(1)[:, :64],
    "row": lambda x: x[:1].expand(*x.shape),
    "column": lambda x: x[:, :1].expand(*x.shape),
    "blocks": lambda x: x.reshape(6, 8, 16, 8)[:, :, ::2].permute(1, 0, 3, 2),
    "channels": lambda x: x.reshape(2, 16, 24, 8).permute(0, 3, 1, 2),
}
all_layouts = pytest.mark.parametrize("layout", list(LAYOUTS))
OTHERS = ["whole", "columns", "shifted"]


def made(rng: np.random.Generator, dtype: str) -> tuple[Tensor, Tensor]:
    x = rng.normal(size=(48, 128)) * 4 if dtype in FLOATS else rng.integers(0, 2 if dtype == "bool" else 9, (48, 128))
    return both(x, dtype)


@all_layouts
@pytest.mark.parametrize("dtype", TYPES)
def test_copies(rng, layout, dtype):
    here, gpu = (LAYOUTS[layout](x) for x in made(rng, dtype))
    assert_alike(gpu.contiguous(), here.contiguous())
    for x in (gpu, here):
        y = dd2424.zeros(*x.shape, 3, dtype=x.dtype, device=x.device)
        y[..., 1] = x
        assert y[..., 1].tolist() == here.tolist()
        assert not y[..., ::2].any()


@all_layouts
@pytest.mark.parametrize("dtype", FLOATS)
def test_operations(rng, layout, dtype):
    (a, x), (b, y) = (tuple(LAYOUTS[layout](t) for t in made(rng, dtype)) for _ in range(2))
    for f in (
        lambda a, b: -a,
        lambda a, b: a * b + a,
        lambda a, b: a.clone().mul_(b).sub_(2.5),
        lambda a, b: 3 - a * 2,
        lambda a, b: dd2424.maximum(a, b.contiguous()),
        lambda a, b: a + b.flatten()[0],
        lambda a, b: dd2424.where(a > b, a, b),
        lambda a, b: (a < 0) | (b >= 1),
        lambda a, b: dd2424.where((a > 0)[:1], a, 0.5),
    ):
        assert_alike(f(x, y), f(a, b))
    assert_alike(x.sin(), a.sin(), 8, scale=1)
    assert_alike(x.abs() ** 1.5, a.abs() ** 1.5, 8, scale=1)


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
@pytest.mark.parametrize("layout", ["tail", "shifted", "columns", "row", "transposed"])
def test_operations_on_integers(rng, layout, dtype):
    (a, x), (b, y) = (tuple(LAYOUTS[layout](t) for t in made(rng, dtype)) for _ in range(2))
    for f in (lambda a, b: a | b, lambda a, b: a & b, lambda a, b: a == b, lambda a, b: dd2424.where(a != b, a, b)):
        assert_alike(f(x, y), f(a, b))
    if dtype != "bool":
        for f in (lambda a, b: a * b - 1, lambda a, b: a // (b + 1), lambda a, b: a % 3, lambda a, b: b**2):
            assert_alike(f(x, y), f(a, b))  # lanes beyond a tail divide nothing by 0


@pytest.mark.parametrize("n", [1, 4, 5, 4095])
def test_a_zero_divisor_is_told(n):
    x = dd2424.arange(n, dtype=dd2424.int32).cuda()
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        (x // x).tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_small_powers_are_products(rng, dtype):
    here, gpu = both(np.concatenate([rng.normal(size=1000) * 9, [0.0, -0.0, np.inf, -np.inf, np.nan]]), dtype)
    for power in (2, 3):
        assert_alike(gpu**power, here**power, 4)
        assert (gpu ** dd2424.full_like(gpu, power)).tolist()[:1000] == (gpu**power).tolist()[:1000]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8", "float64"])
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 64, 64), (2, 65, 130), (1, 17, 200), (2, 144, 24), (2, 15, 80)])
def test_transposes(rng, shape, dtype):
    here, gpu = both(rng.integers(0, 200, shape), dtype)
    assert_alike(gpu.transpose(1, 2).contiguous(), here.transpose(1, 2).contiguous())
    assert_alike(gpu.permute(2, 0, 1).contiguous(), here.permute(2, 0, 1).contiguous())
    assert_alike(gpu[:, 1:, 3:].transpose(1, 2).contiguous(), here[:, 1:, 3:].transpose(1, 2).contiguous())
    into = [dd2424.zeros(shape[0], shape[2] + 4, shape[1] + 4, dtype=x.dtype, device=x.device) for x in (here, gpu)]
    for y, x in zip(into, (here, gpu), strict=True):
        y[:, 4:, :-4] = x.transpose(1, 2)
    assert_alike(into[1], into[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(2, 16, 4, 8), (2, 24, 7, 7), (1, 3, 9, 16), (2, 40, 9, 5)])
def test_formats_of_images(rng, shape, dtype):
    here, gpu = both(rng.normal(size=shape), dtype)
    last = [x.contiguous(memory_format=dd2424.channels_last) for x in (here, gpu)]
    assert_alike(last[1], last[0])
    assert_alike(last[1].contiguous(), here)


@pytest.mark.parametrize("to", [*TYPES, "float16"])
@pytest.mark.parametrize("layout", ["tail", "shifted", "columns", "row", "column", "transposed"])
def test_conversions(rng, layout, to):
    for dtype in ("float32", "bfloat16", "int64", "bool"):
        here, gpu = (LAYOUTS[layout](x) for x in made(rng, dtype))
        if to == "uint8":
            here, gpu = here.abs() if dtype != "bool" else here, gpu.abs() if dtype != "bool" else gpu
        assert gpu.to(getattr(dd2424, to)).tolist() == here.to(getattr(dd2424, to)).tolist()


@pytest.mark.parametrize("dtype", TYPES)
def test_fills(rng, dtype):
    pair = made(rng, dtype)
    for x in pair:
        x[3:5] = 1
        x[:, 16:48] = 0
        x[::2, 5:70:3] = 1
        x.flatten()[7:1000] = 0
        x.t()[:9] = 1
    assert_alike(pair[1], pair[0])
