"""Modules that tell tokens where they stand."""

from __future__ import annotations

from typing import Any

from dd2424 import _core, functional as F
from dd2424._core import Tensor, dtype
from dd2424.nn import init
from dd2424.nn.module import Module
from dd2424.nn.parameter import Parameter

__all__ = ["Alibi", "LearnedPositions", "RotaryPositions", "SinusoidalPositions"]


def _check_length(owner: str, length: int, offset: int, most: int) -> None:
    if offset < 0 or offset + length > most:
        raise ValueError(f"{owner}: positions must lie within the {most} there are, got {length} from {offset} on")


class SinusoidalPositions(Module):
    """x plus a fixed table of sines and cosines, one row for each position; see `functional.sinusoidal_positions`.

    Shapes: input (*, T, D); output the same. `offset` is the first one's position.
    Raises: ValueError beyond `max_length`. Source: Vaswani et al., arXiv:1706.03762, section 3.5.
    """

    table: Tensor

    def __init__(self, features: int, max_length: int = 5000, dtype: dtype | None = None) -> None:
        super().__init__()
        self.features, self.max_length = features, max_length
        self.register_buffer("table", F.sinusoidal_positions(max_length, features, dtype=dtype), persistent=False)

    def forward(self, input: Tensor, offset: int = 0) -> Tensor:
        length = input.shape[-2]
        _check_length("SinusoidalPositions", length, offset, self.max_length)
        return input + self.table[offset : offset + length]

    def extra_repr(self) -> str:
        return f"{self.features}, max_length={self.max_length}"


class LearnedPositions(Module):
    """x plus a learned row for each position, drawn from N(0, 0.02).

    Shapes: input (*, T, D); weight (max_length, D); output as input. `offset` is the first one's position.
    Raises: ValueError beyond `max_length`. Source: Radford et al., "Improving Language Understanding", 2018.
    """

    weight: Parameter

    def __init__(self, features: int, max_length: int, device: Any = None, dtype: dtype | None = None) -> None:
        super().__init__()
        self.features, self.max_length = features, max_length
        self.weight = Parameter(_core.empty((max_length, features), dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        init.normal_(self.weight, std=0.02)

    def forward(self, input: Tensor, offset: int = 0) -> Tensor:
        length = input.shape[-2]
        _check_length("LearnedPositions", length, offset, self.max_length)
        return input + self.weight[offset : offset + length]

    def extra_repr(self) -> str:
        return f"{self.features}, max_length={self.max_length}"


class RotaryPositions(Module):
    """Queries or keys turned by their positions; see `functional.apply_rotary`.

    Shapes: input (*, T, D); output the same. `offset` is the first one's position.
    Raises: ValueError beyond `max_length`. Source: Su et al., "RoFormer", arXiv:2104.09864, section 3.2.2.
    """

    angles: Tensor

    def __init__(self, features: int, max_length: int = 4096, base: float = 10000.0, interleaved: bool = False) -> None:
        super().__init__()
        self.features, self.max_length, self.base, self.interleaved = features, max_length, base, interleaved
        self.register_buffer("angles", F.rotary_angles(max_length, features, base), persistent=False)

    def forward(self, input: Tensor, offset: int = 0) -> Tensor:
        length = input.shape[-2]
        _check_length("RotaryPositions", length, offset, self.max_length)
        return F.apply_rotary(input, self.angles[offset : offset + length], self.interleaved)

    def extra_repr(self) -> str:
        return f"{self.features}, max_length={self.max_length}, base={self.base}, interleaved={self.interleaved}"


class Alibi(Module):
    """The mask that ALiBi adds to the scores of attention; see `functional.alibi_bias`.

    Shapes: output (heads, queries, keys). Source: Press, Smith and Lewis, arXiv:2108.12409, section 3.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, queries: int, keys: int, offset: int = 0, dtype: dtype | None = None) -> Tensor:
        return F.alibi_bias(self.heads, queries, keys, offset, dtype)

    def extra_repr(self) -> str:
        return f"{self.heads}"
