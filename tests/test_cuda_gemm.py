"""Products of matrices on a GPU, real or emulated: every tile, cut and way of loading, against float64."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import Tensor, _core, cuda
from on_gpu import FLOATS, as_float, needs_gpu

pytestmark = needs_gpu


def drawn(rng: np.random.Generator, dtype: str, *shape: int) -> Tensor:
    return dd2424.tensor(rng.standard_normal(shape)).to(getattr(dd2424, dtype)).cuda()


def wide(x: Tensor) -> np.ndarray:
    return as_float(x).numpy().astype(np.float64)


def assert_product(c: Tensor, a: Tensor, b: Tensor, roundings: float = 8) -> None:
    left, right = wide(a), wide(b)
    scale = np.abs(left) @ np.abs(right) + 1e-30
    assert_accurate(as_float(c), left @ right, 2**16 if c.dtype == dd2424.bfloat16 else roundings, scale)


def placed(x: Tensor) -> list[Tensor]:
    """x, with its elements in other places: transposed, a row longer, one element on, every other element."""
    rows, columns = x.shape
    longer = dd2424.zeros(rows, columns + 1, dtype=x.dtype, device="cuda")[:, :columns]
    behind = dd2424.zeros(rows * columns + 1, dtype=x.dtype, device="cuda")[1:].view(rows, columns)
    apart = dd2424.zeros(rows, columns, 2, dtype=x.dtype, device="cuda")[..., 1]
    for y in (longer, behind, apart):
        y.copy_(x)
    return [x, x.t().contiguous().t(), longer, behind, apart]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(72, 48, 40), (33, 70, 37), (8, 16, 520), (80, 36, 520)], ids=str)  # 520 in chunks
def test_bits_do_not_depend_on_where_elements_stand(rng, dtype, shape):
    m, n, k = shape
    a, b = drawn(rng, dtype, m, k), drawn(rng, dtype, k, n)
    first = a @ b
    assert_product(first, a, b)
    for left in placed(a):
        for right in (b, b.t().contiguous().t()):
            assert as_float(left @ right).tolist() == as_float(first).tolist()
    for right in placed(b):
        assert as_float(a @ right).tolist() == as_float(first).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(1425, 1416, 24), (8200, 70, 20)], ids=str)
def test_many_tiles(rng, dtype, shape):
    m, n, k = shape
    a, b = drawn(rng, dtype, m, k), drawn(rng, dtype, k, n)
    assert_product(a @ b, a, b)


@pytest.mark.parametrize("dtype", FLOATS)
def test_batches_in_chunks(rng, dtype):
    """Each matrix of the batch begins elsewhere, some where no vector can."""
    a, b = drawn(rng, dtype, 2, 2, 9, 520), drawn(rng, dtype, 2, 520, 7)
    assert_product(a @ b, a, b)
    shifted = dd2424.zeros(2, 2, 9 * 520 + 3, dtype=a.dtype, device="cuda")[..., :-3].view(2, 2, 9, 520)
    shifted.copy_(a)
    assert as_float(shifted @ b).tolist() == as_float(a @ b).tolist()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("k", [40, 600])
def test_what_is_added_and_scaled(rng, dtype, k):
    c, a, b = drawn(rng, dtype, 20, 24), drawn(rng, dtype, 20, k), drawn(rng, dtype, k, 24)
    y = dd2424.addmm(c, a, b, beta=0.5, alpha=2)
    scale = 2 * np.abs(wide(a)) @ np.abs(wide(b)) + np.abs(wide(c))
    limit = 2**17 if dtype == "bfloat16" else 8
    assert_accurate(as_float(y), 0.5 * wide(c) + 2 * wide(a) @ wide(b), limit, scale)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("k", [40, 640])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_linear_with_an_activation_in_the_same_pass(rng, dtype, k, activation):
    x, weight, bias = drawn(rng, dtype, 12, k), drawn(rng, dtype, 16, k), drawn(rng, dtype, 16)
    y = _core.linear(x, weight, bias, activation)
    z = wide(x) @ wide(weight).T + wide(bias)
    exact = np.maximum(z, 0) if activation == "relu" else np.tanh(z)
    scale = np.abs(wide(x)) @ np.abs(wide(weight)).T + np.abs(wide(bias))
    assert_accurate(as_float(y), exact, 2**16 if dtype == "bfloat16" else 8, scale)


@pytest.mark.slow
@pytest.mark.skipif("emulated" not in cuda.get_device_name() if cuda.is_available() else True, reason="a real GPU")
@pytest.mark.parametrize("capability", ["75", "80"])
def test_bfloat16_on_other_gpus(capability):
    """Without tensor cores that know the type, and on those that have no products of warpgroups."""
    program = """
import dd2424
a, b = dd2424.randn(130, 600), dd2424.randn(600, 70)
for x, y in ((a[:33], b[:, :20]), (a[:, :40], b[:40])):
    x, y = x.bfloat16(), y.bfloat16()
    exact = x.double() @ y.double()
    off = ((x.cuda() @ y.cuda()).cpu().double() - exact).abs().max().item()
    assert 0 < off < 0.3, off
print(dd2424.cuda.get_device_capability())
"""
    environment = {**os.environ, "DD2424_CUDA_HOST_CAPABILITY": capability}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == f"({capability[0]}, {capability[1]})", done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "shape", [(1, 70, 131), (3, 33, 260), (16, 36, 140), (2, 36, 1028)], ids=str
)  # last: in chunks
def test_narrow_products(rng, dtype, shape):
    """Few rows, or few columns, wherever elements stand: the same bits."""
    few, rows, k = shape
    a, b = drawn(rng, dtype, few, k), drawn(rng, dtype, k, rows)
    c = a @ b
    assert_product(c, a, b)
    assert as_float((b.t() @ a.t()).t()).tolist() == as_float(c).tolist()
    for right in placed(b) + [y.t() for y in placed(b.t().contiguous())]:
        assert as_float(a @ right).tolist() == as_float(c).tolist()
    for left in placed(a):
        assert as_float(left @ b).tolist() == as_float(c).tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_batches_of_narrow_products(rng, dtype):
    a, b = drawn(rng, dtype, 3, 2, 130), drawn(rng, dtype, 3, 130, 37)
    assert_product(a @ b, a, b)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("few_are_rows", [True, False])
def test_narrow_products_are_added_and_scaled(rng, dtype, few_are_rows):
    m, n, k = (4, 40, 200) if few_are_rows else (40, 4, 200)
    x, weight, bias, c = (drawn(rng, dtype, *shape) for shape in ((m, k), (n, k), (n,), (m, n)))
    scale = np.abs(wide(x)) @ np.abs(wide(weight)).T
    limit = 2**17 if dtype == "bfloat16" else 8
    z = wide(x) @ wide(weight).T
    y = _core.linear(x, weight, bias, "relu")
    assert_accurate(as_float(y), np.maximum(z + wide(bias), 0), limit, scale + np.abs(wide(bias)))
    y = dd2424.addmm(c, x, weight.t(), beta=0.5, alpha=2)
    assert_accurate(as_float(y), 0.5 * wide(c) + 2 * z, limit, 2 * scale + np.abs(wide(c)))


@pytest.mark.slow
@pytest.mark.parametrize("transposed", [(False, False), (True, True), (False, True), (True, False)])
def test_the_largest_tiles(rng, transposed):
    """Of 128 by 128, and enough of them."""
    a, b = drawn(rng, "float32", 133, 101, 19), drawn(rng, "float32", 133, 19, 110)
    left, right = (x.mT.contiguous().mT if turned else x for x, turned in zip((a, b), transposed, strict=True))
    assert_product(left @ right, a, b)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(260, 256, 1), (600, 118, 3)], ids=str)
def test_few_steps(rng, dtype, shape):
    m, n, k = shape
    a, b, bias = drawn(rng, dtype, m, k), drawn(rng, dtype, k, n), drawn(rng, dtype, n)
    c = a @ b
    assert_product(c, a, b)
    for left, right in ((a.t().contiguous().t(), b), (a, placed(b)[2]), (placed(a)[4], b.t().contiguous().t())):
        assert as_float(left @ right).tolist() == as_float(c).tolist()
    y = _core.linear(a, b.t().contiguous(), bias, "relu")
    limit = 2**16 if dtype == "bfloat16" else 8
    exact = np.maximum(wide(a) @ wide(b) + wide(bias), 0)
    assert_accurate(as_float(y), exact, limit, np.abs(wide(a)) @ np.abs(wide(b)) + np.abs(wide(bias)))


@pytest.mark.parametrize("dtype", FLOATS)
def test_batches_of_few_steps(rng, dtype):
    a, b = drawn(rng, dtype, 2, 700, 3), drawn(rng, dtype, 2, 3, 99)
    assert_product(a @ b, a, b)
