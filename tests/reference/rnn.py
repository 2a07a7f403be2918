"""Recurrent networks in float64, one sequence at a time, one step at a time, forward and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def step(mode: str, x: Array, h: Array, c: Array, w: list[Array]) -> tuple[Array, Array]:
    """The next h and c; w: weight_ih, weight_hh, bias_ih, bias_hh and, with projections, weight_hr."""
    from_x, from_h = (np.split(m, GATES[mode]) for m in (w[0] @ x + w[2], w[1] @ h + w[3]))
    sums = [a + b for a, b in zip(from_x, from_h, strict=True)]
    if mode == "lstm":
        i, f, g, o = sigmoid(sums[0]), sigmoid(sums[1]), np.tanh(sums[2]), sigmoid(sums[3])
        c = f * c + i * g
        h = o * np.tanh(c)
        return (w[4] @ h if len(w) > 4 else h), c
    if mode == "gru":
        r, z = sigmoid(sums[0]), sigmoid(sums[1])
        n = np.tanh(from_x[2] + r * from_h[2])
        return (1 - z) * n + z * h, c
    return (np.tanh(sums[0]) if mode == "rnn_tanh" else np.maximum(sums[0], 0)), c


def step_back(
    mode: str, x: Array, h: Array, c: Array, w: list[Array], dh: Array, dc: Array
) -> tuple[Array, Array, Array, list[Array]]:
    """dx, dh and dc of the state before, and the gradients of w, from dh and dc of the state after."""
    from_x, from_h = (np.split(m, GATES[mode]) for m in (w[0] @ x + w[2], w[1] @ h + w[3]))
    sums = [a + b for a, b in zip(from_x, from_h, strict=True)]
    kept, of_projection = np.zeros_like(h), []
    if mode == "lstm":
        i, f, g, o = sigmoid(sums[0]), sigmoid(sums[1]), np.tanh(sums[2]), sigmoid(sums[3])
        t = np.tanh(f * c + i * g)
        if len(w) > 4:
            of_projection, dh = [np.outer(dh, o * t)], w[4].T @ dh
        dc = dc + dh * o * (1 - t**2)
        dx_sums = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), dh * t * o * (1 - o)]
        dh_sums, dc = dx_sums, dc * f
    elif mode == "gru":
        r, z = sigmoid(sums[0]), sigmoid(sums[1])
        n = np.tanh(from_x[2] + r * from_h[2])
        dn = dh * (1 - z) * (1 - n**2)
        dx_sums = [dn * from_h[2] * r * (1 - r), dh * (h - n) * z * (1 - z), dn]
        dh_sums, kept = [*dx_sums[:2], dn * r], dh * z
    else:
        y = np.tanh(sums[0])
        dx_sums = dh_sums = [dh * (1 - y**2) if mode == "rnn_tanh" else dh * (sums[0] > 0)]
    a, b = np.concatenate(dx_sums), np.concatenate(dh_sums)
    return w[0].T @ a, w[1].T @ b + kept, dc, [np.outer(a, x), np.outer(b, h), a, b, *of_projection]


def layer(mode: str, x: list[Array], h: Array, c: Array, w: list[Array], reverse: bool = False) -> Any:
    """y of each sequence of x (T_i, I), and the last h and c (B, H); h and c (B, H)."""
    ys, last = [], []
    for sequence, h_now, c_now in zip(x, h, c, strict=True):
        y = np.zeros((len(sequence), len(h_now)))
        for t in reversed(range(len(sequence))) if reverse else range(len(sequence)):
            h_now, c_now = step(mode, sequence[t], h_now, c_now, w)
            y[t] = h_now
        ys.append(y)
        last.append((h_now, c_now))
    return ys, np.array([h for h, _ in last]), np.array([c for _, c in last])


def gradients(
    mode: str, x: list[Array], h: Array, c: Array, w: list[Array], dy: list[Array], dhn: Array, dcn: Array,
    reverse: bool = False,
) -> Any:  # fmt: skip
    """dx of each sequence, dh, dc and those of w."""
    dxs, dh0, dc0 = [], [], []
    dw = [np.zeros_like(m) for m in w]
    for i, sequence in enumerate(x):
        steps = list(reversed(range(len(sequence))) if reverse else range(len(sequence)))
        states = [(h[i], c[i])]
        for t in steps:
            states.append(step(mode, sequence[t], *states[-1], w))
        dx, dh, dc = np.zeros_like(sequence), dhn[i], dcn[i]
        for t, (h_now, c_now) in zip(reversed(steps), reversed(states[:-1]), strict=True):
            dx[t], dh, dc, of_step = step_back(mode, sequence[t], h_now, c_now, w, dh + dy[i][t], dc)
            dw = [total + part for total, part in zip(dw, of_step, strict=True)]
        dxs.append(dx)
        dh0.append(dh)
        dc0.append(dc)
    return dxs, np.array(dh0), np.array(dc0), dw
