"""Convolutional layers: parameters, states, what they print, layers that wait for their first input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from dd2424 import nn
from dd2424.nn import functional as F
from reference import conv as reference

CONVS = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
TRANSPOSED = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]


def image(space: int, channels: int = 4, size: int = 6) -> Any:
    return dd2424.randn(2, channels, *[size] * space)


@pytest.mark.parametrize("space", [1, 2, 3])
def test_a_layer_is_its_function(space: int) -> None:
    layer, x = CONVS[space - 1](4, 6, 3, stride=2, padding=1, dilation=1, groups=2), image(space)
    conv = (F.conv1d, F.conv2d, F.conv3d)[space - 1]
    assert bits(layer(x)) == bits(conv(x, layer.weight, layer.bias, 2, 1, 1, 2))
    assert layer.weight.shape == (6, 2, *[3] * space)


@pytest.mark.parametrize("space", [1, 2, 3])
def test_a_transposed_layer_is_its_function(space: int) -> None:
    layer, x = TRANSPOSED[space - 1](4, 6, 3, 2, padding=1, output_padding=1, groups=2), image(space)
    conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[space - 1]
    assert bits(layer(x)) == bits(conv(x, layer.weight, layer.bias, 2, 1, 1, 2))
    assert layer.weight.shape == (4, 3, *[3] * space)


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize(("mode", "numpy_mode"), [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
@pytest.mark.parametrize(("padding", "margins"), [("same", (1, 2)), (2, (2, 2))])
def test_what_stands_outside_of_the_image(space: int, mode: str, numpy_mode: Any, padding: Any, margins: Any) -> None:
    layer, x = (
        CONVS[space - 1](4, 3, 4, padding=padding, padding_mode=mode, dtype=dd2424.float64),
        image(space).double(),
    )
    padded = np.pad(x.numpy(), [(0, 0), (0, 0), *[margins] * space], mode=numpy_mode)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    ones, none = [1] * space, [(0, 0)] * space
    expected = reference.conv(padded, weight, bias, stride=ones, padding=none, dilation=ones)
    assert_accurate(layer(x), expected, roundings=16, scale=1.0)


@pytest.mark.parametrize("kernel", [2, 3, (2, 5)])
def test_same_keeps_the_size(kernel: Any) -> None:
    x = image(2, size=9)
    layer = nn.Conv2d(4, 3, kernel, padding="same", dilation=2)
    assert layer(x).shape == (2, 3, 9, 9)
    sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
    margins = [side for k in reversed(sizes) for side in (k - 1, k - 1)]  # dilation 2: an even total
    assert layer._margins() == margins
    assert nn.Conv2d(4, 3, kernel, padding="valid")._margins() == [0, 0, 0, 0]


def test_an_odd_total_leaves_the_extra_zero_behind() -> None:
    x, weight = dd2424.ones(1, 1, 3), dd2424.ones(1, 1, 2)
    assert F.conv1d(x, weight, padding="same").numpy().tolist() == [[[2, 2, 1]]]
    assert nn.Conv1d(1, 1, 2, padding="same")._margins() == [0, 1]


def test_initial_values_are_uniform() -> None:
    layer = nn.Conv2d(16, 300, 5, groups=4)
    bound = 1 / math.sqrt(16 / 4 * 25)
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.97 * bound
        assert abs(values.var() * 3 / bound**2 - 1) < 0.2


@pytest.mark.parametrize("output_size", [(11, 12), (2, 5, 12, 11), (5, 11, 11)])
def test_output_size_is_reached(output_size: tuple[int, ...]) -> None:
    layer = nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1)
    assert layer(image(2, 3), output_size).shape == (2, 5, *output_size[-2:])


@pytest.mark.parametrize("output_size", [(10, 11), (13, 11)])
def test_output_size_that_cannot_be_had(output_size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ConvTranspose2d: output_size must lie between 11 and 12"):
        nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1)(image(2, 3), output_size)


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_lazy_layers(space: int, transposed: bool, bias: bool) -> None:
    name = f"Conv{'Transpose' if transposed else ''}{space}d"
    lazy, plain = getattr(nn, f"Lazy{name}")(6, 3, 2, 1, bias=bias, groups=2), getattr(nn, name)
    assert lazy.has_uninitialized_params()
    y = lazy(image(space))
    assert type(lazy) is plain
    assert not lazy.has_uninitialized_params()
    assert lazy.in_channels == 4
    assert list(lazy.state_dict()) == (["weight", "bias"] if bias else ["weight"])
    assert y.shape[1] == 6
    bound = 1 / math.sqrt(math.prod(lazy.weight.shape[1:]))
    assert np.abs(lazy.weight.detach().numpy()).max() <= bound


def test_a_lazy_layer_takes_a_state() -> None:
    lazy, plain = nn.LazyConv2d(5, 3), nn.Conv2d(4, 5, 3)
    lazy.load_state_dict(plain.state_dict())
    x = image(2)
    assert bits(lazy(x)) == bits(plain(x))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 4, 3), {"groups": 2}, "Conv2d: groups must divide in_channels and out_channels, got 2 for 3 and 4"),
        ((4, 3, 3), {"groups": 2}, "Conv2d: groups must divide in_channels and out_channels, got 2 for 4 and 3"),
        ((4, 4, 3), {"groups": 0}, "Conv2d: groups must divide"),
        ((4, 4, 3), {"padding_mode": "mirror"}, "Conv2d: padding_mode must be one of zeros, reflect, replicate"),
        ((4, 4, 3), {"padding": "full"}, 'Conv2d: padding must be numbers, "same" or "valid", got \'full\''),
        ((4, 4, 3), {"padding": "same", "stride": 2}, 'Conv2d: stride must be 1 with padding="same"'),
    ],
)
def test_refusals(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.Conv2d(*arguments, **options)


def test_refusals_of_others() -> None:
    with pytest.raises(ValueError, match='ConvTranspose1d: padding_mode must be "zeros"'):
        nn.ConvTranspose1d(3, 4, 3, padding_mode="reflect")
    with pytest.raises(ValueError, match="Conv2d: groups must divide in_channels"):
        nn.LazyConv2d(4, 3, groups=3)(image(2))
    with pytest.raises(RuntimeError, match="LazyConv2d: input must have 4 dimensions"):
        nn.LazyConv2d(4, 3)(dd2424.zeros(3, 3))
