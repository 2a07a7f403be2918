"""float32 rounded to TF32 for the tensor cores of a GPU, real or emulated: where it is allowed, and there alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import Tensor, _core
from dd2424.nn import functional as F
from on_gpu import needs_gpu

pytestmark = needs_gpu

Array = np.ndarray


@pytest.fixture
def allowed() -> Iterator[None]:
    dd2424.backends.cuda.matmul.allow_tf32 = dd2424.backends.cudnn.allow_tf32 = True
    yield
    dd2424.backends.cuda.matmul.allow_tf32 = dd2424.backends.cudnn.allow_tf32 = False


def rounded(x: Array) -> Array:
    """To 10 bits of mantissa, by numbers that are no ties."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def drawn(rng: np.random.Generator, *shape: int) -> tuple[Array, Tensor]:
    x = no_ties(rng.standard_normal(shape))
    return x, dd2424.tensor(x).cuda()


def no_ties(x: Array) -> Array:
    """In float32, with a last bit set: to which side a GPU rounds ties depends on the way."""
    return (x.astype(np.float32).view(np.uint32) | np.uint32(1)).view(np.float32)


def assert_rounded(y: Tensor, a: Array, b: Array) -> None:
    left, right = rounded(a), rounded(b)
    assert_accurate(y.cpu(), left @ right, 16, np.abs(left) @ np.abs(right))


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("shape", [(72, 48, 40), (33, 70, 37), (20, 36, 520), (133, 68, 68)], ids=str)
def test_products(rng, shape, turned):
    m, n, k = shape
    (a, left), (b, right) = drawn(rng, m, k), drawn(rng, k, n)
    left, right = (x.t().contiguous().t() if yes else x for x, yes in zip((left, right), turned, strict=True))
    assert_rounded(left @ right, a, b)


@pytest.mark.usefixtures("allowed")
def test_batches_and_what_is_added(rng):
    (a, left), (b, right) = drawn(rng, 3, 40, 68), drawn(rng, 3, 68, 24)
    assert_rounded(left @ right, a, b)
    assert_rounded(left @ right.mT.contiguous().mT, a, b)
    (x, images), (w, weight), (bias, beside) = drawn(rng, 40, 68), drawn(rng, 72, 68), drawn(rng, 72)
    y = _core.linear(images, weight, beside, "relu")
    exact = np.maximum(rounded(x) @ rounded(w).T + bias, 0)
    assert_accurate(y.cpu(), exact, 16, np.abs(x) @ np.abs(w).T)
    y = _core.linear(images[:, 1:], weight[:, 1:], beside, "tanh")  # begins where no box can
    exact = np.tanh(rounded(x[:, 1:]) @ rounded(w[:, 1:]).T + bias)
    assert_accurate(y.cpu(), exact, 16, np.abs(x) @ np.abs(w).T)


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(("inputs", "outputs", "stride", "memory_format"), [
    (16, 24, 1, "channels_last"), (8, 16, 2, "channels_last"), (18, 34, 1, "contiguous_format"),
])  # fmt: skip
def test_convolutions_and_their_gradients(rng, inputs, outputs, stride, memory_format):
    layout = getattr(dd2424, memory_format)
    x, weight = no_ties(rng.standard_normal((12, inputs, 9, 8))), no_ties(rng.standard_normal((outputs, inputs, 3, 3)))
    dy = no_ties(rng.standard_normal(F.conv2d(dd2424.tensor(x), dd2424.tensor(weight), padding=1, stride=stride).shape))
    here, gpu = [], []
    for array in (x, weight, dy):
        near = dd2424.tensor(rounded(array))
        here.append(near.requires_grad_(array is not dy))
        gpu.append(dd2424.tensor(array).cuda().contiguous(memory_format=layout).requires_grad_(array is not dy))
    for a, b, slope in (here, gpu):
        y = F.conv2d(a, b, padding=1, stride=stride)
        y.backward(slope)
        (here if a is here[0] else gpu).append(y.detach())
    for i, terms in ((3, 9 * inputs), (0, 9 * outputs), (1, dy.size // outputs)):
        actual, exact = (gpu[i], here[i]) if i == 3 else (gpu[i].grad, here[i].grad)
        assert actual is not None
        assert exact is not None
        assert_accurate(actual.cpu(), exact.numpy(), 16, terms**0.5 * 4)


def test_nothing_is_rounded_unless_it_is_allowed(rng):
    (a, left), (b, right) = drawn(rng, 72, 140), drawn(rng, 140, 48)
    exact = a.astype(np.float64) @ b
    assert_accurate((left @ right).cpu(), exact, 16, np.abs(a) @ np.abs(b))
    here = dd2424.tensor(a) @ dd2424.tensor(b)
    assert dd2424.get_float32_matmul_precision() == "highest"
    dd2424.set_float32_matmul_precision("high")
    try:
        assert dd2424.get_float32_matmul_precision() == "high"
        assert dd2424.backends.cuda.matmul.allow_tf32 is True
        assert dd2424.backends.cudnn.allow_tf32 is False
        assert_rounded(left @ right, a, b)
        assert (dd2424.tensor(a) @ dd2424.tensor(b)).tolist() == here.tolist()  # the processor rounds nothing
        short = left[:3] @ right  # nor do kernels of few rows
        assert_accurate(short.cpu(), exact[:3], 16, np.abs(a[:3]) @ np.abs(b))
        wide = left.double() @ right.double()
        assert_accurate(wide.cpu(), exact, 16, np.abs(a) @ np.abs(b))
    finally:
        dd2424.set_float32_matmul_precision("highest")
    assert_accurate((left @ right).cpu(), exact, 16, np.abs(a) @ np.abs(b))
