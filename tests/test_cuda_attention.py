"""Attention on a GPU, real or emulated, against float64 and the processor's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from attentions import Case
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from dd2424.nn import functional as F
from on_gpu import as_float, needs_gpu

pytestmark = needs_gpu
# A tile is 64 by 64 of float and 32 by 32 of double, features pass by in slices of 32 and 16, and a block holds 64, 128
# or 256 features of the result.
CASES = {
    "one of each": Case(1, 1, 1, 1, 1),
    "small": Case(2, 2, 5, 7, 3, values=4),
    "one query": Case(2, 3, 1, 70, 16),
    "more tiles than one": Case(1, 1, 70, 130, 16),
    "many features": Case(1, 1, 9, 5, 130, values=100),
    "most features": Case(1, 1, 3, 66, 40, values=256),
    "more than a block's": Case(1, 1, 3, 5, 300, values=300),
    "groups": Case(2, 4, 9, 33, 17, key_heads=2),
    "causal": Case(1, 2, 70, 70, 8, options={"is_causal": True}),
    "causal with more keys": Case(1, 1, 5, 67, 8, options={"is_causal": True, "offset": 62}),
    "causal with more queries": Case(1, 1, 67, 5, 8, options={"is_causal": True}),
    "window": Case(1, 1, 80, 75, 8, options={"window": 4}),
    "causal window of groups": Case(1, 4, 70, 75, 20, key_heads=1, options={"is_causal": True, "window": 9}),
    "blind at first": Case(1, 1, 12, 12, 8, options={"is_causal": True, "offset": -5}),
    "scaled": Case(1, 1, 5, 40, 8, options={"scale": -0.3}),
}


def gpu_leaves(*arrays: Any) -> list[Tensor]:
    return [dd2424.from_numpy(np.ascontiguousarray(x)).cuda().requires_grad_() for x in arrays]


def gradients(case: Case, arrays: Any, mask: Any = None) -> list[Tensor]:
    """y and the gradients by q, k and v and, of a mask of numbers, by it, made on the GPU."""
    leaves = gpu_leaves(*arrays[:3])
    given = None if mask is None else dd2424.from_numpy(mask).cuda()
    if given is not None and given.dtype != dd2424.bool:
        leaves.append(given.requires_grad_())
    y = case.run(*leaves[:3], given)
    y.backward(dd2424.from_numpy(arrays[3]).cuda())
    return [as_float(t) for t in (y, *(leaf.grad for leaf in leaves))]


def compare(actual: Any, expected: Any, roundings: float = 24) -> None:
    for got, exact in zip(actual, expected, strict=False):
        assert_accurate(got, exact, roundings, scale=np.abs(exact).max(initial=1e-3))


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients(rng, name, dtype):
    case = CASES[name]
    arrays = case.arrays(rng, dtype)
    compare(gradients(case, arrays), case.expected(arrays))


@pytest.mark.parametrize("shape", [(2, 3, 20, 70), (1, 3, 20, 70), (2, 1, 1, 70), (20, 70), (20, 1), (3, 1, 1)])
@pytest.mark.parametrize("kind", ["boolean", "added", "both"])
def test_masks(rng, shape, kind):
    case = Case(2, 3, 20, 70, 8, options={"is_causal": True, "offset": 45})
    arrays, seen = case.arrays(rng), rng.random(shape) > 0.4
    bias = 2 * rng.standard_normal(shape).astype(np.float32)
    mask = {"boolean": seen, "added": bias, "both": np.where(seen, bias, -np.inf).astype(np.float32)}[kind]
    actual, expected = gradients(case, arrays, mask), case.expected(arrays, mask)
    compare(actual[:4], expected)
    if kind == "boolean":
        return
    lead = tuple(range(4 - len(shape)))
    dmask = expected[4].sum(lead)
    kept = tuple(d for d, size in enumerate(shape) if size == 1)
    assert_accurate(actual[4], dmask.sum(kept, keepdims=True), roundings=24, scale=np.abs(expected[4]).sum(lead).max())


def test_what_is_hidden_may_be_nan(rng):
    case = Case(1, 2, 9, 70, 8)
    arrays, seen = case.arrays(rng), np.ones((9, 70), bool)
    seen[:, 3] = seen[4:, 66] = seen[5] = False
    clean = bits([t.numpy() for t in gradients(case, arrays, seen)])
    for x in arrays[1:3]:
        x[:, :, 3] = np.nan
    y, dq, dk, dv = (t.numpy() for t in gradients(case, arrays, seen))
    assert bits([y, dq, dk, dv]) == clean
    assert not y[:, :, 5].any()
    assert not dq[:, :, 5].any()
    arrays[2][:, :, 66] = np.nan
    y = gradients(case, arrays, seen)[0].numpy()
    assert np.isnan(y[:, :, :4]).all()
    assert np.isfinite(y[:, :, 4:]).all()


def test_huge_scores_and_least_masks(rng):
    case = Case(1, 1, 4, 70, 8, options={"scale": 300.0})
    arrays = case.arrays(rng)
    compare(gradients(case, arrays)[:1], case.expected(arrays)[:1], roundings=2**12)
    least = np.full((4, 70), np.finfo(np.float32).min)  # PyTorch's habit for "not seen": all alike is a mean
    y = gradients(Case(1, 1, 4, 70, 8), arrays, least)[0]
    assert_accurate(y, np.broadcast_to(arrays[2].mean(2, keepdims=True, dtype=np.float64), y.shape), 24, scale=1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_dropout_draws_what_the_processor_draws(rng, dtype):
    case = Case(2, 2, 6, 71, 8, options={"dropout_p": 0.3, "is_causal": True, "offset": 65})
    arrays, results = case.arrays(rng), []
    for device in ("cpu", "cuda"):
        dd2424.manual_seed(7)
        leaves = [dd2424.from_numpy(x).to(device, getattr(dd2424, dtype)).detach().requires_grad_() for x in arrays[:3]]
        y = case.run(*leaves)
        y.backward(dd2424.from_numpy(arrays[3]).to(device, y.dtype))
        results.append([as_float(t) for t in (y, *(leaf.grad for leaf in leaves))])
    roundings = 2**17 if dtype == "bfloat16" else 32
    for gpu, here in zip(results[1], results[0], strict=True):
        assert_accurate(gpu, here.numpy().astype(np.float64), roundings, scale=np.abs(here.numpy()).max())


def test_all_weights_dropped():
    q = dd2424.randn(1, 1, 3, 8).cuda().requires_grad_()
    y = F.scaled_dot_product_attention(q, q, q, dropout_p=1.0)
    y.sum().backward()
    assert not y.any()
    assert not q.grad.any()


def test_strided_heads_are_read_where_they_lie(rng):
    case = Case(2, 3, 7, 7, 8)
    arrays = case.arrays(rng)
    plain = bits([t.numpy() for t in gradients(case, arrays)])
    spread = [dd2424.from_numpy(x.swapaxes(1, 2).copy()).cuda().requires_grad_() for x in arrays[:3]]
    y = case.run(*(x.transpose(1, 2) for x in spread))
    y.backward(dd2424.from_numpy(arrays[3]).cuda())
    assert y.transpose(1, 2).is_contiguous()  # as q lies
    found = [y.detach().cpu(), *(x.grad.cpu().transpose(1, 2).contiguous() for x in spread)]
    assert bits([t.contiguous().numpy() for t in found]) == plain
    odd = [dd2424.from_numpy(np.pad(x, [(0, 0), (0, 0), (0, 0), (1, 2)])).cuda()[..., 1:-2] for x in arrays[:3]]
    assert bits(case.run(*odd).contiguous().cpu().numpy()) == plain[0]


def test_packed_heads(rng):
    packed, dy = rng.standard_normal((2, 9, 3, 2, 8)), rng.standard_normal((2, 9, 2, 8))
    results = []
    for device in ("cpu", "cuda"):
        x = dd2424.from_numpy(packed).to(device).requires_grad_()
        y = F.packed_attention(x, is_causal=True)
        y.backward(dd2424.from_numpy(dy).to(device).reshape(y.shape))
        results.append([y.detach().cpu(), x.grad.cpu()])
    compare(results[1], [t.numpy() for t in results[0]])


@pytest.mark.parametrize("shape", [(0, 2, 3, 4, 5), (1, 2, 0, 4, 5), (1, 2, 3, 0, 5), (1, 2, 3, 4, 0)], ids=str)
def test_sizes_of_zero(shape):
    batch, heads, queries, keys, features = shape
    q = dd2424.ones(batch, heads, queries, features, device="cuda", requires_grad=True)
    k = dd2424.ones(batch, heads, keys, features, device="cuda", requires_grad=True)
    v = dd2424.ones(batch, heads, keys, 6, device="cuda", requires_grad=True)
    y = F.scaled_dot_product_attention(q, k, v)
    y.sum().backward()
    assert y.shape == (batch, heads, queries, 6)
    assert y.cpu().tolist() == dd2424.full(y.shape, 1.0 if keys else 0.0).tolist()
    for x in (q, k):
        assert not x.grad.any()
    assert v.grad.sum().item() == pytest.approx(y.numel() if keys else 0)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"is_causal": True, "offset": -1}, {"window": 2}], ids=str)
def test_derivatives(rng, options):
    q, k, v, mask = gpu_leaves(*(rng.standard_normal(s) for s in ((2, 3, 2), (1, 4, 2), (1, 4, 3), (3, 4))))

    def run(*inputs: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*inputs, enable_gqa=True, **options)

    for check in (gradcheck, gradgradcheck):
        assert check(run, (q, k, v, mask))


@pytest.mark.slow
def test_derivatives_with_dropout(rng):
    q, k, v = gpu_leaves(*(rng.standard_normal((1, 3, 2)) for _ in range(3)))

    def run(*inputs: Tensor) -> Tensor:
        dd2424.manual_seed(1)
        return F.scaled_dot_product_attention(*inputs, dropout_p=0.4)

    for check in (gradcheck, gradgradcheck):
        assert check(run, (q, k, v))


def test_same_bits_again(rng):
    case = CASES["causal window of groups"]
    arrays = case.arrays(rng)
    once = bits([t.numpy() for t in gradients(case, arrays)])
    assert bits([t.numpy() for t in gradients(case, arrays)]) == once


def test_refusals():
    q = dd2424.ones(1, 3, 4, device="cuda")
    with pytest.raises(RuntimeError, match="device"):
        F.scaled_dot_product_attention(q, q.cpu(), q)
    with pytest.raises(RuntimeError, match="key must have as many features as query"):
        F.scaled_dot_product_attention(q, q[..., :2], q)
