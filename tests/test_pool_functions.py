"""Pooling made from other operations, layers, odd inputs, and every refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import autograd, nn
from dd2424.nn import functional as F
from reference import pool as reference


def zeros(*shape: int) -> Any:
    return dd2424.zeros(shape)


@pytest.mark.parametrize("norm", [1, 2, 3])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_lp_pool(isa: str, rng: np.random.Generator, norm: int, ceil_mode: bool) -> None:
    x = rng.uniform(0.5, 2, (2, 3, 7, 9)).astype(np.float32)
    window = reference.windows((7, 9), (2, 3), (2, 3), (0, 0), (1, 1), ceil_mode)
    y = (reference.avg_pool(x.astype(np.float64) ** norm, *window) * 6) ** (1 / norm)
    assert_accurate(F.lp_pool2d(dd2424.from_numpy(x), norm, (2, 3), ceil_mode=ceil_mode), y, roundings=12)


@pytest.mark.parametrize(("space", "image"), [(1, (8,)), (2, (6, 8)), (3, (4, 2, 6))])
def test_unpooling_puts_maxima_back(rng: np.random.Generator, space: int, image: Any) -> None:
    x = rng.permutation(6 * int(np.prod(image))).reshape(2, 3, *image).astype(np.float32) + 1
    y, index = getattr(F, f"max_pool{space}d")(dd2424.from_numpy(x), 2, return_indices=True)
    back = getattr(F, f"max_unpool{space}d")(y, index, 2)
    expected = reference.max_pool_gradient(y.double().numpy(), index.numpy(), image)
    assert_accurate(back, expected, roundings=0)
    again = getattr(nn, f"MaxUnpool{space}d")(2)(y[0], index[0])
    assert_accurate(again, expected[0], roundings=0)


def test_unpooling_has_gradients(rng: np.random.Generator) -> None:
    y, index = F.max_pool2d(dd2424.from_numpy(rng.standard_normal((2, 2, 5, 5))), 2, return_indices=True)
    leaf = y.detach().requires_grad_()
    assert autograd.gradcheck(lambda t: F.max_unpool2d(t, index, 2, output_size=(5, 5)), (leaf,))
    assert autograd.gradgradcheck(lambda t: F.max_unpool2d(t, index, 2, output_size=(5, 5)), (leaf,))


@pytest.mark.parametrize(("space", "image"), [(2, (9, 11)), (3, (6, 7, 8))])
def test_fractional_windows_follow_the_samples(rng: np.random.Generator, space: int, image: Any) -> None:
    x = rng.standard_normal((2, 3, *image))
    samples = rng.random((2, 3, space))
    kernel, out = (2,) * space, tuple(n // 2 for n in image)
    y, index = getattr(F, f"fractional_max_pool{space}d")(
        dd2424.from_numpy(x), kernel, output_size=out, return_indices=True, _random_samples=dd2424.from_numpy(samples)
    )
    flat = x.reshape(2, 3, -1)
    assert_accurate(y, np.take_along_axis(flat, index.numpy().reshape(2, 3, -1), -1).reshape(y.shape), roundings=0)
    order = [1, 0] if space == 2 else [0, 1, 2]
    for n, c in np.ndindex(2, 3):
        starts = []
        for size, k, o, u in zip(image, kernel, out, samples[n, c][order], strict=True):
            step = (size - k) / (o - 1)
            starts.append([int((p + u) * step) - int(u * step) for p in range(o - 1)] + [size - k])
        for at in np.ndindex(*out):
            begin = [line[p] for line, p in zip(starts, at, strict=True)]
            window = x[(n, c, *(slice(b, b + 2) for b in begin))]
            assert y[(n, c, *at)].item() == window.max()


def test_fractional_windows_are_random_and_reproducible() -> None:
    x = dd2424.arange(2.0 * 100).reshape(1, 2, 10, 10)
    layer = nn.FractionalMaxPool2d(2, output_ratio=0.6)
    dd2424.manual_seed(1)
    first, second = layer(x), layer(x)
    dd2424.manual_seed(1)
    assert first.equal(layer(x))
    assert first.shape == (1, 2, 6, 6)
    assert not first.equal(second)


LAYERS = [
    (nn.MaxPool1d(3, 2, 1), (2, 3, 9)), (nn.MaxPool2d((3, 2), 2, 1), (2, 3, 9, 8)), (nn.MaxPool3d(2), (2, 3, 4, 4, 6)),
    (nn.AvgPool1d(3, 2, 1), (2, 3, 9)), (nn.AvgPool2d((3, 2), 2, 1), (2, 3, 9, 8)), (nn.AvgPool3d(2), (2, 3, 4, 4, 6)),
    (nn.AdaptiveAvgPool1d(2), (2, 3, 9)), (nn.AdaptiveAvgPool2d((None, 2)), (2, 3, 9, 8)),
    (nn.AdaptiveAvgPool3d(1), (2, 3, 4, 4, 6)), (nn.AdaptiveMaxPool1d(2), (2, 3, 9)),
    (nn.AdaptiveMaxPool2d((3, None)), (2, 3, 9, 8)), (nn.AdaptiveMaxPool3d((1, 2, 3)), (2, 3, 4, 4, 6)),
    (nn.LPPool1d(2, 2), (2, 3, 8)), (nn.LPPool2d(2, 2), (2, 3, 8, 8)), (nn.LPPool3d(2, 2), (2, 3, 4, 4, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: str(value))
def test_one_image_is_a_batch_of_one(rng: np.random.Generator, layer: Any, shape: Any) -> None:
    x = dd2424.from_numpy(rng.standard_normal(shape).astype(np.float32))
    together = layer(x)
    for one, image in zip(together, x, strict=True):
        assert layer(image).equal(one)


@pytest.mark.parametrize(("layer", "shape"), LAYERS[:12], ids=lambda value: str(value))
def test_a_batch_of_none(layer: Any, shape: Any) -> None:
    x = zeros(0, *shape[1:]).requires_grad_()
    y = layer(x)
    assert y.shape == (0, *layer(zeros(*shape)).shape[1:])
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_an_output_of_none(isa: str) -> None:
    x = dd2424.ones(2, 3, 4, 4, requires_grad=True)
    y = F.adaptive_avg_pool2d(x, 0)
    assert y.shape == (2, 3, 0, 0)
    y.sum().backward()
    assert not x.grad.any()


@pytest.mark.parametrize("pool", [lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2)])
def test_strided_inputs(isa: str, rng: np.random.Generator, pool: Any) -> None:
    x = dd2424.from_numpy(rng.standard_normal((4, 6, 10, 16)).astype(np.float32))
    for view in (x[:, ::2], x[:, :, 1:7, ::2], x.transpose(2, 3), x[::2].expand(2, 6, 10, 16), x.flip(1)):
        assert pool(view).equal(pool(view.clone().contiguous()))


def test_formats_follow_the_input() -> None:
    x = zeros(2, 3, 8, 8).to(memory_format=dd2424.channels_last)
    for y in (F.max_pool2d(x, 2), F.max_pool2d(x, 2, return_indices=True)[1], F.avg_pool2d(x, 3, 2, 1),
              F.adaptive_avg_pool2d(x, 3), F.adaptive_max_pool2d(x, 3)):  # fmt: skip
        assert y.is_contiguous(memory_format=dd2424.channels_last)
        assert not y.is_contiguous()
    assert F.max_pool2d(zeros(2, 3, 8, 8), 2).is_contiguous()


FAR = 2**31
REFUSED: list[tuple[Any, str]] = [
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 0), "max_pool2d: kernel_size must be at least 1"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 2, 0), "max_pool2d: stride must be at least 1"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 2, dilation=0), "max_pool2d: dilation must be at least 1"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 2, padding=-1), "max_pool2d: padding must be at least 0"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 2, padding=2), "max_pool2d: padding must be at most half of the kernel"),
    (lambda: F.max_pool1d(zeros(1, 1, 4), 2, padding=2), "max_pool1d: padding must be at most half of the kernel"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 5), "max_pool2d: kernel must not be larger than the padded input"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 2, dilation=FAR), "max_pool2d: dilation must be .* below 2\\^31"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 2, dilation=FAR - 1), "max_pool2d: kernel must not be larger"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), FAR), "max_pool2d: kernel_size must be .* below 2\\^31"),
    (lambda: F.max_pool2d(zeros(1, 1, 1, 1), 2**17, 1, 2**16), "max_pool2d: kernel_size must have fewer than 2\\^31"),
    (lambda: F.max_pool2d(zeros(1, 1, 2, 2), 2, 1, 5, 10), "max_pool2d: windows must meet the input"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), (2, 2, 2)), "max_pool2d: kernel_size must have 1 or 2 elements"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 2, (1, 1, 1)), "max_pool2d: stride must have 1 or 2 elements"),
    (lambda: F.max_pool2d(zeros(4, 4), 2), "max_pool2d: input must have 4 dimensions or, without a batch, 3"),
    (lambda: F.max_pool3d(zeros(4, 4, 4), 2), "max_pool3d: input must have 5 dimensions or, without a batch, 4"),
    (lambda: F.max_pool2d(zeros(1, 0, 4, 4), 2), "max_pool2d: input must not be empty but for its batch"),
    (lambda: F.max_pool2d(zeros(1, 1, 0, 4), 2), "max_pool2d: input must not be empty but for its batch"),
    (lambda: F.max_pool2d(zeros(1, 1, 4, 4) > 0, 2), "max_pool2d: input must have a floating dtype"),
    (lambda: F.avg_pool2d(zeros(1, 1, 4, 4), 0), "avg_pool2d: kernel_size must be at least 1"),
    (lambda: F.avg_pool2d(zeros(1, 1, 4, 4), 2, 0), "avg_pool2d: stride must be at least 1"),
    (lambda: F.avg_pool2d(zeros(1, 1, 4, 4), 2, padding=2), "avg_pool2d: padding must be at most half of the kernel"),
    (lambda: F.avg_pool2d(zeros(1, 1, 4, 4), 5), "avg_pool2d: kernel must not be larger than the padded input"),
    (lambda: F.avg_pool2d(zeros(1, 1, 4, 4), 2, divisor_override=0), "avg_pool2d: divisor_override must not be 0"),
    (lambda: F.avg_pool2d(zeros(1, 1, 4, 4).int(), 2), "avg_pool2d: input must have a floating dtype"),
    (lambda: F.adaptive_avg_pool2d(zeros(1, 1, 4, 4), -1), "adaptive_avg_pool2d: output_size must be from 0"),
    (lambda: F.adaptive_avg_pool2d(zeros(1, 1, 4, 4), (1, 2, 3)), "adaptive_avg_pool2d: output_size must have"),
    (lambda: F.adaptive_avg_pool2d(zeros(1, 1, 0, 4), 1), "adaptive_avg_pool2d: input must not be empty in space"),
    (lambda: F.adaptive_avg_pool2d(zeros(1, 1, 4, 4), FAR - 1), "adaptive_avg_pool2d: "),
    (lambda: F.adaptive_max_pool2d(zeros(1, 1, 4, 4), (None, 2, 3)), "adaptive_pool2d: output_size must have 2"),
    (lambda: F.adaptive_max_pool2d(zeros(1, 0, 4, 4), 1), "adaptive_max_pool2d: input must not be empty"),
    (lambda: F.max_unpool2d(zeros(1, 1, 2, 2), zeros(1, 1, 2, 2), 2), "max_unpool2d: indices must be int64"),
    (lambda: F.max_unpool2d(zeros(1, 1, 2, 2), zeros(1, 1, 2, 3).long(), 2), "max_unpool2d: indices must have the"),
    (lambda: F.max_unpool2d(zeros(1, 1, 2, 2), zeros(1, 1, 2, 2).long() + 16, 2), "max_unpool2d: index must be from 0"),
    (lambda: F.max_unpool2d(zeros(1, 1, 2, 2), zeros(1, 1, 2, 2).long() - 1, 2), "max_unpool2d: index must be from 0"),
    (lambda: F.fractional_max_pool2d(zeros(1, 1, 4, 4), 3, 3), "fractional_max_pool2d: kernel_size must leave room"),
    (lambda: F.fractional_max_pool2d(zeros(4, 4), 2, 2), "fractional_max_pool2d: input must have 4 dimensions"),
]  # fmt: skip


@pytest.mark.parametrize(("run", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refusals(run: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        run()


@pytest.mark.parametrize(("run", "message"), [
    (lambda: F.max_unpool2d(zeros(1, 1, 2, 2), zeros(1, 1, 2, 2).long(), 2, output_size=(9, 4)), "must lie between 3"),
    (lambda: F.max_unpool2d(zeros(1, 1, 2, 2), zeros(1, 1, 2, 2).long(), 2, output_size=(4,)), "must have 2 or 4"),
    (lambda: F.fractional_max_pool2d(zeros(1, 1, 4, 4), 2), "output_size or output_ratio must be given"),
    (lambda: nn.FractionalMaxPool2d(2, 2, 0.5), "one of output_size and output_ratio"),
    (lambda: nn.FractionalMaxPool2d(2, output_ratio=1.5), "output_ratio must lie between 0 and 1"),
])  # fmt: skip
def test_refused_values(run: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run()
