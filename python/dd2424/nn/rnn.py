"""Recurrent layers over sequences, padded or packed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from dd2424 import _core, functional as F
from dd2424._core import Tensor, dtype
from dd2424.nn import init
from dd2424.nn.module import Module
from dd2424.nn.parameter import Parameter
from dd2424.nn.utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

_OPERATIONS: dict[str, tuple[int, Callable[..., Any]]] = {  # gates with weights of their own, and what runs
    "RNN_TANH": (1, _core.rnn_tanh),
    "RNN_RELU": (1, _core.rnn_relu),
    "GRU": (3, _core.gru),
    "LSTM": (4, _core.lstm),
}
_Steps = Tensor | PackedSequence


class RNNBase(Module):
    """What RNN, LSTM and GRU share: parameters `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0` (and
    `weight_hr_l0` for projections), of the backward direction with `_reverse` behind, and so on for each layer; all
    drawn from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        if mode not in _OPERATIONS:
            raise ValueError(f"RNNBase: mode must be one of {', '.join(_OPERATIONS)}, got {mode!r}")
        self.mode = mode
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.proj_size = proj_size
        self._check_options()
        self.dropout = float(dropout)
        gates, _ = _OPERATIONS[mode]
        self._names: list[list[str]] = []
        for layer in range(num_layers):
            for suffix in ("", "_reverse") if bidirectional else ("",):
                shapes = self._shapes(layer, gates)
                self._names.append([f"{name}_l{layer}{suffix}" for name in shapes])
                for name, shape in zip(self._names[-1], shapes.values(), strict=True):
                    self.register_parameter(name, Parameter(_core.empty(shape, dtype=dtype, device=device)))
        self._flat_weights_names = [name for names in self._names for name in names]
        self.reset_parameters()

    def _shapes(self, layer: int, gates: int) -> dict[str, tuple[int, ...]]:
        features = self.proj_size or self.hidden_size
        inputs = features * (1 + self.bidirectional) if layer else self.input_size
        sums = gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (sums, inputs), "weight_hh": (sums, features)}
        if self.bias:
            shapes.update(bias_ih=(sums,), bias_hh=(sums,))
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes

    def _check_options(self) -> None:
        owner = type(self).__name__
        for name in ("bias", "batch_first"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{owner}: {name} must be a bool, got {getattr(self, name)!r}")
        for name in ("input_size", "hidden_size"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{owner}: {name} must be an int, got {getattr(self, name)!r}")
        for name in ("input_size", "hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{owner}: {name} must be greater than zero, got {getattr(self, name)}")
        p = self.dropout
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
            raise ValueError(f"{owner}: dropout must be a probability, from 0 to 1, got {p!r}")
        if p > 0 and self.num_layers == 1:
            warnings.warn(f"{owner}: dropout={p} acts between layers, and there is one layer", stacklevel=4)
        if not 0 <= self.proj_size < self.hidden_size:
            raise ValueError(f"{owner}: proj_size must be from 0 to below hidden_size {self.hidden_size}, "
                             f"got {self.proj_size}")  # fmt: skip
        if self.proj_size and self.mode != "LSTM":
            raise ValueError(f"{owner}: proj_size must be 0 but for an LSTM, got {self.proj_size}")

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [getattr(self, name) for name in self._flat_weights_names]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, a list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._names]

    def flatten_parameters(self) -> None:
        """Does nothing: parameters need not lie together."""

    def _run(self, input: Tensor, h: Tensor | None, c: Tensor | None, sizes: Tensor | None) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = _OPERATIONS[self.mode][1](
            input, h, c, self._flat_weights, self.bias, self.num_layers, self.dropout, self.training,
            self.bidirectional, self.batch_first, sizes,
        )  # fmt: skip
        return result

    def _forward(self, input: _Steps, states: Sequence[Tensor | None]) -> tuple[_Steps, list[Tensor]]:
        """The output, and the last states. `states` are h and c, or None for zeros."""
        h, c = states
        if isinstance(input, PackedSequence):
            data, sizes, order, places = input
            if order is not None:
                h, c = (t if t is None else F.index_select(t, 1, order) for t in (h, c))
            y, *last = self._run(data, h, c, sizes)
            if places is not None:
                last = [F.index_select(t, 1, places) for t in last]
            return PackedSequence(y, sizes, order, places), last
        if input.ndim == 3 and (h is None or h.ndim == 3) and (c is None or c.ndim == 3):
            y, *last = self._run(input, h, c, None)
            return y, last
        self._check_dims(input, states)
        batch_dim = 0 if self.batch_first else 1
        h, c = (t if t is None else t.unsqueeze(1) for t in (h, c))
        y, *last = self._run(input.unsqueeze(batch_dim), h, c, None)
        return y.squeeze(batch_dim), [t.squeeze(1) for t in last]

    def _check_dims(self, input: Tensor, states: Sequence[Tensor | None]) -> None:
        owner = type(self).__name__
        if input.ndim not in (2, 3):
            raise ValueError(f"{owner}: input must have 2 or 3 dimensions, got {input.ndim}")
        for name, state in zip(("hx", "cx"), states, strict=True):
            if state is not None and state.ndim != input.ndim:
                raise RuntimeError(f"{owner}: {name} must have {input.ndim} dimensions for input "
                                   f"{tuple(input.shape)}, got {tuple(state.shape)}")  # fmt: skip

    def extra_repr(self) -> str:
        options: dict[str, Any] = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0,
                                   "bidirectional": False}  # fmt: skip
        given = [f", {name}={getattr(self, name)}" for name, usual in options.items() if getattr(self, name) != usual]
        return f"{self.input_size}, {self.hidden_size}{''.join(given)}"


class RNN(RNNBase):
    """Elman's network, with tanh or relu.

        h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)

    Shapes: input (T, B, I), (B, T, I) with batch_first, (T, I) or a PackedSequence; hx (D * L, B, H) or (D * L, H), by
    default 0; output as input with D * H features, and the last hx, with L layers in D directions.
    Raises: ValueError for another nonlinearity, other dimensions or dtypes; RuntimeError for other sizes.
    Source: Elman, "Finding structure in time", Cognitive Science 14, 1990.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, 0, device, dtype)  # fmt: skip
        self.nonlinearity = nonlinearity

    def forward(self, input: _Steps, hx: Tensor | None = None) -> tuple[_Steps, Tensor]:
        y, (h,) = self._forward(input, (hx, None))
        return y, h


class _Gated(RNNBase):
    _mode: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(self._mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         proj_size, device, dtype)  # fmt: skip


class GRU(_Gated):
    """A network of gated units.

        r, z = sigmoid(W_i x_t + b_i + W_h h_(t-1) + b_h), each with weights of its own
        n = tanh(W_in x_t + b_in + r * (W_hn h_(t-1) + b_hn))
        h_t = (1 - z) * n + z * h_(t-1)

    Shapes and errors: as `RNN`; proj_size must be 0.
    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", arXiv:1406.1078.
    """

    _mode = "GRU"

    def forward(self, input: _Steps, hx: Tensor | None = None) -> tuple[_Steps, Tensor]:
        y, (h,) = self._forward(input, (hx, None))
        return y, h


class LSTM(_Gated):
    """A network with long short-term memory; proj_size > 0 is how many features h is projected to.

        i, f, o = sigmoid(W_i x_t + b_i + W_h h_(t-1) + b_h), each with weights of its own; g likewise, with tanh
        c_t = f * c_(t-1) + i * g
        h_t = o * tanh(c_t), and W_hr times that with projections

    Shapes and errors: as `RNN`, with hx a pair of h, whose features are those projected, and c.
    Source: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997.
    """

    _mode = "LSTM"

    def forward(self, input: _Steps, hx: Sequence[Tensor] | None = None) -> tuple[_Steps, tuple[Tensor, Tensor]]:
        if hx is not None and (isinstance(hx, Tensor) or len(hx) != 2):
            raise TypeError(f"LSTM: hx must be a pair of h and c, got {type(hx).__name__}")
        y, (h, c) = self._forward(input, (None, None) if hx is None else hx)
        return y, (h, c)
