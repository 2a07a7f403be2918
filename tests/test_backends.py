"""Switches that programs for PyTorch set: remembered; what TF32 does is in test_cuda_tf32.py."""

from __future__ import annotations

import pytest

import dd2424 as torch


def test_switches_are_remembered():
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    assert torch.backends.cudnn.benchmark is True
    torch.backends.cudnn.benchmark = before
    torch.backends.cuda.matmul.allow_tf32 = True
    assert torch.backends.cuda.matmul.allow_tf32 is True
    torch.backends.cuda.matmul.allow_tf32 = False


@pytest.mark.parametrize("name", ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"])
def test_no_other_library_computes(name):
    switches = getattr(torch.backends, name)
    assert switches.is_available() is False
    assert "is_available" in dir(switches)
    assert set(dir(switches)) >= set(switches._values)


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(AttributeError, match=r"backends.cudnn: 'determinist' is not implemented; the nearest name is "
                       r"'backends.cudnn.deterministic'"):  # fmt: skip
        torch.backends.cudnn.determinist = True
    with pytest.raises(NotImplementedError, match=r"backends.mps: 'fast' is not implemented"):
        _ = torch.backends.mps.fast
    with pytest.raises(AttributeError, match=r"backends: 'cudn' is not implemented; the nearest name is"):
        _ = torch.backends.cudn
