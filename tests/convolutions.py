"""What the tests of convolutions share: a drawn problem, its run in dd2424, and its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import dd2424
from accuracy import assert_accurate
from dd2424 import Tensor, _core
from reference import conv as reference

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """The sizes of one convolution; numbers stand for all dimensions alike."""

    batch: int
    inputs: int
    outputs: int
    image: Sequence[int]
    kernel: Sequence[int]
    stride: Sequence[int] | int = 1
    padding: Sequence[tuple[int, int]] | int = 0  # in front and behind
    dilation: Sequence[int] | int = 1
    groups: int = 1
    output_padding: Sequence[int] | int = 0
    transposed: bool = False
    options: dict[str, Any] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        def each(value: Any) -> list[Any]:
            return [value] * len(self.image) if isinstance(value, int) else list(value)

        padding = [(p, p) if isinstance(p, int) else p for p in each(self.padding)]
        options = {"stride": each(self.stride), "padding": padding, "dilation": each(self.dilation)}
        if self.transposed:
            options["output_padding"] = each(self.output_padding)
        object.__setattr__(self, "options", {**options, "groups": self.groups})

    def draw(self, rng: np.random.Generator, dtype: Any) -> tuple[Array, Array, Array]:
        """x, weight and bias."""
        first, second = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)
        shapes = (self.batch, self.inputs, *self.image), (first, second // self.groups, *self.kernel), (self.outputs,)
        x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
        return x, weight, bias

    def exact(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        function = reference.conv_transpose if self.transposed else reference.conv
        return function(x, weight, bias, **self.options)

    def run(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
        o = self.options
        front, behind = ([pair[i] for pair in o["padding"]] for i in (0, 1))
        if self.transposed:
            assert front == behind
            return _core.convolution_transposed(
                x, weight, bias, o["stride"], front, o["output_padding"], o["dilation"], self.groups, relu
            )
        return _core.convolution(x, weight, bias, o["stride"], front, behind, o["dilation"], self.groups, relu)

    def gradients(self, x: Array, weight: Array, dy: Array) -> tuple[Array, Array]:
        """dx and dweight in float64: y is linear in each, so each is the transpose of a linear map, tap by tap."""
        function = reference.conv_transpose_gradients if self.transposed else reference.conv_gradients
        dx, dweight = function(x, weight, dy, **self.options)
        return dx, dweight


def in_format(array: Array, channels_last: bool) -> Tensor:
    """The array as a tensor of its own, channels-last if asked for and if there is such a format."""
    t = dd2424.from_numpy(np.array(array, order="C"))
    if not channels_last or array.ndim not in (4, 5):
        return t
    return t.contiguous(memory_format=dd2424.channels_last if array.ndim == 4 else dd2424.channels_last_3d)


def check_all_passes(
    problem: Problem,
    rng: np.random.Generator,
    dtype: Any = np.float32,
    formats: tuple[bool, bool, bool] = (False, False, False),
    roundings: float = 4,
) -> None:
    """y, dx, dweight and dbias are right, for x, weight and dy in the formats given (True: channels-last).

    An error is measured by the sum of the absolute terms: a sum of k terms in float32 may be off by k roundings of it,
    and is off by far less.
    """
    x, weight, bias = problem.draw(rng, dtype)
    leaves = [in_format(a, last).requires_grad_() for a, last in zip((x, weight), formats, strict=False)]
    b = dd2424.from_numpy(bias).requires_grad_()
    y = problem.run(*leaves, b)
    sizes = [np.abs(a.astype(np.float64)) for a in (x, weight, bias)]
    assert_accurate(y, problem.exact(x, weight, bias), roundings, scale=problem.exact(*sizes))
    dy = rng.standard_normal(y.shape).astype(dtype)
    y.backward(in_format(dy, formats[2]))
    expected = problem.gradients(x, weight, dy)
    scales = problem.gradients(sizes[0], sizes[1], np.abs(dy.astype(np.float64)))
    for leaf, exact, scale in zip(leaves, expected, scales, strict=True):
        assert_accurate(leaf.grad, exact, roundings, scale=scale)
    axes = (0, *range(2, dy.ndim))
    wide = dy.astype(np.float64)
    assert_accurate(b.grad, wide.sum(axes), roundings, scale=np.abs(wide).sum(axes))
