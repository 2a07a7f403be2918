"""Attention's derivatives by finite differences: first, second, and forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from attentions import Case, tensors
from dd2424 import autograd
from dd2424.nn import functional as F

# fmt: off
CASES = {
    "plain": Case(1, 2, 3, 4, 2, values=3),
    "causal": Case(1, 1, 4, 4, 3, options={"is_causal": True}),
    "window": Case(1, 1, 4, 5, 2, options={"window": 2, "offset": 1}),
    "groups": Case(1, 4, 2, 3, 2, key_heads=2),
    "scale": Case(2, 1, 3, 2, 2, options={"scale": 1.3}),
    "blind": Case(1, 1, 3, 2, 2, options={"is_causal": True, "offset": -1}),
}
# fmt: on
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def leaves(case: Case, rng: np.random.Generator) -> tuple[Any, ...]:
    return tuple(t.requires_grad_() for t in tensors(*case.arrays(rng, np.float64)[:3]))


@each_case
def test_gradients(rng: np.random.Generator, isa: str, case: Case) -> None:
    assert autograd.gradcheck(case.run, leaves(case, rng))
    assert autograd.gradgradcheck(case.run, leaves(case, rng))


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (3, 1), (2, 1, 4)])
def test_gradients_with_masks(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    case = CASES["plain"]
    added = dd2424.from_numpy(rng.standard_normal(shape)).requires_grad_()
    assert autograd.gradcheck(case.run, (*leaves(case, rng), added))
    assert autograd.gradgradcheck(case.run, (*leaves(case, rng), added))
    seen = dd2424.from_numpy(rng.random((3, 4)) > 0.5)
    assert autograd.gradgradcheck(lambda *t: case.run(*t, seen), leaves(case, rng))


def test_gradients_with_dropout(rng: np.random.Generator) -> None:
    case = Case(1, 2, 3, 5, 2, options={"dropout_p": 0.4, "is_causal": True})

    def run(*inputs: Any) -> Any:
        dd2424.manual_seed(5)
        return case.run(*inputs)

    assert autograd.gradcheck(run, leaves(case, rng))
    assert autograd.gradgradcheck(run, leaves(case, rng))


def test_gradients_of_packed_heads(rng: np.random.Generator) -> None:
    packed = dd2424.from_numpy(rng.standard_normal((1, 3, 3, 2, 2))).requires_grad_()
    added = dd2424.from_numpy(rng.standard_normal((2, 3, 3))).requires_grad_()
    for inputs in ((packed,), (packed, added)):
        assert autograd.gradcheck(F.packed_attention, inputs)
        assert autograd.gradgradcheck(F.packed_attention, inputs)


def test_recorded_gradients_are_the_kernels(rng: np.random.Generator) -> None:
    """With create_graph they are made of operations instead."""
    case = Case(1, 6, 40, 50, 16, key_heads=2, options={"is_causal": True, "offset": 8, "window": 30})
    arrays = case.arrays(rng, np.float64)
    inputs = [t.requires_grad_() for t in tensors(*arrays[:3])]
    y, dy = case.run(*inputs), tensors(arrays[3])[0]
    fused = autograd.grad(y, inputs, dy, retain_graph=True)
    composed = autograd.grad(y, inputs, dy, create_graph=True)
    for a, b in zip(fused, composed, strict=True):
        assert_accurate(a, b.detach().numpy(), roundings=24, scale=float(b.detach().abs().max()))


def test_forward_mode(rng: np.random.Generator) -> None:
    case = CASES["groups"]
    inputs = tensors(*case.arrays(rng, np.float64)[:3])
    tangents = tensors(*case.arrays(rng, np.float64)[:3])
    _, tangent = autograd.functional.jvp(case.run, tuple(inputs), tuple(tangents))
    h = 1e-6
    ahead, behind = (case.run(*(x + s * h * t for x, t in zip(inputs, tangents, strict=True))) for s in (1, -1))
    np.testing.assert_allclose(tangent.numpy(), ((ahead - behind) / (2 * h)).numpy(), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
@pytest.mark.parametrize("heads", [2, 9])
def test_only_what_is_needed_is_computed(rng: np.random.Generator, wanted: tuple[int, ...], heads: int) -> None:
    case = Case(1, heads, 30, 200, 16)
    arrays = case.arrays(rng)
    inputs = tensors(*arrays[:3])
    for i in wanted:
        inputs[i].requires_grad_()
    case.run(*inputs).backward(tensors(arrays[3])[0])
    for i, exact in enumerate(case.expected(arrays)[1:4]):
        if i in wanted:
            assert_accurate(inputs[i].grad, exact, roundings=24, scale=np.abs(exact).max())
        else:
            assert inputs[i].grad is None


def test_a_step_is_one_kernel_each_way(rng: np.random.Generator) -> None:
    case = Case(2, 3, 40, 40, 16)
    arrays = case.arrays(rng)
    inputs, dy = [t.requires_grad_() for t in tensors(*arrays[:3])], tensors(arrays[3])[0]
    before = dd2424.kernel_count()
    y = case.run(*inputs)
    assert dd2424.kernel_count() - before == 1
    y.backward(dy)
    assert dd2424.kernel_count() - before == 2


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(5, 5), (1, 5), (1, 1, 5, 5), (2, 1, 5), (1, 2, 5, 5), (3, 1, 1, 5), (3, 2, 5, 5)])
def test_gradients_of_masks_that_are_broadcast(
    rng: np.random.Generator, shape: tuple[int, ...], dropout: float, packed: bool
) -> None:
    """What all items share gets the sum of what a mask of the full size gets."""
    qkv = dd2424.from_numpy(rng.standard_normal((3, 5, 3, 2, 4)))
    mask = dd2424.from_numpy(rng.standard_normal(shape))
    dy = dd2424.from_numpy(rng.standard_normal((3, 2, 5, 4)))
    found = []
    for given in (mask, mask.expand((3, 2, 5, 5)).contiguous()):
        dd2424.manual_seed(1)
        leaf, x = given.requires_grad_(), qkv.detach().requires_grad_()
        options = {"attn_mask": leaf, "dropout_p": dropout, "is_causal": False}
        if packed:
            y = F.packed_attention(x, **options)
        else:
            y = F.scaled_dot_product_attention(*x.permute((2, 0, 3, 1, 4)).unbind(0), **options)
        y.backward(dy)
        found.append((leaf.grad, x.grad))
    assert found[0][0].shape == shape
    assert_accurate(found[0][0], found[1][0].sum_to_size(shape).numpy(), 16, scale=1.0)
    assert_accurate(found[0][1], found[1][1].numpy(), 4, scale=1.0)


def test_memory_of_a_mask_that_all_items_share(rng: np.random.Generator) -> None:
    q = dd2424.from_numpy(rng.standard_normal((64, 2, 64, 4), np.float32)).requires_grad_()
    mask = dd2424.zeros((64, 64), requires_grad=True)
    y = F.scaled_dot_product_attention(q, q, q, mask)
    dd2424.reset_peak_memory()
    before = dd2424.memory_stats()["in_use_bytes"]
    y.sum().backward()
    of_all_items = 64 * 2 * 64 * 64 * 4
    assert dd2424.memory_stats()["peak_bytes"] - before < of_all_items
