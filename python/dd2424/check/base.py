"""What a check is: a kernel on one input, and the exact result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import dd2424

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Check:
    """One kernel on one input: `run` at each ISA level, compared with `expected` on the scale of `scale`."""

    name: str
    run: Callable[..., dd2424.Tensor]
    expected: Array
    limit: float  # ULPs
    scale: Array | float = 0.0  # an ULP is that of max(|expected|, scale)

    def error(self) -> float:
        """The greatest error in ULPs; infinite where NaN or infinity is not where it should be."""
        result = self.run().detach()
        epsilon = 2.0**-8 if result.dtype == dd2424.bfloat16 else float(np.finfo(result.numpy().dtype).eps)
        actual = np.asarray(result.numpy(), np.float64)
        if actual.shape != self.expected.shape:
            return math.inf
        same = (actual == self.expected) | (np.isnan(actual) & np.isnan(self.expected))
        if not np.isfinite(np.where(same, 0.0, actual - self.expected)).all():
            return math.inf
        size = np.maximum(np.maximum(np.abs(self.expected), self.scale), 2.0**-126)
        ulp = 2.0 ** np.floor(np.log2(np.where(np.isfinite(size), size, 1.0))) * epsilon
        return float(np.max(np.where(same, 0.0, np.abs(actual - self.expected)) / ulp, initial=0.0))

    def bits(self) -> bytes:
        """The result as it lies in memory: equal results are equal here, down to the sign of zero."""
        return self.run().detach().numpy().tobytes()


def tensor(array: Array, requires_grad: bool = False) -> dd2424.Tensor:
    """The array, copied."""
    return dd2424.from_numpy(np.array(array)).requires_grad_(requires_grad)


def gradient(function: Callable[[dd2424.Tensor], dd2424.Tensor], x: Array) -> dd2424.Tensor:
    """That of a scalar function by x."""
    leaf = tensor(x, requires_grad=True)
    function(leaf).backward()
    assert leaf.grad is not None
    return leaf.grad
