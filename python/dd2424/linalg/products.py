"""Products of vectors and of several matrices."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import _core
from dd2424._core import Tensor

__all__ = ["cross", "multi_dot", "vander", "vecdot"]


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product along a dimension of size 3."""
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(f"cross: dim must have size 3, got {tuple(input.shape)} and {tuple(other.shape)}")
    (a, b, c), (x, y, z) = _core.unbind(input, dim), _core.unbind(other, dim)
    return _core.stack([b * z - c * y, c * x - a * z, a * y - b * x], dim)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices, in the order that costs least; the first and the last may be vectors.

    Source: Cormen and others, "Introduction to Algorithms", section 15.2.
    """
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot: tensors must be at least 2, got {len(tensors)}")
    parts = list(tensors)
    is_row, is_column = parts[0].ndim == 1, parts[-1].ndim == 1
    parts[0] = parts[0].unsqueeze(0) if is_row else parts[0]
    parts[-1] = parts[-1].unsqueeze(1) if is_column else parts[-1]
    sizes = [part.shape[0] for part in parts] + [parts[-1].shape[1]]
    count = len(parts)
    cost, cut = [[0] * count for _ in parts], [[0] * count for _ in parts]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            choices = [(cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            cost[i][j], cut[i][j] = min(choices)

    def multiply(i: int, j: int) -> Tensor:
        return parts[i] if i == j else multiply(i, cut[i][j]) @ multiply(cut[i][j] + 1, j)

    result = multiply(0, count - 1)
    result = result.squeeze(0) if is_row else result
    return result.squeeze(-1) if is_column else result


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Sums of products along a dimension."""
    return _core.sum(x * y, dim)


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Powers of x, by column, from the zeroth up. Shapes: x (*, n); output (*, n, N), N being n by default."""
    return _core.pow(x.unsqueeze(-1), _core.arange(0, x.shape[-1] if N is None else N, device=x.device))
