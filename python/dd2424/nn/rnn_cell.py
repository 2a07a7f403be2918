"""Single steps of recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dd2424 import _core, functional as F
from dd2424._core import Tensor, dtype
from dd2424.nn import init
from dd2424.nn.module import Module
from dd2424.nn.parameter import Parameter

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """What the cells share: weight_ih, weight_hh, bias_ih and bias_hh, from U(-1/sqrt(H), 1/sqrt(H))."""

    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        sums = num_chunks * hidden_size
        for name, shape in (("weight_ih", (sums, input_size)), ("weight_hh", (sums, hidden_size)),
                            ("bias_ih", (sums,)), ("bias_hh", (sums,))):  # fmt: skip
            is_there = bias or len(shape) > 1
            values = _core.empty(shape, dtype=dtype, device=device) if is_there else None
            self.register_parameter(name, None if values is None else Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _check(self, input: Tensor, *states: Tensor | None) -> None:
        for name, t in zip(("input", "hx", "cx"), (input, *states), strict=False):
            if t is not None and t.ndim not in (1, 2):
                raise ValueError(f"{type(self).__name__}: {name} must have 1 or 2 dimensions, got {t.ndim}")
            if t is not None and t.ndim != input.ndim:
                raise RuntimeError(f"{type(self).__name__}: {name} must have {input.ndim} dimensions for input "
                                   f"{tuple(input.shape)}, got {tuple(t.shape)}")  # fmt: skip

    @property
    def _weights(self) -> tuple[Parameter, Parameter, Parameter | None, Parameter | None]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """One step of `RNN`. Shapes: input (B, I) or (I,), hx (B, H) or (H,), by default 0; output as hx."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        self._check(input, hx)
        if self.nonlinearity == "tanh":
            return F.rnn_tanh_cell(input, hx, *self._weights)
        if self.nonlinearity == "relu":
            return F.rnn_relu_cell(input, hx, *self._weights)
        raise RuntimeError(f"RNNCell: nonlinearity must be 'tanh' or 'relu', got {self.nonlinearity!r}")

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class _GatedCell(RNNCellBase):
    _gates: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, self._gates, device, dtype)


class GRUCell(_GatedCell):
    """One step of `GRU`. Shapes: as `RNNCell`."""

    _gates = 3

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        self._check(input, hx)
        return F.gru_cell(input, hx, *self._weights)


class LSTMCell(_GatedCell):
    """One step of `LSTM`, from the pair (h, c) to the next. Shapes: as `RNNCell`."""

    _gates = 4

    def forward(self, input: Tensor, hx: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        if hx is not None and (isinstance(hx, Tensor) or len(hx) != 2):
            raise TypeError(f"LSTMCell: hx must be a pair of h and c, got {type(hx).__name__}")
        self._check(input, *(hx or ()))
        return F.lstm_cell(input, hx, *self._weights)
