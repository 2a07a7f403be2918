"""The loops that measure the machine do what they claim to: benchmarks rest on them."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
from dd2424 import _core


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_multiply_adds_counts_its_work(isa, dtype):
    dd2424.set_num_threads(1)
    one, two = (_core.machine_multiply_adds(dtype, rounds) for rounds in (100, 200))
    if dtype == "bfloat16" and isa != "avx512_bf16":
        assert one == two == 0  # no such instruction
    else:
        assert two == 2 * one > 100 * 2


@pytest.mark.parametrize("bypasses_caches", [False, True])
@pytest.mark.parametrize("reads", [1, 2, 3, 4])
def test_stream_adds_its_arrays(isa, rng, reads, bypasses_caches):
    x = [dd2424.from_numpy(rng.standard_normal(1 << 16).astype(np.float32)) for _ in range(reads)]
    y = dd2424.zeros(1 << 16)
    _core.machine_stream(x, y, bypasses_caches)
    expected = x[0].numpy()
    for other in x[1:]:
        expected = expected + other.numpy()
    np.testing.assert_array_equal(y.numpy(), expected)


def test_stream_takes_any_length(isa):
    x, y = dd2424.ones(4_206_602), dd2424.zeros(4_206_602)  # no multiple of a vector, cut into chunks
    _core.machine_stream([x], y, True)
    assert y[:-256].min().item() == 1


def test_handoffs_take_two_threads():
    dd2424.set_num_threads(1)
    assert _core.machine_handoffs(10) == 0
    dd2424.set_num_threads(2)
    assert _core.machine_handoffs(1000) == 2000


def test_refuses():
    x = dd2424.ones(64)
    with pytest.raises(ValueError, match="dtype must be float32, float64 or bfloat16, got int8"):
        _core.machine_multiply_adds("int8", 1)
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        _core.machine_multiply_adds("float32", 0)
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        _core.machine_handoffs(0)
    with pytest.raises(ValueError, match="x must be 1 to 4 tensors, got 5"):
        _core.machine_stream([x] * 5, None, False)
    with pytest.raises(RuntimeError, match="y must be a contiguous float32 tensor as large as x"):
        _core.machine_stream([x], dd2424.ones(32), False)
