"""What a convolution refuses, with the error class of PyTorch and a message that names what was given."""

from __future__ import annotations

from typing import Any

import pytest

import dd2424
from dd2424.nn import functional as F

IMAGE, FILTERS = (2, 4, 5, 6), (8, 4, 3, 3)
HUGE = 2**31

# fmt: off
REFUSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = [
    (IMAGE, (8, 3, 3, 3), {}, r"conv2d: weight \(8, 3, 3, 3\) with groups 1 expects 3 input channels but input has 4"),
    (IMAGE, (8, 4, 3), {}, r"conv2d: weight must have 4 dimensions, got shape \(8, 4, 3\)"),
    ((4, 5), FILTERS, {}, r"conv2d: input must have 4 dimensions or, without a batch, 3, got \(4, 5\)"),
    (IMAGE, (8, 4, 6, 3), {}, "conv2d: kernel must not be larger than the padded input"),
    (IMAGE, FILTERS, {"dilation": 3}, "conv2d: kernel must not be larger than the padded input"),
    (IMAGE, FILTERS, {"dilation": HUGE - 1}, "conv2d: kernel must not be larger than the padded input"),
    (IMAGE, (8, 4, 0, 3), {}, "conv2d: kernel must not be empty"),
    (IMAGE, FILTERS, {"stride": 0}, "conv2d: stride must be at least 1"),
    (IMAGE, FILTERS, {"stride": -1}, "conv2d: stride must be at least 1"),
    (IMAGE, FILTERS, {"stride": (1, 2, 3)}, "conv2d: stride must have 2 elements"),
    (IMAGE, FILTERS, {"stride": HUGE}, r"conv2d: stride must be at least 1 and below 2\^31"),
    (IMAGE, FILTERS, {"padding": -1}, "conv2d: padding must be at least 0"),
    (IMAGE, FILTERS, {"padding": HUGE}, "conv2d: padding must be at least 0"),
    (IMAGE, FILTERS, {"padding": (1,) * 3}, "conv2d: padding must have 2 elements"),
    (IMAGE, FILTERS, {"padding": HUGE - 1}, "conv2d: .*too large|conv2d: .*elements"),
    (IMAGE, FILTERS, {"padding": "full"}, 'conv2d: padding must be numbers, "same" or "valid", got "full"'),
    (IMAGE, FILTERS, {"padding": "same", "stride": 2}, 'conv2d: stride must be 1 with padding="same"'),
    (IMAGE, FILTERS, {"dilation": 0}, "conv2d: dilation must be at least 1"),
    (IMAGE, FILTERS, {"groups": 0}, "conv2d: groups must be positive, got 0"),
    (IMAGE, FILTERS, {"groups": -1}, "conv2d: groups must be positive, got -1"),
    (IMAGE, (8, 1, 3, 3), {"groups": 3}, r"conv2d: weight must have a multiple of groups \(3\) filters"),
    (IMAGE, FILTERS, {"groups": 2}, "expects 8 input channels but input has 4"),
    (IMAGE, FILTERS, {"bias": dd2424.zeros(3)}, r"conv2d: bias must be \(8,\), got \(3\)|conv2d: bias must be \(8,\)"),
    (IMAGE, FILTERS, {"bias": dd2424.zeros(8, 1)}, r"conv2d: bias must be \(8,\)"),
    (IMAGE, FILTERS, {"bias": dd2424.zeros(8).double()}, "conv2d: bias must have the input's dtype"),
    ((2, 4, 0, 6), FILTERS, {}, "conv2d: kernel must not be larger than the padded input"),
]
REFUSED_TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = [
    (IMAGE, FILTERS, {}, "conv_transpose2d: weight .* expects 8 input channels but input has 4"),
    (IMAGE, (4, 8, 3, 3), {"output_padding": 1}, "conv_transpose2d: output_padding must be smaller than stride or dil"),
    (IMAGE, (4, 8, 3, 3), {"output_padding": -1, "stride": 2}, "conv_transpose2d: output_padding must be at least 0"),
    (IMAGE, (4, 8, 3, 3), {"output_padding": (1,) * 3}, "conv_transpose2d: output_padding must have 2 elements"),
    (IMAGE, (4, 8, 3, 3), {"output_padding": HUGE, "stride": HUGE - 1}, "output_padding must be at least 0 and below"),
    (IMAGE, (4, 8, 3, 3), {"padding": 9}, r"conv_transpose2d: input \(2, 4, 5, 6\) gives an output of size"),
    (IMAGE, (4, 8, 3, 3), {"stride": HUGE - 1, "groups": 4}, "conv_transpose2d: "),
    (IMAGE, (4, 8, 3, 3), {"groups": 3}, r"conv_transpose2d: weight must have a multiple of groups \(3\) filters"),
    (IMAGE, (4, 2, 3, 3), {"bias": dd2424.zeros(4), "groups": 4}, r"conv_transpose2d: bias must be \(8,\)"),
    (IMAGE, (4, 8, 3), {}, "conv_transpose2d: weight must have 4 dimensions"),
]
# fmt: on


@pytest.mark.parametrize(
    ("image", "filters", "options", "message"), REFUSED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_conv(image: tuple[int, ...], filters: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        F.conv2d(dd2424.zeros(*image), dd2424.zeros(*filters), **options)


@pytest.mark.parametrize(
    ("image", "filters", "options", "message"), REFUSED_TRANSPOSED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_conv_transpose(image: tuple[int, ...], filters: tuple[int, ...], options: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        F.conv_transpose2d(dd2424.zeros(*image), dd2424.zeros(*filters), **options)


def test_dtypes() -> None:
    x, weight = dd2424.zeros(*IMAGE), dd2424.zeros(*FILTERS)
    with pytest.raises(RuntimeError, match=r"must have the same dtype, got .*float32 and .*float64"):
        F.conv2d(x, weight.double())
    with pytest.raises(RuntimeError, match="conv2d"):
        F.conv2d(x.to(dd2424.int64), weight.to(dd2424.int64))
    with pytest.raises(TypeError, match="convolution"):
        F.conv2d(x.numpy(), weight)


@pytest.mark.parametrize(("function", "name"), [(F.conv1d, "conv1d"), (F.conv3d, "conv3d"),
                                                (F.conv_transpose1d, "conv_transpose1d"),
                                                (F.conv_transpose3d, "conv_transpose3d")])  # fmt: skip
def test_the_number_of_dimensions(function: Any, name: str) -> None:
    with pytest.raises(RuntimeError, match=f"{name}: weight must have"):
        function(dd2424.zeros(*IMAGE), dd2424.zeros(*FILTERS))


def test_weights_of_one_dimension() -> None:
    with pytest.raises(RuntimeError, match="conv: weight must have 3 to 5 dimensions"):
        dd2424._core.convolution(dd2424.zeros(3), dd2424.zeros(3), None, [], [], [], [], 1, False)
