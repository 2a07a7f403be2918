"""First and second derivatives of every family against finite differences in float64, at every ISA level."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import dd2424
from dd2424.autograd import gradcheck, gradgradcheck
from dd2424.nn import functional as F

Tensors = tuple[dd2424.Tensor, ...]


@dataclass(frozen=True)
class Derivative:
    """A function of tensors of these shapes, away from its kinks."""

    name: str
    function: Callable[..., dd2424.Tensor]
    shapes: tuple[tuple[int, ...], ...]

    def wrong(self, rng: np.random.Generator) -> list[str]:
        """Which of the two derivatives is wrong."""
        drawn = [np.sign(v := rng.standard_normal(shape)) * (0.1 + np.abs(v)) for shape in self.shapes]
        inputs = [dd2424.from_numpy(np.asarray(v)).requires_grad_() for v in drawn]
        checks: dict[str, Callable[..., Any]] = {"first": gradcheck, "second": gradgradcheck}
        return [order for order, check in checks.items() if not check(self.function, inputs, raise_exception=False)]


_LABELS = [1, 0, 2, 1]
_UNARY = ("exp", "tanh", "sigmoid", "sin", "square", "relu", "erf", "log1p_of_square")
_ACTIVATIONS = ("gelu", "silu", "softplus", "mish", "elu", "leaky_relu", "logsigmoid", "hardswish", "softsign")


def derivatives() -> Iterator[Derivative]:
    """One for each kernel with a gradient of its own."""
    for name in _UNARY:
        yield Derivative(name, _unary(name), ((3, 5),))
    for name in _ACTIVATIONS:
        yield Derivative(name, getattr(F, name), ((3, 5),))
    for name in ("add", "sub", "mul", "div", "maximum", "atan2"):
        yield Derivative(f"{name}, broadcast", getattr(dd2424, name), ((3, 5), (5,)))
    for name in ("sum", "mean", "var", "logsumexp", "cumsum"):
        yield Derivative(name, lambda x, n=name: getattr(dd2424, n)(x, 1), ((3, 5),))
    yield Derivative("matmul", dd2424.matmul, ((2, 3, 4), (4, 5)))
    yield Derivative("linear with tanh", lambda x, w, b: F.linear(x, w, b, activation="tanh"), ((3, 4), (5, 4), (5,)))
    yield Derivative("linear with gelu", lambda x, w, b: F.linear(x, w, b, activation="gelu"), ((3, 4), (5, 4), (5,)))
    for name in ("glu", "swiglu", "geglu"):
        yield Derivative(name, getattr(F, name), ((3, 4),))
    yield Derivative("softmax", lambda x: F.softmax(x, 1), ((3, 5),))
    yield Derivative("cross_entropy", lambda x: F.cross_entropy(x, dd2424.tensor(_LABELS)), ((4, 3),))
    yield Derivative("batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, True), ((6, 3), (3,), (3,)))
    yield Derivative("layer_norm", lambda x, w, b: F.layer_norm(x, [5], w, b), ((3, 5), (5,), (5,)))
    yield Derivative("attention", F.scaled_dot_product_attention, ((2, 3, 2), (2, 4, 2), (2, 4, 3)))
    yield Derivative(
        "attention, causal with a mask",
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, is_causal=True),
        ((1, 3, 2), (1, 3, 2), (1, 3, 2), (3, 3)),
    )
    yield Derivative(
        "attention, heads in groups, in a window",
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True, window=2),
        ((1, 4, 3, 2), (1, 2, 3, 2), (1, 2, 3, 2)),
    )
    yield Derivative("packed_attention", lambda x: F.packed_attention(x, is_causal=True), ((1, 3, 3, 2, 2),))
    yield Derivative("apply_rotary", lambda x: F.apply_rotary(x, F.rotary_angles(3, 4).double()), ((2, 3, 4),))
    yield Derivative("rms_norm", lambda x, w: F.rms_norm(x, [5], w), ((3, 5), (5,)))
    labels = dd2424.tensor(_LABELS)
    yield Derivative("linear_cross_entropy", lambda x, w: F.linear_cross_entropy(x, w, labels), ((4, 3), (5, 3)))
    yield Derivative("embedding", lambda w: F.embedding(labels, w), ((3, 2),))
    yield Derivative("embedding_bag", lambda w: F.embedding_bag(labels, w, dd2424.tensor([0, 3])), ((3, 2),))
    yield Derivative("layer_norm of a sum", _norm_of_sum, ((3, 5), (3, 5), (5,), (5,)))
    yield Derivative("conv2d", lambda x, w, b: F.conv2d(x, w, b, 2, 1), ((2, 3, 5, 4), (4, 3, 3, 3), (4,)))
    yield Derivative("conv2d, groups", lambda x, w: F.conv2d(x, w, None, 1, 1, 2, 2), ((1, 4, 5, 4), (4, 2, 3, 3)))
    yield Derivative(
        "conv_transpose2d", lambda x, w: F.conv_transpose2d(x, w, None, 2, 1, 1), ((1, 3, 3, 4), (3, 2, 3, 3))
    )
    yield Derivative("max_pool2d", lambda x: F.max_pool2d(x, 2), ((1, 2, 4, 6),))
    yield Derivative("avg_pool2d", lambda x: F.avg_pool2d(x, 3, 2, 1), ((1, 2, 5, 6),))
    for name, gates in (("rnn_tanh", 1), ("gru", 3), ("lstm", 4)):
        shapes = ((3, 2, 3), (2 * gates, 3), (2 * gates, 2), (2 * gates,), (2 * gates,))
        yield Derivative(name, lambda x, *w, n=name: getattr(dd2424, n)(x, None, w)[0], shapes)
    yield Derivative(
        "lstm with projections",
        lambda x, *w: dd2424.lstm(x, None, w)[0],
        ((3, 2, 3), (12, 3), (12, 2), (12,), (12,), (2, 3)),
    )
    yield Derivative("index_select", lambda x: dd2424.index_select(x, 0, dd2424.tensor(_LABELS)), ((3, 2),))


def _norm_of_sum(x: dd2424.Tensor, residual: dd2424.Tensor, w: dd2424.Tensor, b: dd2424.Tensor) -> dd2424.Tensor:
    norm, total = F.add_layer_norm(x, residual, [5], w, b)
    return norm * total


def _unary(name: str) -> Callable[[dd2424.Tensor], dd2424.Tensor]:
    if name == "log1p_of_square":
        return lambda x: dd2424.log1p(x.square())
    function: Callable[[dd2424.Tensor], dd2424.Tensor] = getattr(dd2424, name)
    return function
