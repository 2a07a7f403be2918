"""Where a token stands: sinusoids added to it, rotations of queries and keys, penalties on scores."""

from __future__ import annotations

import math

from dd2424 import _core
from dd2424._core import Tensor, dtype

__all__ = ["alibi_bias", "alibi_slopes", "apply_rotary", "rotary_angles", "sinusoidal_positions"]


def sinusoidal_positions(length: int, features: int, base: float = 10000.0, dtype: dtype | None = None) -> Tensor:
    """A table of sines and cosines whose wavelengths grow geometrically, from 2 pi to 2 pi `base`.

        y[t, 2i] = sin(t / base^(2i / D)), y[t, 2i + 1] = cos(t / base^(2i / D))

    Shapes: output (length, features). Source: Vaswani et al., arXiv:1706.03762, section 3.5.
    """
    angles = rotary_angles(length, features + features % 2, base, dtype=_core.float64)
    table = _core.stack([_core.sin(angles), _core.cos(angles)], -1).flatten(1)[:, :features]
    return table.to(dtype or _core.get_default_dtype()).contiguous()


def rotary_angles(
    length: int, features: int, base: float = 10000.0, offset: int = 0, dtype: dtype | None = None
) -> Tensor:
    """The angles t / base^(2i / D) by which `apply_rotary` turns, for positions t from `offset` on.

    Shapes: output (length, features / 2). Raises: ValueError for an odd number of features.
    """
    if features % 2:
        raise ValueError(f"rotary_angles: features must be even, got {features}")
    steps = _core.arange(0, features, 2, dtype=_core.float64) * (-math.log(base) / max(features, 1))
    places = _core.arange(offset, offset + length, dtype=_core.float64)
    return (places.unsqueeze(1) * _core.exp(steps)).to(dtype or _core.get_default_dtype())


def apply_rotary(input: Tensor, angles: Tensor, interleaved: bool = False) -> Tensor:
    """Turn pairs of features by angles, so that products of queries and keys depend on their distance alone.

        (a, b) -> (a cos - b sin, b cos + a sin)

    A pair is features i and i + D / 2, or with `interleaved` 2i and 2i + 1; features beyond the angles stay.
    Shapes: input (*, T, D); angles (T, R / 2), or what broadcasts to (*, T, R / 2), R <= D; output as input.
    Raises: ValueError for more angles than pairs. Source: Su et al., "RoFormer", arXiv:2104.09864, section 3.4.2.
    """
    half, features = angles.shape[-1], input.shape[-1]
    if 2 * half > features:
        raise ValueError(f"apply_rotary: angles must be at most {features // 2} a position, got {half}")
    cos, sin = _core.cos(angles).to(input.dtype), _core.sin(angles).to(input.dtype)
    turned, rest = input[..., : 2 * half], input[..., 2 * half :]
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
        result = _core.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)
    else:
        a, b = turned[..., :half], turned[..., half:]
        result = _core.cat([a * cos - b * sin, b * cos + a * sin], -1)
    return _core.cat([result, rest], -1) if rest.shape[-1] else result


def alibi_slopes(heads: int, dtype: dtype | None = None) -> Tensor:
    """One slope for each head, a geometric sequence: 2^(-8 / H), 2^(-16 / H) ... for H a power of two.

    For other H those of the next lower power, and every second one of the next higher. Shapes: output (heads,).
    Source: Press, Smith and Lewis, "Train Short, Test Long", arXiv:2108.12409, section 3.
    """
    lower = 1 << (heads.bit_length() - 1) if heads else 1
    slopes = [2 ** (-8 * (i + 1) / lower) for i in range(min(lower, heads))]
    slopes += [2 ** (-4 * (2 * i + 1) / lower) for i in range(heads - len(slopes))]
    return _core.tensor(slopes, dtype=dtype or _core.get_default_dtype())


def alibi_bias(heads: int, queries: int, keys: int, offset: int = 0, dtype: dtype | None = None) -> Tensor:
    """What ALiBi adds to the scores: a penalty that grows with the distance of query and key.

        y[h, i, j] = -slope[h] * |i + offset - j|

    Shapes: output (heads, queries, keys), an `attn_mask`. Source: as `alibi_slopes`.
    """
    distance = _core.arange(queries).unsqueeze(1) + offset - _core.arange(keys)
    slopes = alibi_slopes(heads, dtype)
    return -slopes.reshape((heads, 1, 1)) * _core.abs(distance).to(slopes.dtype)
