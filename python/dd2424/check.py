"""`dd2424 check`: every kernel on this machine, at each ISA level it has, against NumPy in float64.

An error is counted in ULPs: units of the last place, of the type computed in, of the exact result, or where
a result is a sum, of the sum of its absolute terms. The references are short on purpose.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

import dd2424
from dd2424.nn import functional as F

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Check:
    """One kernel on one input: `run` at each ISA level, compared with `expected` on the scale of `scale`."""

    name: str
    run: Callable[..., dd2424.Tensor]
    expected: Array
    limit: float  # ULPs
    scale: Array | float = 0.0  # an ULP is that of max(|expected|, scale)

    def error(self) -> float:
        """The greatest error in ULPs; infinite where NaN or infinity is not where it should be."""
        result = self.run().detach()
        epsilon = 2.0**-8 if result.dtype == dd2424.bfloat16 else float(np.finfo(result.numpy().dtype).eps)
        actual = np.asarray(result.numpy(), np.float64)
        if actual.shape != self.expected.shape:
            return math.inf
        same = (actual == self.expected) | (np.isnan(actual) & np.isnan(self.expected))
        if not np.isfinite(np.where(same, 0.0, actual - self.expected)).all():
            return math.inf
        size = np.maximum(np.maximum(np.abs(self.expected), self.scale), 2.0**-126)
        ulp = 2.0 ** np.floor(np.log2(np.where(np.isfinite(size), size, 1.0))) * epsilon
        return float(np.max(np.where(same, 0.0, np.abs(actual - self.expected)) / ulp, initial=0.0))


def main() -> int:
    """Print the table; 1 if any kernel is beyond its limit, else 0."""
    levels = list(dd2424.supported_isas())
    before = dd2424.get_isa()
    checks = list(all_checks(np.random.default_rng(0)))
    width = max(len(check.name) for check in checks)
    print("largest error in ULPs against NumPy float64, by ISA level")
    print(f"{'kernel':<{width}}  {'limit':>7}  " + "  ".join(f"{level:>11}" for level in levels))
    failures = 0
    try:
        for check in checks:
            errors = []
            for level in levels:
                dd2424.set_isa(level)
                errors.append(check.error())
            is_bad = max(errors) > check.limit
            failures += is_bad
            cells = "  ".join(f"{error:11.2f}" for error in errors)
            print(f"{check.name:<{width}}  {check.limit:7.1f}  {cells}{'  FAIL' if is_bad else ''}")
    finally:
        dd2424.set_isa(before)
    verdict = f"{failures} of {len(checks)} checks FAILED" if failures else f"all {len(checks)} checks passed"
    print(f"{verdict} at {len(levels)} levels ({', '.join(levels)})")
    return 1 if failures else 0


def all_checks(rng: np.random.Generator) -> Iterator[Check]:
    """The checks of every family. Sizes are odd, so that vector tails are reached, and past one thread's share."""
    yield from _unary(rng)
    yield from _unary_gradients(rng)
    yield from _binary(rng)
    yield from _reductions(rng)
    yield from _products(rng)
    yield from _losses(rng)
    yield from _normalisation(rng)
    yield from _copies(rng)
    yield from _updates(rng)


def _tensor(array: Array, requires_grad: bool = False) -> dd2424.Tensor:
    return dd2424.from_numpy(np.array(array)).requires_grad_(requires_grad)


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
        yield Check(name, lambda f=function, x=x: f(_tensor(x)), reference(x.astype(np.float64)), limit)
    x = rng.uniform(-9, 9, 4099).astype(np.float32)
    for name, reference in _ACTIVATIONS.items():
        function = getattr(F, name)
        yield Check(name, lambda f=function: f(_tensor(x)), reference(x.astype(np.float64)), 8, scale=1e-3)


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
        yield Check(f"{name} backward", lambda f=function: _gradient(lambda t: f(t).sum(), x), expected, 8, scale=1.0)


def _gradient(function: Callable[[dd2424.Tensor], dd2424.Tensor], x: Array) -> dd2424.Tensor:
    tensor = _tensor(x, requires_grad=True)
    function(tensor).backward()
    assert tensor.grad is not None
    return tensor.grad


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
        yield Check(name, lambda f=function: f(_tensor(x), _tensor(y)), expected, limit)
        row = reference(x.astype(np.float64), y[0].astype(np.float64))
        yield Check(f"{name}, transposed + row", lambda f=function: f(_tensor(x.T).T, _tensor(y[0])), row, limit)


def _reductions(rng: np.random.Generator) -> Iterator[Check]:
    x = rng.standard_normal((257, 1031)).astype(np.float32)
    wide = x.astype(np.float64)
    for dim in (0, 1):
        terms = np.abs(wide).sum(dim)
        yield Check(f"sum dim={dim}", lambda d=dim: _tensor(x).sum(d), wide.sum(dim), 4, scale=terms)
        yield Check(f"mean dim={dim}", lambda d=dim: _tensor(x).mean(d), wide.mean(dim), 4, scale=terms / x.shape[dim])
        yield Check(f"var dim={dim}", lambda d=dim: _tensor(x).var(d), wide.var(dim, ddof=1), 8)
        yield Check(f"amax dim={dim}", lambda d=dim: _tensor(x).amax(d), wide.max(dim), 0)
        yield Check(f"argmax dim={dim}", lambda d=dim: _tensor(x).argmax(d).float(), wide.argmax(dim) * 1.0, 0)
        exact = np.log(np.exp(wide).sum(dim))
        yield Check(f"logsumexp dim={dim}", lambda d=dim: dd2424.logsumexp(_tensor(x), d), exact, 4)
    sums = np.abs(wide).cumsum(1)
    yield Check("cumsum", lambda: dd2424.cumsum(_tensor(x), 1), wide.cumsum(1), 8, scale=sums)
    offset: Array = (x + np.float32(1e4)).astype(np.float32)
    exact = offset.astype(np.float64).var(1, ddof=1)
    yield Check("var dim=1, offset 1e4", lambda: _tensor(offset).var(1), exact, 8)


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
            yield Check(name, lambda x=x, y=y: _tensor(x) @ _tensor(y), expected, limit, scale=scale)
            run = lambda x=x, y=y: _tensor(x.T).T @ _tensor(y.T).T
            yield Check(f"{name}, both transposed", run, expected, limit, scale=scale)
    rows, weight, bias = (rng.standard_normal(s, np.float32) for s in ((33, 65), (17, 65), (17,)))
    linear = rows.astype(np.float64) @ weight.T.astype(np.float64) + bias
    size = np.abs(rows).astype(np.float64) @ np.abs(weight).T + np.abs(bias)
    product = lambda: F.linear(_tensor(rows), _tensor(weight), _tensor(bias))
    yield Check("linear", product, linear, 16, scale=size)


def _losses(rng: np.random.Generator) -> Iterator[Check]:
    x = (3 * rng.standard_normal((131, 10))).astype(np.float32)
    labels = rng.integers(0, 10, 131)
    wide = x.astype(np.float64) - x.max(1, keepdims=True)
    log_p = wide - np.log(np.exp(wide).sum(1, keepdims=True))
    p, right = np.exp(log_p), np.eye(10)[labels]
    yield Check("softmax", lambda: F.softmax(_tensor(x), 1), p, 8, scale=1e-3)
    yield Check("log_softmax", lambda: F.log_softmax(_tensor(x), 1), log_p, 4, scale=1.0)
    yield Check("cross_entropy", lambda: F.cross_entropy(_tensor(x), _tensor(labels)), -log_p[right == 1].mean(), 4)
    run = lambda: _gradient(lambda t: F.cross_entropy(t, _tensor(labels)), x)
    yield Check("cross_entropy backward", run, (p - right) / 131, 4, scale=1 / 131)


def _normalisation(rng: np.random.Generator) -> Iterator[Check]:
    x, upstream = rng.standard_normal((2, 100, 53)).astype(np.float32)
    weight, bias = rng.uniform(0.5, 1.5, (2, 53)).astype(np.float32)
    wide = x.astype(np.float64)
    rstd = 1 / np.sqrt(wide.var(0) + 1e-5)
    centred = (wide - wide.mean(0)) * rstd

    def run(t: dd2424.Tensor) -> dd2424.Tensor:
        return F.batch_norm(t, None, None, _tensor(weight), _tensor(bias), training=True)

    yield Check("batch_norm", lambda: run(_tensor(x)), centred * weight + bias, 8, scale=1.0)
    dy = upstream.astype(np.float64) * weight
    dx = rstd * (dy - dy.mean(0) - centred * (dy * centred).mean(0))
    yield Check(
        "batch_norm backward", lambda: _gradient(lambda t: (run(t) * _tensor(upstream)).sum(), x), dx, 16, scale=1.0
    )


def _copies(rng: np.random.Generator) -> Iterator[Check]:
    x = rng.standard_normal((61, 67)).astype(np.float32)
    rounded = x.astype(ml_dtypes.bfloat16).astype(np.float64)
    yield Check("cast to bfloat16", lambda: _tensor(x).to(dd2424.bfloat16), rounded, 0)
    yield Check("transposing copy", lambda: _tensor(x).T.contiguous(), x.T.astype(np.float64), 0)
    rows = rng.integers(0, 61, 200)
    yield Check(
        "index_select", lambda: dd2424.index_select(_tensor(x), 0, _tensor(rows)), x[rows].astype(np.float64), 0
    )
    yield Check("cat", lambda: dd2424.cat([_tensor(x), _tensor(x)], 1), np.concatenate([x, x], 1).astype(np.float64), 0)


def _updates(rng: np.random.Generator) -> Iterator[Check]:
    w, g = rng.standard_normal((2, 1031)).astype(np.float32)

    def run() -> dd2424.Tensor:
        parameter = dd2424.nn.Parameter(_tensor(w))
        optimizer = dd2424.optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
        for _ in range(2):
            parameter.grad = _tensor(g)
            optimizer.step()
        return parameter

    value, velocity = w.astype(np.float64), np.zeros(len(w))
    for _ in range(2):
        gradient = g + 0.01 * value
        velocity = 0.9 * velocity + gradient
        value = value - 0.1 * (gradient + 0.9 * velocity)
    yield Check("SGD, two Nesterov steps", run, value, 8, scale=1.0)


if __name__ == "__main__":
    sys.exit(main())
