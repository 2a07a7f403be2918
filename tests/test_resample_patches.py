"""Patches as columns and back, and rearranged channels: values, gradients, layouts and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd
from dd2424.nn import functional as F
from reference import resample as reference

# (N, C, H, W), and kernel, dilation, padding and stride; a row of more pixels than are summed at once
CASES = [
    ((2, 3, 5, 6), [(2, 3), (1, 1), (0, 0), (1, 1)]),
    ((1, 2, 7, 9), [(3, 3), (2, 1), (1, 2), (2, 3)]),
    ((2, 1, 4, 4), [(2, 2), (1, 1), (0, 0), (3, 3)]),
    ((1, 1, 1, 1), [(3, 3), (1, 1), (1, 1), (1, 1)]),
    ((1, 2, 6, 300), [(2, 4), (3, 2), (2, 3), (1, 1)]),
    ((1, 1, 5, 600), [(1, 3), (1, 1), (0, 1), (1, 2)]),
]
each_case = pytest.mark.parametrize(("shape", "options"), CASES)


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unfold(rng: np.random.Generator, isa: str, shape: Any, options: Any, dtype: Any) -> None:
    x = rng.standard_normal(shape).astype(dtype)
    expected = reference.unfold(x, *options)
    tensor = dd2424.from_numpy(x).requires_grad_()
    columns = F.unfold(tensor, *options)
    assert bits(columns) == bits(np.ascontiguousarray(expected))
    dy = rng.standard_normal(expected.shape).astype(dtype)
    columns.backward(dd2424.from_numpy(dy))
    scale = reference.fold(np.abs(dy), shape[2:], *options)
    assert_accurate(tensor.grad, reference.fold(dy, shape[2:], *options), roundings=8, scale=scale)


@each_case
def test_fold(rng: np.random.Generator, isa: str, shape: Any, options: Any) -> None:
    columns = rng.standard_normal(reference.unfold(np.zeros(shape), *options).shape).astype(np.float32)
    tensor = dd2424.from_numpy(columns).requires_grad_()
    x = F.fold(tensor, shape[2:], *options)
    scale = reference.fold(np.abs(columns), shape[2:], *options)
    assert_accurate(x, reference.fold(columns, shape[2:], *options), roundings=8, scale=scale)
    dy = rng.standard_normal(shape).astype(np.float32)
    x.backward(dd2424.from_numpy(dy))
    assert bits(tensor.grad) == bits(np.ascontiguousarray(reference.unfold(dy, *options)))


def test_fold_in_bfloat16_adds_in_float(rng: np.random.Generator, isa: str) -> None:
    columns = dd2424.from_numpy(rng.standard_normal((1, 9, 36)).astype(np.float32)).bfloat16()
    exact = reference.fold(columns.double().numpy(), (8, 8), (3, 3), (1, 1), (0, 0), (1, 1))
    assert_accurate(F.fold(columns, 8, 3), exact, roundings=1, scale=1e-2)
    x = dd2424.from_numpy(rng.standard_normal((1, 1, 8, 8)).astype(np.float32)).bfloat16()
    assert F.unfold(x, 3).tolist() == F.unfold(x.float(), 3).tolist()


def test_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 16, 40, 40)).astype(np.float32)

    def run() -> Any:
        leaf = dd2424.from_numpy(x).requires_grad_()
        columns = F.unfold(leaf, 3, padding=1)
        columns.backward(columns.detach())
        return columns.detach(), leaf.grad

    same_for_any_threads(run)


def shuffled(x: Any, r: int) -> Any:
    n, c, h, w = x.shape
    return x.reshape(n, c // r**2, r, r, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // r**2, h * r, w * r)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_shuffles(rng: np.random.Generator, dtype: Any) -> None:
    x = (10 * rng.standard_normal((2, 12, 3, 5))).astype(dtype)
    for tensor in (dd2424.from_numpy(x), dd2424.from_numpy(x).to(memory_format=dd2424.channels_last)):
        y = F.pixel_shuffle(tensor, 2)
        assert bits(y.contiguous()) == bits(np.ascontiguousarray(shuffled(x, 2)))
        assert bits(F.pixel_unshuffle(y, 2).contiguous()) == bits(x)
        z = F.channel_shuffle(tensor, 3)
        expected = x.reshape(2, 3, 4, 3, 5).swapaxes(1, 2).reshape(x.shape)
        assert bits(z.contiguous()) == bits(np.ascontiguousarray(expected))
        assert y.is_contiguous() == z.is_contiguous() == tensor.is_contiguous()
    assert bits(F.pixel_shuffle(dd2424.from_numpy(x[0]), 2)) == bits(np.ascontiguousarray(shuffled(x, 2)[0]))
    assert F.pixel_unshuffle(dd2424.zeros(2, 0, 3, 4, 4), 2).shape == (2, 0, 12, 2, 2)


@pytest.mark.parametrize("name", ["unfold", "fold", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"])
def test_gradients_by_differences(rng: np.random.Generator, name: str) -> None:
    functions: dict[str, tuple[Any, tuple[int, ...]]] = {
        "unfold": (lambda x: F.unfold(x, 2, padding=1, stride=2), (1, 2, 3, 4)),
        "fold": (lambda x: F.fold(x, (3, 4), (2, 1)), (1, 4, 8)),
        "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), (1, 4, 2, 3)),
        "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 2), (2, 4, 2)),
        "channel_shuffle": (lambda x: F.channel_shuffle(x, 2), (1, 6, 3)),
    }
    function, shape = functions[name]
    x = dd2424.from_numpy(rng.standard_normal(shape)).requires_grad_()
    assert autograd.gradcheck(function, (x,))
    assert autograd.gradgradcheck(function, (x,))


def test_odd_layouts(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 4, 6, 8))
    strided, plain = dd2424.from_numpy(x)[..., ::2], dd2424.from_numpy(np.ascontiguousarray(x[..., ::2]))
    for function in (lambda x: F.unfold(x, 2), lambda x: F.pixel_shuffle(x, 2), lambda x: F.channel_shuffle(x, 2)):
        assert bits(function(strided)) == bits(function(plain))
    assert F.unfold(plain[:0], 2).shape == (0, 16, 15)
    assert F.fold(dd2424.zeros(0, 16, 15), (6, 4), 2).shape == (0, 4, 6, 4)
    assert bits(F.unfold(plain[0], 2)) == bits(F.unfold(plain, 2)[0].contiguous())


ONES, COLUMNS = dd2424.ones(2, 3, 4, 5), dd2424.ones(2, 12, 12)
# fmt: off
REFUSALS: list[tuple[str, str, Any]] = [
    ("unfold", r"input must be \(N, C, H, W\) or \(C, H, W\), got \(4, 5\)", lambda: F.unfold(ONES[0, 0], 2)),
    ("unfold", "kernel_size must be at least 1", lambda: F.unfold(ONES, 0)),
    ("unfold", "kernel_size must be one number or two", lambda: F.unfold(ONES, (2, 2, 2))),
    ("unfold", "stride must be at least 1", lambda: F.unfold(ONES, 2, stride=0)),
    ("unfold", "dilation must be at least 1", lambda: F.unfold(ONES, 2, dilation=0)),
    ("unfold", "padding must be at least 0", lambda: F.unfold(ONES, 2, padding=-1)),
    ("unfold", r"kernel_size must fit into the padded input, got \(7, 7\)", lambda: F.unfold(ONES, 7)),
    ("unfold", "input must not be empty but for its batch", lambda: F.unfold(ONES[:, :0], 2)),
    ("unfold", "input must have a floating dtype", lambda: F.unfold(ONES.long(), 2)),
    ("fold", "input must be .*, got", lambda: F.fold(ONES, (4, 5), 2)),
    ("fold", r"input must have a multiple of 4 rows, the product of kernel_size, got \(2, 11, 12\)",
     lambda: F.fold(COLUMNS[:, :11], (4, 5), 2)),
    ("fold", r"input must have 3 \* 5 columns for output_size \(4, 6\)", lambda: F.fold(COLUMNS, (4, 6), 2)),
    ("fold", r"input must have 0 \* 0 columns", lambda: F.fold(COLUMNS, (1, 1), 2)),
    ("fold", "output_size must be at least 1", lambda: F.fold(COLUMNS, (0, 5), 2)),
    ("pixel_shuffle", r"input must have a multiple of upscale_factor\^2 channels, 4", lambda: F.pixel_shuffle(ONES, 2)),
    ("pixel_shuffle", "upscale_factor must be positive, got 0", lambda: F.pixel_shuffle(ONES, 0)),
    ("pixel_shuffle", "input must have at least 3 dimensions", lambda: F.pixel_shuffle(ONES[0, 0], 1)),
    ("pixel_unshuffle", "input must have a height and width that", lambda: F.pixel_unshuffle(ONES, 2)),
    ("pixel_unshuffle", "downscale_factor must be positive, got -1", lambda: F.pixel_unshuffle(ONES, -1)),
    ("pixel_unshuffle", "input must have at least 3 dimensions", lambda: F.pixel_unshuffle(ONES[0, 0], 1)),
    ("channel_shuffle", "groups must divide the channels of input", lambda: F.channel_shuffle(ONES, 2)),
    ("channel_shuffle", "groups must be positive, got 0", lambda: F.channel_shuffle(ONES, 0)),
    ("channel_shuffle", "input must have more than 2 dimensions", lambda: F.channel_shuffle(ONES[0, 0], 2)),
]
# fmt: on


@pytest.mark.parametrize(("op", "message", "call"), REFUSALS)
def test_each_refusal(op: str, message: str, call: Any) -> None:
    with pytest.raises(RuntimeError, match=f"{op}: {message}"):
        call()
