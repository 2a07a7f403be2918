"""The checks of kernels without images: elementwise, reductions, products, losses, norms, copies, updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

import dd2424
from dd2424.check.base import Array, Check, gradient, tensor
from dd2424.nn import functional as F


def kernel_checks(rng: np.random.Generator) -> Iterator[Check]:
    """Sizes are odd, so that vector tails are reached, and past one thread's share."""
    yield from _unary(rng)
    yield from _unary_gradients(rng)
    yield from _binary(rng)
    yield from _reductions(rng)
    yield from _products(rng)
    yield from _losses(rng)
    yield from _normalisation(rng)
    yield from _attention(rng)
    yield from _gates(rng)
    yield from _copies(rng)
    yield from _orders(rng)
    yield from _tables(rng)
    yield from _updates(rng)
    yield from _empty()


_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])
_lgamma = np.vectorize(math.lgamma, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# name: reference, least and greatest input, limit
_UNARY: dict[str, tuple[Callable[[Array], Array], float, float, float]] = {
    "neg": (np.negative, -9, 9, 0), "abs": (np.abs, -9, 9, 0), "square": (np.square, -9, 9, 0.5),
    "reciprocal": (np.reciprocal, 0.1, 9, 1), "sqrt": (np.sqrt, 0, 9, 0.5), "rsqrt": (lambda x: x**-0.5, 0.1, 9, 2),
    "exp": (np.exp, -80, 80, 2), "exp2": (np.exp2, -100, 100, 2), "expm1": (np.expm1, -9, 9, 3),
    "log": (np.log, 1e-3, 99, 2), "log2": (np.log2, 1e-3, 99, 2), "log10": (np.log10, 1e-3, 99, 2),
    "log1p": (np.log1p, -0.9, 9, 3), "sin": (np.sin, -99, 99, 2), "cos": (np.cos, -99, 99, 2),
    "tan": (np.tan, -1.5, 1.5, 4), "asin": (np.arcsin, -1, 1, 4), "acos": (np.arccos, -1, 1, 4),
    "atan": (np.arctan, -9, 9, 3), "sinh": (np.sinh, -9, 9, 4), "cosh": (np.cosh, -9, 9, 3),
    "tanh": (np.tanh, -9, 9, 3), "asinh": (np.arcsinh, -9, 9, 4), "acosh": (np.arccosh, 1.01, 9, 4),
    "atanh": (np.arctanh, -0.99, 0.99, 4), "erf": (_erf, -4, 4, 4), "erfc": (_erfc, -4, 4, 8),
    "lgamma": (_lgamma, 3, 30, 8), "sigmoid": (_sigmoid, -20, 20, 4), "relu": (lambda x: np.maximum(x, 0), -9, 9, 0),
    "floor": (np.floor, -9, 9, 0), "ceil": (np.ceil, -9, 9, 0), "round": (np.round, -9, 9, 0),
    "trunc": (np.trunc, -9, 9, 0),
}  # fmt: skip

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: 0.5 * x * _erfc(-x / math.sqrt(2)),
    "silu": lambda x: x * _sigmoid(x),
    "softplus": _softplus,
    "logsigmoid": lambda x: -_softplus(-x),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "softsign": lambda x: x / (1 + np.abs(x)),
}


def _unary(rng: np.random.Generator) -> Iterator[Check]:
    for name, (reference, low, high, limit) in _UNARY.items():
        function = getattr(dd2424, name)
        x = rng.uniform(low, high, 4099).astype(np.float32)
        yield Check(name, lambda f=function, x=x: f(tensor(x)), reference(x.astype(np.float64)), limit)
    x = rng.uniform(-9, 9, 4099).astype(np.float32)
    for name, reference in _ACTIVATIONS.items():
        function = getattr(F, name)
        yield Check(name, lambda f=function: f(tensor(x)), reference(x.astype(np.float64)), 8, scale=1e-3)


def _unary_gradients(rng: np.random.Generator) -> Iterator[Check]:
    """Derivatives against central differences in float64, which are exact to far below a float32 ULP of 1."""
    smooth = {name: f for name, f in _ACTIVATIONS.items() if name not in ("leaky_relu", "elu", "hardswish", "softsign")}
    others: dict[str, Callable[[Array], Array]] = {"tanh": np.tanh, "sigmoid": _sigmoid, "exp": np.exp, "sin": np.sin}
    functions = {**others, **smooth}
    x = rng.uniform(-3, 3, 1031).astype(np.float32)
    for name, reference in functions.items():
        wide, h = x.astype(np.float64), 1e-5
        expected = (reference(wide + h) - reference(wide - h)) / (2 * h)
        function = getattr(F, name) if name in _ACTIVATIONS else getattr(dd2424, name)
        yield Check(f"{name} backward", lambda f=function: gradient(lambda t: f(t).sum(), x), expected, 8, scale=1.0)


def _binary(rng: np.random.Generator) -> Iterator[Check]:
    x, y = (rng.uniform(0.1, 9, (67, 61)).astype(np.float32) for _ in range(2))
    references: dict[str, tuple[Callable[[Array, Array], Array], float]] = {
        "add": (np.add, 0.5), "sub": (np.subtract, 0.5), "mul": (np.multiply, 0.5), "div": (np.divide, 0.5),
        "pow": (np.power, 4), "maximum": (np.maximum, 0), "minimum": (np.minimum, 0), "atan2": (np.arctan2, 4),
        "hypot": (np.hypot, 2), "fmod": (np.fmod, 0.5), "remainder": (np.remainder, 0.5),
    }  # fmt: skip
    for name, (reference, limit) in references.items():
        function = getattr(dd2424, name)
        expected = reference(x.astype(np.float64), y.astype(np.float64))
        yield Check(name, lambda f=function: f(tensor(x), tensor(y)), expected, limit)
        row = reference(x.astype(np.float64), y[0].astype(np.float64))
        yield Check(f"{name}, transposed + row", lambda f=function: f(tensor(x.T).T, tensor(y[0])), row, limit)


def _reductions(rng: np.random.Generator) -> Iterator[Check]:
    x = rng.standard_normal((257, 1031)).astype(np.float32)
    wide = x.astype(np.float64)
    for dim in (0, 1):
        terms = np.abs(wide).sum(dim)
        yield Check(f"sum dim={dim}", lambda d=dim: tensor(x).sum(d), wide.sum(dim), 4, scale=terms)
        yield Check(f"mean dim={dim}", lambda d=dim: tensor(x).mean(d), wide.mean(dim), 4, scale=terms / x.shape[dim])
        yield Check(f"var dim={dim}", lambda d=dim: tensor(x).var(d), wide.var(dim, ddof=1), 8)
        yield Check(f"amax dim={dim}", lambda d=dim: tensor(x).amax(d), wide.max(dim), 0)
        yield Check(f"argmax dim={dim}", lambda d=dim: tensor(x).argmax(d).float(), wide.argmax(dim) * 1.0, 0)
        exact = np.log(np.exp(wide).sum(dim))
        yield Check(f"logsumexp dim={dim}", lambda d=dim: dd2424.logsumexp(tensor(x), d), exact, 4)
    sums = np.abs(wide).cumsum(1)
    yield Check("cumsum", lambda: dd2424.cumsum(tensor(x), 1), wide.cumsum(1), 8, scale=sums)
    offset: Array = (x + np.float32(1e4)).astype(np.float32)
    exact = offset.astype(np.float64).var(1, ddof=1)
    yield Check("var dim=1, offset 1e4", lambda: tensor(offset).var(1), exact, 8)


def _products(rng: np.random.Generator) -> Iterator[Check]:
    shapes = ((7, 13, 5), (100, 10, 3072), (100, 50, 3072), (129, 67, 255), (256, 256, 256))
    for m, n, k in shapes:
        a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        for dtype, limit in ((np.float32, 16.0), (np.float64, 32.0), (ml_dtypes.bfloat16, 1.0)):
            x, y = a.astype(dtype), b.astype(dtype)
            exact_type = np.longdouble if dtype is np.float64 else np.float64
            wide_x, wide_y = x.astype(exact_type), y.astype(exact_type)
            expected, scale = (np.asarray(p, np.float64) for p in (wide_x @ wide_y, np.abs(wide_x) @ np.abs(wide_y)))
            name = f"matmul {np.dtype(dtype).name} {m}x{k} {k}x{n}"
            yield Check(name, lambda x=x, y=y: tensor(x) @ tensor(y), expected, limit, scale=scale)
            run = lambda x=x, y=y: tensor(x.T).T @ tensor(y.T).T
            yield Check(f"{name}, both transposed", run, expected, limit, scale=scale)
    rows, weight, bias = (rng.standard_normal(s, np.float32) for s in ((33, 65), (17, 65), (17,)))
    linear = rows.astype(np.float64) @ weight.T.astype(np.float64) + bias
    size = np.abs(rows).astype(np.float64) @ np.abs(weight).T + np.abs(bias)
    product = lambda: F.linear(tensor(rows), tensor(weight), tensor(bias))
    yield Check("linear", product, linear, 16, scale=size)


def _losses(rng: np.random.Generator) -> Iterator[Check]:
    x = (3 * rng.standard_normal((131, 10))).astype(np.float32)
    labels = rng.integers(0, 10, 131)
    wide = x.astype(np.float64) - x.max(1, keepdims=True)
    log_p = wide - np.log(np.exp(wide).sum(1, keepdims=True))
    p, right = np.exp(log_p), np.eye(10)[labels]
    # exp hands on the rounding of its argument: half an ULP for each unit of distance from the largest, here up to 20.
    yield Check("softmax", lambda: F.softmax(tensor(x), 1), p, 12, scale=1e-3)
    # Near 0 it is the logarithm of a sum that was rounded about 1.
    yield Check("log_softmax", lambda: F.log_softmax(tensor(x), 1), log_p, 4, scale=1.0)
    yield Check("cross_entropy", lambda: F.cross_entropy(tensor(x), tensor(labels)), -log_p[right == 1].mean(), 4)
    run = lambda: gradient(lambda t: F.cross_entropy(t, tensor(labels)), x)
    yield Check("cross_entropy backward", run, (p - right) / 131, 4, scale=1 / 131)
    yield from _linear_cross_entropy(rng)


def _linear_cross_entropy(rng: np.random.Generator) -> Iterator[Check]:
    x, weight = rng.standard_normal((131, 7)).astype(np.float32), rng.standard_normal((70, 7)).astype(np.float32)
    labels = rng.integers(0, 70, 131)
    scores = x.astype(np.float64) @ weight.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    slope = (p - np.eye(70)[labels]) / 131

    def run(t: dd2424.Tensor) -> dd2424.Tensor:
        return F.linear_cross_entropy(t, tensor(weight), tensor(labels))

    yield Check("linear_cross_entropy", lambda: run(tensor(x)), -np.log(p[np.arange(131), labels]).mean(), 16)
    scale = np.abs(slope) @ np.abs(weight)
    yield Check("linear_cross_entropy backward", lambda: gradient(run, x), slope @ weight, 64, scale=scale)


def _normalisation(rng: np.random.Generator) -> Iterator[Check]:
    x, upstream = rng.standard_normal((2, 100, 53)).astype(np.float32)
    weight, bias = rng.uniform(0.5, 1.5, (2, 53)).astype(np.float32)
    wide = x.astype(np.float64)
    rstd = 1 / np.sqrt(wide.var(0) + 1e-5)
    centred = (wide - wide.mean(0)) * rstd

    def run(t: dd2424.Tensor) -> dd2424.Tensor:
        return F.batch_norm(t, None, None, tensor(weight), tensor(bias), training=True)

    yield Check("batch_norm", lambda: run(tensor(x)), centred * weight + bias, 8, scale=1.0)
    dy = upstream.astype(np.float64) * weight
    dx = rstd * (dy - dy.mean(0) - centred * (dy * centred).mean(0))
    yield Check(
        "batch_norm backward", lambda: gradient(lambda t: (run(t) * tensor(upstream)).sum(), x), dx, 16, scale=1.0
    )


def _attention(rng: np.random.Generator) -> Iterator[Check]:
    """Plain, causal, masked, and in a window, forward and backward: dq checks the weights, dk and dv the sums over
    queries."""
    q, k, v, dy = rng.standard_normal((4, 2, 3, 67, 19)).astype(np.float32)
    seen, everything = rng.random((67, 67)) > 0.3, np.ones((67, 67), bool)
    variants: list[tuple[str, Array, dict[str, Any]]] = [
        ("plain", everything, {}), ("causal", np.tril(everything), {"is_causal": True}),
        ("masked", seen, {"attn_mask": tensor(seen)}),
        ("in a window", np.tril(everything) & ~np.tril(everything, -9), {"is_causal": True, "window": 9}),
    ]  # fmt: skip
    for name, visible, options in variants:

        def run(i: int, options: dict[str, Any] = options) -> dd2424.Tensor:
            x, y, z = (tensor(array, requires_grad=True) for array in (q, k, v))
            out = F.scaled_dot_product_attention(x, y, z, **options)
            out.backward(tensor(dy))
            result = (out, x.grad, y.grad, z.grad)[i]
            assert result is not None
            return result

        for i, (part, exact) in enumerate(zip(("", " dq", " dk", " dv"), _attended(q, k, v, dy, visible), strict=True)):
            yield Check(f"attention {name}{part}", lambda r=run, i=i: r(i), exact, 24, scale=float(np.abs(exact).max()))


def _attended(q: Array, k: Array, v: Array, dy: Array, visible: Array) -> tuple[Array, ...]:
    """y, dq, dk and dv in float64."""
    q, k, v, dy = (x.astype(np.float64) for x in (q, k, v, dy))
    scale = q.shape[-1] ** -0.5
    p = np.exp(np.where(visible, scale * q @ k.swapaxes(2, 3), -np.inf))
    p /= p.sum(-1, keepdims=True)
    dp = dy @ v.swapaxes(2, 3)
    ds = scale * p * (dp - (dp * p).sum(-1, keepdims=True))
    return p @ v, ds @ k, ds.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ dy


def _gates(rng: np.random.Generator) -> Iterator[Check]:
    x, bias = rng.uniform(-4, 4, (67, 2 * 53)).astype(np.float32), rng.uniform(-1, 1, 53).astype(np.float32)
    a, b = x.astype(np.float64).reshape(67, 2, 53).swapaxes(0, 1)
    gates: dict[str, tuple[Callable[..., dd2424.Tensor], Array]] = {
        "glu": (F.glu, a * _sigmoid(b)), "swiglu": (F.swiglu, a * _sigmoid(a) * b),
        "geglu": (F.geglu, 0.5 * a * _erfc(-a / math.sqrt(2)) * b),
    }  # fmt: skip
    for name, (gate, expected) in gates.items():
        yield Check(name, lambda f=gate: f(tensor(x)), expected, 8, scale=1e-3)
    s = _sigmoid(a)
    dx = np.concatenate([b * s * (1 + a * (1 - s)), a * s], 1)
    yield Check("swiglu backward", lambda: gradient(lambda t: F.swiglu(t).sum(), x), dx, 8, scale=1.0)
    rows, weight = x[:, :53], np.eye(53, dtype=np.float32)
    z = a + bias.astype(np.float64)
    slopes = 0.5 * _erfc(-z / math.sqrt(2)) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    run = lambda: gradient(lambda t: F.linear(tensor(rows), tensor(weight), t, "gelu").sum(), bias)
    yield Check("bias of linear with gelu, backward", run, slopes.sum(0), 4, scale=67.0)
    total = a + b
    exact = (total - total.mean(1, keepdims=True)) / np.sqrt(total.var(1, keepdims=True) + 1e-5)
    both = lambda: F.add_layer_norm(tensor(x[:, :53]), tensor(x[:, 53:]), (53,))[0]
    yield Check("layer_norm of a sum", both, exact, 8, scale=2.0)


def _copies(rng: np.random.Generator) -> Iterator[Check]:
    x = rng.standard_normal((61, 67)).astype(np.float32)
    rounded = x.astype(ml_dtypes.bfloat16).astype(np.float64)
    yield Check("cast to bfloat16", lambda: tensor(x).to(dd2424.bfloat16), rounded, 0)
    yield Check("transposing copy", lambda: tensor(x).T.contiguous(), x.T.astype(np.float64), 0)
    rows = rng.integers(0, 61, 200)
    yield Check("index_select", lambda: dd2424.index_select(tensor(x), 0, tensor(rows)), x[rows].astype(np.float64), 0)
    yield Check("cat", lambda: dd2424.cat([tensor(x), tensor(x)], 1), np.concatenate([x, x], 1).astype(np.float64), 0)


def _orders(rng: np.random.Generator) -> Iterator[Check]:
    x = rng.standard_normal((67, 1031)).astype(np.float32)
    wide = x.astype(np.float64)
    for dim in (0, 1):
        yield Check(f"sort dim={dim}", lambda d=dim: dd2424.sort(tensor(x), d).values, np.sort(wide, dim), 0)
        yield Check(f"cummax dim={dim}", lambda d=dim: dd2424.cummax(tensor(x), d).values,
                    np.maximum.accumulate(wide, dim), 0)  # fmt: skip
    order = np.argsort(-wide, 1, kind="stable")
    yield Check("argsort", lambda: dd2424.argsort(tensor(x), 1, True).double(), order * 1.0, 0)
    yield Check("topk", lambda: dd2424.topk(tensor(x), 7).values, -np.sort(-wide, 1)[:, :7], 0)
    yield Check("median", lambda: dd2424.median(tensor(x), 1).values, np.sort(wide, 1)[:, 515], 0)
    edges = np.sort(x[0])
    places = np.searchsorted(edges, x).astype(np.float64)
    yield Check("searchsorted", lambda: dd2424.searchsorted(tensor(edges), tensor(x)).double(), places, 0)


def _tables(rng: np.random.Generator) -> Iterator[Check]:
    table, dy = rng.standard_normal((61, 67)).astype(np.float32), rng.standard_normal((400, 67)).astype(np.float32)
    rows, starts = rng.integers(0, 61, 400), np.arange(0, 400, 8)
    exact, size = np.zeros((2, 61, 67))
    np.add.at(exact, rows, dy.astype(np.float64))
    np.add.at(size, rows, np.abs(dy))

    def run(t: dd2424.Tensor) -> dd2424.Tensor:
        return (F.embedding(tensor(rows), t) * tensor(dy)).sum()

    yield Check("embedding backward", lambda: gradient(run, table), exact, 4, scale=size)
    groups = table.astype(np.float64)[rows].reshape(50, 8, 67)
    bags = lambda: F.embedding_bag(tensor(rows), tensor(table), tensor(starts), mode="sum")
    yield Check("embedding_bag", bags, groups.sum(1), 4, scale=np.abs(groups).sum(1))


def _updates(rng: np.random.Generator) -> Iterator[Check]:
    w, g = rng.standard_normal((2, 1031)).astype(np.float32)

    def run() -> dd2424.Tensor:
        parameter = dd2424.nn.Parameter(tensor(w))
        optimizer = dd2424.optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
        for _ in range(2):
            parameter.grad = tensor(g)
            optimizer.step()
        return parameter

    value, velocity = w.astype(np.float64), np.zeros(len(w))
    for _ in range(2):
        gradient = g + 0.01 * value
        velocity = 0.9 * velocity + gradient
        value = value - 0.1 * (gradient + 0.9 * velocity)
    yield Check("SGD, two Nesterov steps", run, value, 8, scale=1.0)


def _empty() -> Iterator[Check]:
    """Nothing in, and what the mathematics says out: an empty result, the neutral element, the bias."""
    none, bias = np.zeros((0, 3), np.float32), np.arange(4, dtype=np.float32)
    weight = np.zeros((4, 0), np.float32)
    nothing: dict[str, tuple[Callable[[], dd2424.Tensor], Array]] = {
        "exp": (lambda: dd2424.exp(tensor(none)), np.zeros((0, 3))),
        "sum dim=0": (lambda: tensor(none).sum(0), np.zeros(3)),
        "matmul over nothing": (lambda: tensor(weight) @ tensor(weight.T), np.zeros((4, 4))),
        "linear of no features": (
            lambda: F.linear(tensor(np.zeros((2, 0), np.float32)), tensor(weight), tensor(bias)),
            np.stack([bias, bias]).astype(np.float64),
        ),
        "softmax": (lambda: F.softmax(tensor(none), 1), np.zeros((0, 3))),
        "cat": (lambda: dd2424.cat([tensor(none), tensor(none)], 0), np.zeros((0, 3))),
    }
    for name, (run, expected) in nothing.items():
        yield Check(f"{name}, empty", run, expected, 0)
