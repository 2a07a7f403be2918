"""Dropout: elements, or whole channels, set to zero at random in training."""

from __future__ import annotations

from dd2424 import _core
from dd2424._core import Tensor

# fmt: off
__all__ = [
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
]
# fmt: on


def _check(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p must be between 0 and 1, got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, each element is zero with probability p and otherwise multiplied by 1 / (1 - p).

    Raises: ValueError for p outside [0, 1]. Source: Srivastava et al., "Dropout", JMLR 2014.
    """
    _check("dropout", p)
    if not training or p == 0:
        return input
    dropped = _core.dropout(input, p)
    return input.copy_(dropped) if inplace else dropped


def _drop_channels(name: str, input: Tensor, p: float, training: bool, inplace: bool, batched_ndim: int) -> Tensor:
    _check(name, p)
    if input.ndim not in (batched_ndim - 1, batched_ndim):
        raise RuntimeError(f"{name}: input must have {batched_ndim - 1} or {batched_ndim} dimensions, got {input.ndim}")
    if not training or p == 0:
        return input
    batch = input if input.ndim == batched_ndim else input.unsqueeze(0)
    dropped = _core.dropout(batch, p, channels=True).view(input.shape)
    return input.copy_(dropped) if inplace else dropped


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels. Shapes: (N, C, L) or (C, L)."""
    return _drop_channels("dropout1d", input, p, training, inplace, 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels. Shapes: (N, C, H, W) or (C, H, W)."""
    return _drop_channels("dropout2d", input, p, training, inplace, 4)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels. Shapes: (N, C, D, H, W) or (C, D, H, W)."""
    return _drop_channels("dropout3d", input, p, training, inplace, 5)


def _alpha(name: str, input: Tensor, p: float, training: bool, inplace: bool, channels: bool) -> Tensor:
    _check(name, p)
    if not training or p == 0:
        return input
    dropped = _core.dropout(input, p, channels, alpha=True)
    return input.copy_(dropped) if inplace else dropped


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout to SELU's lowest value instead of zero, rescaled so that mean and variance stay.

    Source: Klambauer et al., "Self-Normalizing Neural Networks", arXiv:1706.02515, section 2.
    """
    return _alpha("alpha_dropout", input, p, training, inplace, channels=False)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels. Shapes: (N, C, *)."""
    return _alpha("feature_alpha_dropout", input, p, training, inplace, channels=True)
