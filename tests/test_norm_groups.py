"""Group norm's kernels: groups of any width in either memory format, statistics, gradients, threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
import dd2424.nn.functional as F
from accuracy import assert_accurate, same_for_any_threads
from reference import norm as reference

# Groups of one channel and of all; more channels than a tile of columns has, and groups too wide for one.
CASES = [
    ((2, 6, 3, 5), 2), ((3, 12, 1, 1), 2), ((5, 64), 4), ((2, 7, 4, 4), 7), ((3, 70, 9, 7), 1), ((2, 1040, 3, 2), 8),
    ((2, 600, 2, 3), 1), ((18, 96, 5, 5), 3), ((1, 130, 17, 3), 65),
]  # fmt: skip


def tensors(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, last: bool, offset: float = 0) -> list[Any]:
    channels = shape[1]
    arrays = [rng.normal(size=shape) + offset, rng.normal(size=channels), rng.normal(size=channels)]
    made = [dd2424.from_numpy(array.astype(dtype)) for array in arrays]
    if last and len(shape) == 4:
        made[0] = made[0].contiguous(memory_format=dd2424.channels_last)
    return made


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize(("shape", "groups"), CASES, ids=str)
def test_values(isa: str, rng: np.random.Generator, shape: Any, groups: int, offset: float, last: bool) -> None:
    x, weight, bias = tensors(rng, shape, np.float32, last, offset)
    y = F.group_norm(x, groups, weight, bias)
    exact = reference.group_norm(x.numpy(), groups, weight.numpy(), bias.numpy())
    assert_accurate(y, exact, roundings=16, scale=2.0)
    assert y.stride() == x.stride()
    assert_accurate(F.group_norm(x, groups), reference.group_norm(x.numpy(), groups), roundings=16, scale=1.0)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("shape", "groups"), CASES, ids=str)
def test_gradients_by_kernel_and_by_operations(
    isa: str, rng: np.random.Generator, shape: Any, groups: int, last: bool
) -> None:
    leaves = [t.requires_grad_() for t in tensors(rng, shape, np.float64, last, 3.0)]
    dy = dd2424.from_numpy(rng.normal(size=shape))
    y = F.group_norm(leaves[0], groups, *leaves[1:])
    composed = dd2424.autograd.grad(y, leaves, dy, create_graph=True)
    single = [t.detach().to(dd2424.float32).requires_grad_() for t in leaves]
    for tolerance, own in ((256, leaves), (64, single)):
        y = F.group_norm(own[0], groups, *own[1:])
        fused = dd2424.autograd.grad(y, own, dy.to(own[0].dtype))
        assert shape[1] > 512 or fused[0].is_contiguous() == leaves[0].is_contiguous()
        for mine, exact in zip(fused, composed, strict=True):
            assert_accurate(mine, exact.detach().numpy(), tolerance, scale=abs(exact.detach()).max().item())


def test_gradients_that_are_not_asked_for(rng: np.random.Generator) -> None:
    x, weight, bias = tensors(rng, (3, 4, 5, 5), np.float64, False)
    wanted = dd2424.autograd.grad(F.group_norm(x.requires_grad_(), 2, weight, bias).square().sum(), x)[0]
    weight.requires_grad_()
    loss = F.group_norm(x, 2, weight, bias).square().sum()
    assert dd2424.equal(dd2424.autograd.grad(loss, [x, weight])[0], wanted)
    alone = F.group_norm(x.detach(), 2, weight, bias).square().sum()
    alone.backward()
    assert weight.grad.shape == (4,)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(3, 64, 40, 40), (40, 32, 12, 12)])
def test_same_bits_for_any_threads(isa: str, rng: np.random.Generator, shape: Any, last: bool) -> None:
    leaves = [t.requires_grad_() for t in tensors(rng, shape, np.float32, last)]

    def step() -> Any:
        y = F.group_norm(leaves[0], 8, *leaves[1:])
        return [y, *dd2424.autograd.grad(y.square().sum(), leaves)]

    same_for_any_threads(step)


@pytest.mark.parametrize("last", [False, True])
def test_bfloat16(isa: str, rng: np.random.Generator, last: bool) -> None:
    x, weight, bias = tensors(rng, (2, 6, 5, 7), np.float32, last)
    half = x.to(dd2424.bfloat16)
    y = F.group_norm(half, 3, weight, bias)
    assert y.dtype == dd2424.bfloat16
    exact = reference.group_norm(half.to(dd2424.float64).numpy(), 3, weight.numpy(), bias.numpy())
    assert_accurate(y, exact, roundings=1, scale=1e-2)


@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (2, 4, 0, 3), (2, 4, 0)])
def test_empty(shape: tuple[int, ...]) -> None:
    x, weight, bias = dd2424.ones(shape).requires_grad_(), dd2424.ones(4).requires_grad_(), dd2424.ones(4)
    y = F.group_norm(x, 2, weight, bias)
    assert y.shape == shape
    y.sum().backward()
    assert x.grad.shape == shape
    assert weight.grad.tolist() == [0] * 4


def test_refusals() -> None:
    x = dd2424.ones(2, 6, 3)
    with pytest.raises(RuntimeError, match="group_norm: num_groups must divide the 6 channels of input, got 0"):
        F.group_norm(x, 0)
    with pytest.raises(RuntimeError, match="group_norm: weight must have one element per channel, 6, got shape"):
        F.group_norm(x, 2, dd2424.ones(4))
    with pytest.raises(RuntimeError, match=r"group_norm: bias must have dtype dd2424\.float32 or the input"):
        F.group_norm(x, 2, None, dd2424.ones(6, dtype=dd2424.float64))
    with pytest.raises(RuntimeError, match=r"group_norm: input must be \(N, C, \*\)"):
        F.group_norm(dd2424.ones(6), 2)
