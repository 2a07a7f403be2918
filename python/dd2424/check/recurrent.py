"""The checks of recurrent layers: step by step, each sequence for itself, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import dd2424
from dd2424.check.base import Array, Check, tensor

_STEPS, _BATCH, _INPUTS, _HIDDEN, _PROJECTED = 7, 17, 13, 37, 19
_Step = Callable[[list[Array], list[Array], Array, Array], tuple[Array, Array]]


def recurrent_checks(rng: np.random.Generator) -> Iterator[Check]:
    """Outputs and, by central differences along one direction, the gradients of all inputs and weights together."""
    layers: list[tuple[str, int, _Step, bool]] = [
        ("rnn_tanh", 1, _plain, False), ("gru", 3, _gru, False), ("lstm", 4, _lstm, False), ("lstm", 4, _lstm, True),
    ]  # fmt: skip
    for name, gates, step, projects in layers:
        sums, outputs = gates * _HIDDEN, _PROJECTED if projects else _HIDDEN
        shapes = [(_STEPS, _BATCH, _INPUTS), (sums, _INPUTS), (sums, outputs), (sums,), (sums,)]
        shapes += [(outputs, _HIDDEN)] if projects else []
        x, *w = (rng.uniform(-0.3, 0.3, shape).astype(np.float32) for shape in shapes)
        title = f"{name} with projections" if projects else name
        run = lambda name=name, x=x, w=w: _output(name, tensor(x), [tensor(a) for a in w])
        yield Check(title, run, _expected(step, x, w), 16, scale=1.0)
        aim = [rng.uniform(-1, 1, a.shape).astype(np.float32) for a in (x, *w)]
        slope = lambda name=name, x=x, w=w, aim=aim: _slope(name, [x, *w], aim)
        yield Check(f"{title} backward", slope, _expected_slope(step, [x, *w], aim), 64, scale=_scale(aim))


def _output(name: str, x: dd2424.Tensor, w: list[dd2424.Tensor]) -> dd2424.Tensor:
    y: dd2424.Tensor = getattr(dd2424, name)(x, None, w)[0]
    return y


def _slope(name: str, values: list[Array], aim: list[Array]) -> dd2424.Tensor:
    """The derivative of the sum of the outputs along `aim`."""
    leaves = [tensor(a, requires_grad=True) for a in values]
    _output(name, leaves[0], leaves[1:]).sum().backward()
    terms = [(leaf.grad.double() * tensor(a).double()).sum() for leaf, a in zip(leaves, aim, strict=True)
             if leaf.grad is not None]  # fmt: skip
    return dd2424.stack(terms).float()


def _expected_slope(step: _Step, values: list[Array], aim: list[Array]) -> Array:
    h, wide = 1e-5, [a.astype(np.float64) for a in values]

    def total(i: int, distance: float) -> float:
        moved = [v + distance * a if i == k else v for k, (v, a) in enumerate(zip(wide, aim, strict=True))]
        return float(_expected(step, moved[0], moved[1:]).sum())

    return np.array([(total(i, h) - total(i, -h)) / (2 * h) for i in range(len(wide))])


def _scale(aim: list[Array]) -> Array:
    return np.array([float(np.abs(a).sum()) for a in aim])


def _expected(step: _Step, x: Array, w: list[Array]) -> Array:
    x, w = x.astype(np.float64), [a.astype(np.float64) for a in w]
    gates, h, c, outputs = len(w[0]) // _HIDDEN, np.zeros((_BATCH, w[1].shape[1])), np.zeros((_BATCH, _HIDDEN)), []
    for now in x:
        from_x, from_h = (np.split(m, gates, 1) for m in (now @ w[0].T + w[2], h @ w[1].T + w[3]))
        h, c = step(from_x, from_h, h, c)
        h = h @ w[4].T if len(w) > 4 else h
        outputs.append(h)
    return np.stack(outputs)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _plain(x: list[Array], h: list[Array], before: Array, cell: Array) -> tuple[Array, Array]:
    return np.tanh(x[0] + h[0]), cell


def _gru(x: list[Array], h: list[Array], before: Array, cell: Array) -> tuple[Array, Array]:
    r, z = (_sigmoid(x[i] + h[i]) for i in (0, 1))
    return (1 - z) * np.tanh(x[2] + r * h[2]) + z * before, cell


def _lstm(x: list[Array], h: list[Array], before: Array, cell: Array) -> tuple[Array, Array]:
    i, f, g, o = (a + b for a, b in zip(x, h, strict=True))
    cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(cell), cell
