"""Convolutions on a GPU, real or emulated: all passes against float64, in either format, and the processor's words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from convolutions import Array, Problem, in_format
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from dd2424.nn import functional as F
from on_gpu import FLOATS, as_float, assert_alike, needs_gpu
from test_conv_refusals import REFUSED, REFUSED_TRANSPOSED

pytestmark = needs_gpu

# fmt: off
PROBLEMS = {
    "odd sizes": Problem(2, 3, 5, (7, 6), (3, 3), padding=1),
    "whole vectors": Problem(2, 8, 12, (6, 5), (3, 3), padding=1),
    "strided": Problem(2, 8, 16, (9, 8), (3, 3), stride=2, padding=1),
    "1x1": Problem(2, 16, 8, (5, 6), (1, 1)),
    "1x1, planes": Problem(2, 12, 8, (8, 9), (1, 1)),
    "1x1, strided": Problem(2, 4, 35, (6, 6), (1, 1), stride=3),
    "one pixel, padded": Problem(2, 4, 6, (1, 1), (3, 3), padding=1),
    "kernel as large as the image": Problem(2, 3, 4, (5, 4), (5, 4)),
    "stride larger than the image": Problem(2, 3, 4, (4, 5), (2, 2), stride=2**31 - 1),
    "stride larger than the kernel": Problem(1, 2, 3, (12, 11), (1, 2), stride=(4, 5)),
    "more classes than products": Problem(1, 2, 3, (20, 23), (2, 3), stride=(9, 10), padding=1),
    "dilation and stride share a factor": Problem(1, 3, 4, (13, 12), (3, 3), stride=4, padding=3, dilation=6),
    "huge dilation": Problem(1, 2, 3, (3, 60), (1, 3), dilation=(1000, 29)),
    "huge padding": Problem(1, 2, 3, (3, 4), (3, 3), padding=9),
    "asymmetric padding": Problem(2, 3, 5, (6, 7), (3, 4), padding=((2, 0), (1, 3))),
    "groups": Problem(2, 16, 24, (5, 6), (3, 3), padding=1, groups=2),
    "thin groups": Problem(2, 6, 9, (5, 6), (3, 3), stride=2, padding=1, groups=3),
    "depthwise": Problem(2, 7, 7, (5, 9), (3, 3), padding=1, groups=7),
    "depthwise, multiplied": Problem(1, 17, 34, (5, 4), (2, 2), stride=(1, 2), padding=1, dilation=2, groups=17),
    "worth laying out anew": Problem(1, 13, 27, (36, 38), (3, 3), padding=1),
    "worth laying out anew, strided": Problem(1, 20, 40, (44, 49), (3, 3), stride=2, padding=(1, 2)),
    "few channels, large filters": Problem(1, 3, 20, (38, 40), (7, 7), padding=3),
    "worth laying out anew, groups": Problem(1, 32, 48, (28, 34), (3, 2), padding=1, groups=2),
    "few outputs": Problem(2, 12, 3, (17, 40), (3, 3), padding=1),
    "one output": Problem(1, 10, 1, (18, 33), (2, 3), dilation=2),
    "few inputs, strided": Problem(1, 3, 16, (40, 35), (5, 4), stride=2, padding=2),
    "depthwise, whole units": Problem(2, 24, 24, (7, 9), (3, 3), padding=1, groups=24),
    "depthwise, large filters": Problem(1, 40, 40, (9, 11), (5, 4), stride=2, padding=3, dilation=(1, 2), groups=40),
    "depthwise, one dimension": Problem(2, 8, 8, (40,), (4,), padding=1, groups=8),
    "sums in chunks": Problem(1, 64, 8, (4, 4), (3, 3), padding=1),
    "many pixels": Problem(2, 3, 4, (20, 20), (3, 3), padding=1),
    "1-d": Problem(2, 3, 4, (17,), (5,), stride=2, padding=2),
    "1-d, depthwise": Problem(1, 5, 5, (9,), (3,), padding=1, groups=5),
    "3-d": Problem(2, 3, 4, (4, 5, 6), (2, 3, 2), stride=(1, 2, 1), padding=1, dilation=(1, 1, 2)),
    "transposed": Problem(2, 6, 4, (4, 5), (3, 3), stride=2, padding=1, output_padding=1, transposed=True),
    "transposed, groups": Problem(2, 8, 16, (4, 3), (2, 2), stride=2, groups=2, transposed=True),
    "transposed, 1-d": Problem(2, 3, 4, (6,), (4,), stride=3, padding=1, dilation=2, transposed=True),
}
# fmt: on
LARGE = [name for name in PROBLEMS if name.startswith(("worth", "few channels"))]
FORMATS = [(False, False, False), (True, True, True), (True, False, True), (False, True, False)]


def rounded(array: Array, dtype: str) -> Array:
    return as_float(dd2424.from_numpy(array).to(getattr(dd2424, dtype))).numpy().astype(np.float64)


def run(problem: Problem, arrays: Any, dtype: str, device: str, formats: Any) -> list[Tensor]:
    """y, dx, dweight and dbias; arrays are x, weight, bias and, if there is a fourth, dy."""
    kind = getattr(dd2424, dtype)
    x, weight = (in_format(a, last).to(kind).to(device) for a, last in zip(arrays[:2], formats[:2], strict=True))
    x.requires_grad_(), weight.requires_grad_()
    bias = dd2424.from_numpy(arrays[2]).to(kind).to(device).requires_grad_()
    y = problem.run(x, weight, bias)
    y.backward(in_format(arrays[3], formats[2]).to(kind).to(device))
    return [y, x.grad, weight.grad, bias.grad]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in PROBLEMS])
@pytest.mark.parametrize("dtype", ["float32", "float64", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_all_passes(rng, name, dtype):
    problem = PROBLEMS[name]
    x, weight, bias = (rounded(a, dtype) for a in problem.draw(rng, np.float64))
    exact = problem.exact(x, weight, bias)
    dy = rounded(rng.standard_normal(exact.shape), dtype)
    arrays = x, weight, bias, dy
    sizes = [np.abs(a) for a in arrays]
    axes = (0, *range(2, dy.ndim))
    expected = [exact, *problem.gradients(x, weight, dy), dy.sum(axes)]
    scales = [problem.exact(*sizes[:3]), *problem.gradients(sizes[0], sizes[1], sizes[3]), sizes[3].sum(axes)]
    for formats in FORMATS[: 1 if x.ndim == 3 else 2 if name in LARGE else 4]:
        here, there = (run(problem, arrays, dtype, device, formats) for device in ("cpu", "cuda"))
        for gpu, other, right, scale in zip(there, here, expected, scales, strict=True):
            assert (gpu.is_cuda, gpu.dtype, gpu.stride()) == (True, other.dtype, other.stride())
            assert_accurate(as_float(gpu), right, 2**16 if dtype == "bfloat16" else 4, scale)


@pytest.mark.parametrize("name", ["odd sizes", "depthwise", "1x1", "1x1, planes", "transposed"])
def test_with_relu_and_without_a_bias(rng, name):
    x, weight, bias = PROBLEMS[name].draw(rng, np.float32)
    for b in (None, bias):
        for last in (False, True):
            here = [in_format(a, last) for a in (x, weight)] + [None if b is None else dd2424.from_numpy(b)]
            gpu = [None if t is None else t.cuda() for t in here]
            assert_alike(PROBLEMS[name].run(*gpu, relu=True), PROBLEMS[name].run(*here, relu=True), 8, scale=30)


@pytest.mark.slow
def test_many_tiles(rng):
    """Tiles of 128 rows and columns, which smaller problems leave out."""
    problem = Problem(1, 2, 65, (128, 128), (1, 2), padding=((0, 0), (1, 0)))
    x, weight, bias = problem.draw(rng, np.float32)
    scale = problem.exact(*map(np.abs, (x, weight, bias)))
    for last in (False, True):
        y = problem.run(in_format(x, last).cuda(), in_format(weight, last).cuda(), dd2424.from_numpy(bias).cuda())
        assert_accurate(y.cpu(), problem.exact(x, weight, bias), 4, scale)


@pytest.mark.slow
@pytest.mark.parametrize("small", [
    Problem(1, 2, 2, (3, 3), (2, 2), padding=1),
    Problem(1, 2, 2, (4, 3), (2, 2), stride=2, padding=1, groups=2),
    Problem(1, 1, 2, (3,), (2,), stride=2, transposed=True),
], ids=["plain", "strided groups", "transposed"])  # fmt: skip
def test_gradients(rng, small):
    tensors = [dd2424.from_numpy(a).cuda().requires_grad_() for a in small.draw(rng, np.float64)]
    assert gradcheck(small.run, tensors)
    assert gradgradcheck(small.run, tensors)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole vectors", "depthwise, multiplied", "many pixels", "sums in chunks"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_results_have_the_same_bits_again(rng, name, dtype):
    x, weight, bias = PROBLEMS[name].draw(rng, np.float64)
    dy = rng.standard_normal(PROBLEMS[name].exact(x, weight).shape)
    first, second = (run(PROBLEMS[name], (x, weight, bias, dy), dtype, "cuda", FORMATS[1]) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert as_float(a).tolist() == as_float(b).tolist()


def test_nothing_to_do():
    weight = dd2424.randn(4, 3, 3, 3, device="cuda", requires_grad=True)
    y = F.conv2d(dd2424.zeros(0, 3, 5, 5, device="cuda"), weight, padding=1)
    assert y.shape == (0, 4, 5, 5)
    assert y.is_cuda
    y.sum().backward()
    assert weight.grad.cpu().abs().sum().item() == 0
    none = F.conv2d(dd2424.zeros(2, 0, 5, 5, device="cuda"), dd2424.zeros(4, 0, 3, 3, device="cuda"))
    assert none.cpu().abs().sum().item() == 0


@pytest.mark.parametrize("transposed", [False, True])
def test_refusals_are_the_processors(transposed):
    function = F.conv_transpose2d if transposed else F.conv2d
    for image, filters, options, message in REFUSED_TRANSPOSED if transposed else REFUSED:
        on_gpu = {key: x.cuda() if isinstance(x, Tensor) else x for key, x in options.items()}
        with pytest.raises((RuntimeError, ValueError), match=message):
            function(dd2424.zeros(*image, device="cuda"), dd2424.zeros(*filters, device="cuda"), **on_gpu)


def test_operands_on_two_devices_are_refused():
    with pytest.raises(RuntimeError, match="conv2d: operands must be on one device"):
        F.conv2d(dd2424.zeros(1, 3, 5, 5, device="cuda"), dd2424.zeros(4, 3, 3, 3))


def test_a_network_learns_what_it_learns_on_the_processor(rng):
    dd2424.manual_seed(0)
    nn = dd2424.nn
    here, gpu = (
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, stride=2, groups=8), nn.Tanh(),
                      nn.ConvTranspose2d(8, 2, 2, stride=2)).double()
        for _ in range(2)
    )  # fmt: skip
    gpu.load_state_dict(here.state_dict())
    gpu.cuda()
    x, losses = rng.normal(size=(4, 3, 6, 6)), []
    for model, device in ((here, "cpu"), (gpu, "cuda")):
        inputs = dd2424.tensor(x, device=device)
        for _ in range(3):
            model.zero_grad()
            loss = (model(inputs) ** 2).mean()
            loss.backward()
            with dd2424.no_grad():
                for parameter in model.parameters():
                    parameter.sub_(parameter.grad, alpha=0.1)
        losses.append(loss.item())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)
