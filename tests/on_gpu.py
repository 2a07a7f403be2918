"""The same work on the processor and on a GPU, real or emulated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import Tensor, cuda

needs_gpu = pytest.mark.skipif(not cuda.is_available(), reason=f"no GPU: {cuda.why_not()}")
FLOATS = ["float32", "float64", "bfloat16"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8"]


def both(x: Any, dtype: str = "float32") -> tuple[Tensor, Tensor]:
    """The same on the processor and on the GPU."""
    here = dd2424.tensor(x).to(getattr(dd2424, dtype))
    return here, here.cuda()


def as_float(x: Tensor) -> Tensor:
    return x.detach().cpu().float() if x.dtype == dd2424.bfloat16 else x.detach().cpu()


def assert_alike(gpu: Tensor, here: Tensor, roundings: float = 0, scale: Any = 0.0) -> None:
    """As the processor's kernel has it, to so many roundings of the type."""
    assert gpu.is_cuda
    assert gpu.dtype == here.dtype
    assert gpu.shape == here.shape
    assert gpu.stride() == here.stride()
    if here.dtype == dd2424.bfloat16:  # one rounding of bfloat16 is many of float32
        roundings = (roundings + 1) * 2**16 if roundings else 0
    assert_accurate(as_float(gpu), as_float(here).numpy().astype(np.float64), roundings, scale)
