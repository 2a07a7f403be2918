"""Recurrent layers over whole sequences, and their single steps.

The layers take `params` layer by layer and direction by direction: weight_ih (G * H, I), weight_hh (G * H, H), with
biases bias_ih and bias_hh (G * H,) and, of an LSTM with projections, weight_hr (P, H). With `batch_sizes` the input is
packed: step after step, the longer sequences first.
"""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import _core
from dd2424._core import Tensor

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"]


def rnn_tanh(
    input: Tensor,
    hx: Tensor | None,
    params: Sequence[Tensor],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Elman's network: the outputs of the last layer at every step, and every layer's last state.

        h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)

    Shapes: input (T, B, I), (B, T, I) with batch_first, or packed (rows, I); hx (L * D, B, H), D the directions;
    output as input with D * H features, and (L * D, B, H).
    Raises: RuntimeError where sizes do not fit, ValueError where dtypes differ.
    Source: Elman, "Finding structure in time", Cognitive Science 14, 1990.
    """
    y, h = _core.rnn_tanh(input, hx, None, params, has_biases, num_layers, dropout, train, bidirectional, batch_first,
                          batch_sizes)  # fmt: skip
    return y, h


def rnn_relu(
    input: Tensor,
    hx: Tensor | None,
    params: Sequence[Tensor],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As `rnn_tanh`, with max(., 0) in place of tanh.

    Source: Le, Jaitly and Hinton, "Initialize recurrent networks of rectified linear units", arXiv:1504.00941.
    """
    y, h = _core.rnn_relu(input, hx, None, params, has_biases, num_layers, dropout, train, bidirectional, batch_first,
                          batch_sizes)  # fmt: skip
    return y, h


def gru(
    input: Tensor,
    hx: Tensor | None,
    params: Sequence[Tensor],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A network of gated units; the gates' weights stand in the order r, z, n.

        r, z = sigmoid(W_i x_t + b_i + W_h h_(t-1) + b_h), each with weights of its own
        n = tanh(W_in x_t + b_in + r * (W_hn h_(t-1) + b_hn))
        h_t = (1 - z) * n + z * h_(t-1)

    Shapes and errors: as `rnn_tanh`, with 3 * H rows of weights.
    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", arXiv:1406.1078.
    """
    y, h = _core.gru(input, hx, None, params, has_biases, num_layers, dropout, train, bidirectional, batch_first,
                     batch_sizes)  # fmt: skip
    return y, h


def lstm(
    input: Tensor,
    hx: Sequence[Tensor] | None,
    params: Sequence[Tensor],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """A network with long short-term memory; the gates' weights stand in the order i, f, g, o.

        i, f, o = sigmoid(W_i x_t + b_i + W_h h_(t-1) + b_h), each with weights of its own; g likewise, with tanh
        c_t = f * c_(t-1) + i * g
        h_t = o * tanh(c_t), and W_hr times that with projections

    Shapes and errors: as `rnn_tanh`, with 4 * H rows of weights and hx a pair of h (L * D, B, H or P) and c.
    Source: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997.
    """
    h, c = (None, None) if hx is None else hx
    y, hn, cn = _core.lstm(input, h, c, params, has_biases, num_layers, dropout, train, bidirectional, batch_first,
                           batch_sizes)  # fmt: skip
    return y, hn, cn


def rnn_tanh_cell(
    input: Tensor,
    hx: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of `rnn_tanh`. Shapes: input (B, I) or (I,), hx (B, H) or (H,); output as hx."""
    return _core.rnn_tanh_cell(input, hx, None, w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(
    input: Tensor,
    hx: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of `rnn_relu`. Shapes: as `rnn_tanh_cell`."""
    return _core.rnn_relu_cell(input, hx, None, w_ih, w_hh, b_ih, b_hh)[0]


def gru_cell(
    input: Tensor,
    hx: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of `gru`. Shapes: as `rnn_tanh_cell`."""
    return _core.gru_cell(input, hx, None, w_ih, w_hh, b_ih, b_hh)[0]


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor] | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of `lstm`, from the pair (h, c) to the next. Shapes: as `rnn_tanh_cell`."""
    h, c = (None, None) if hx is None else hx
    new_h, new_c = _core.lstm_cell(input, h, c, w_ih, w_hh, b_ih, b_hh)
    return new_h, new_c
