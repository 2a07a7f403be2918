"""Padding in all modes."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import _core
from dd2424._core import Tensor

__all__ = ["pad"]


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Lengthen dimensions at both ends: `pad` names (in front, behind) of the last dimension first; negative cuts off.

    `mode` says what stands there: "constant" is `value` (0), in any dimensions; "reflect" mirrors about the border's
    elements, "replicate" repeats them, "circular" begins again from the other end, in the last 1 to 3 dimensions of
    (N, C, *) or (C, *).
    Shapes: input (*, W); output (*, pad[0] + W + pad[1]), and so on for each further pair of numbers.
    Raises: RuntimeError where a pad does not fit its dimension, or an odd number of them is given;
    NotImplementedError for an unknown mode, or dimensions that a mode does not pad.
    """
    return _core.pad(input, pad, mode, value)
