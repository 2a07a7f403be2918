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
    "eight queries a thread": Case(1, 2, 132, 70, 72, values=64, key_heads=1),
    "causal, eight queries a thread": Case(1, 1, 70, 140, 128, options={"is_causal": True, "offset": 10}),
}


# Of bfloat16 a block has 128 queries, or 64 or 128 keys, and walks along tiles of 64; features are filled up.
TENSOR_CASES = {
    "more tiles than one": Case(1, 2, 130, 70, 64),
    "several blocks": Case(1, 1, 134, 132, 128),
    "one feature chunk": Case(2, 1, 9, 7, 8, values=16),
    "values of their own": Case(1, 2, 66, 65, 72, values=32),
    "groups": Case(2, 4, 9, 33, 24, key_heads=2),
    "causal": Case(1, 2, 140, 140, 64, options={"is_causal": True}),
    "causal with more keys": Case(1, 1, 5, 67, 128, options={"is_causal": True, "offset": 62}),
    "causal with more queries": Case(1, 1, 67, 5, 8, options={"is_causal": True}),
    "window": Case(1, 1, 180, 175, 8, options={"window": 4}),
    "causal window of groups": Case(1, 4, 70, 75, 104, key_heads=1, options={"is_causal": True, "window": 9}),
    "blind at first": Case(1, 1, 12, 12, 8, options={"is_causal": True, "offset": -5}),
}
# Up to 4 queries are spread by their keys, 256 or more to a block.
FEW_CASES = {
    "one": Case(1, 1, 1, 1, 8),
    "one query": Case(2, 3, 1, 70, 16),
    "parts": Case(1, 2, 1, 600, 64),
    "groups": Case(1, 2, 3, 270, 40, values=128, key_heads=1),
    "causal": Case(1, 1, 4, 515, 128, options={"is_causal": True, "offset": 511}),
    "parts that see nothing": Case(1, 1, 2, 520, 8, options={"window": 3, "offset": 400}),
    "blind": Case(1, 1, 3, 5, 8, options={"is_causal": True, "offset": -2}),
    "wide": Case(1, 1, 2, 9, 256),
    "odd": Case(1, 1, 2, 9, 7),
}


def gpu_leaves(*arrays: Any, dtype: Any = None) -> list[Tensor]:
    return [dd2424.from_numpy(np.ascontiguousarray(x)).to(dtype).cuda().requires_grad_() for x in arrays]


def gradients(case: Case, arrays: Any, mask: Any = None, dtype: Any = None) -> list[Tensor]:
    """y and the gradients by q, k and v and, of a mask of numbers, by it, made on the GPU."""
    leaves = gpu_leaves(*arrays[:3], dtype=dtype)
    given = None if mask is None else dd2424.from_numpy(mask).cuda()
    if given is not None and given.dtype != dd2424.bool:
        leaves.append(given.requires_grad_())
    y = case.run(*leaves[:3], given)
    y.backward(dd2424.from_numpy(arrays[3]).to(y.dtype).cuda())
    return [as_float(t) for t in (y, *(leaf.grad for leaf in leaves))]


def compare(actual: Any, expected: Any, roundings: float = 24) -> None:
    assert 0 < len(actual) <= len(expected)  # y alone, or with gradients
    for got, exact in zip(actual, expected, strict=False):
        assert_accurate(got, exact, roundings, scale=np.abs(exact).max(initial=1e-3))


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients(rng, name, dtype):
    case = CASES[name]
    arrays = case.arrays(rng, dtype)
    compare(gradients(case, arrays), case.expected(arrays))


def rounded(arrays: Any) -> list[Any]:
    return [dd2424.from_numpy(x).bfloat16().float().numpy() for x in arrays]


@pytest.mark.parametrize("name", list(TENSOR_CASES))
def test_bfloat16(rng, name):
    case = TENSOR_CASES[name]
    arrays = rounded(case.arrays(rng))
    compare(gradients(case, arrays, dtype=dd2424.bfloat16), case.expected(arrays), roundings=2**17)


@pytest.mark.parametrize("name", list(FEW_CASES))
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_few_queries(rng, name, dtype):
    case, kind = FEW_CASES[name], getattr(dd2424, dtype)
    arrays, roundings = rounded(case.arrays(rng)), 2**17 if dtype == "bfloat16" else 24
    y = case.run(*gpu_leaves(*arrays[:3], dtype=kind))
    compare([as_float(y)], case.expected(arrays), roundings)
    seen = rng.random((case.queries, case.keys)) > 0.4
    compare(gradients(case, arrays, seen, dtype=kind), case.expected(arrays, seen), roundings)


@pytest.mark.parametrize("shape", [(2, 3, 20, 70), (2, 1, 1, 70), (20, 70), (20, 1)])
def test_masks_of_bfloat16(rng, shape):
    case = Case(2, 3, 20, 70, 8, options={"is_causal": True, "offset": 45})
    arrays, seen = rounded(case.arrays(rng)), rng.random(shape) > 0.4
    compare(gradients(case, arrays, seen, dd2424.bfloat16), case.expected(arrays, seen), roundings=2**17)
    bias = rounded([2 * rng.standard_normal(shape).astype(np.float32)])[0]
    compare(gradients(case, arrays, bias, dd2424.bfloat16)[:4], case.expected(arrays, bias), roundings=2**17)


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


@pytest.mark.parametrize("dtype", [dd2424.float32, dd2424.bfloat16], ids=str)
@pytest.mark.parametrize("queries", [70, 9, 3])
def test_a_causal_query_does_not_see_later_nans(rng, dtype, queries):
    case = Case(1, 1, queries, 130, 8, options={"is_causal": True, "offset": 50})
    arrays = case.arrays(rng)
    clean = gradients(case, arrays, dtype=dtype)
    for x in arrays[1:3]:
        x[:, :, 52:] = [np.nan, np.inf, -np.inf, 1, np.nan, np.inf, -np.inf, 1]
    y, dq, *_ = gradients(case, arrays, dtype=dtype)
    for dirty, of in ((y, clean[0]), (dq, clean[1])):
        assert bits(dirty[:, :, :2].contiguous().numpy()) == bits(of[:, :, :2].contiguous().numpy())
        assert np.isnan(dirty[:, :, 2:].numpy()).all()


def test_infinite_values(rng):
    case = Case(1, 1, 9, 70, 8, options={"is_causal": True, "offset": 61})
    arrays = case.arrays(rng)
    arrays[2][:, :, 65, 2] = arrays[2][:, :, 67, 3] = np.inf
    arrays[2][:, :, 66, 3] = -np.inf
    with np.errstate(invalid="ignore"):
        y = gradients(case, arrays, dtype=dd2424.bfloat16)[0].numpy()[0, 0]
    assert np.isfinite(y[:4]).all()
    assert (y[4:, 2] == np.inf).all()
    assert y[5, 3] == -np.inf
    assert np.isnan(y[6:, 3]).all()


@pytest.mark.parametrize("dtype", [dd2424.float32, dd2424.bfloat16], ids=str)
def test_what_is_hidden_may_be_nan(rng, dtype):
    case = Case(1, 2, 9, 70, 8)
    arrays, seen = case.arrays(rng), np.ones((9, 70), bool)
    seen[:, 3] = seen[4:, 66] = seen[5] = False
    clean = bits([t.numpy() for t in gradients(case, arrays, seen, dtype)])
    for x in arrays[1:3]:
        x[:, :, 3] = np.nan
    y, dq, dk, dv = (t.numpy() for t in gradients(case, arrays, seen, dtype))
    assert bits([y, dq, dk, dv]) == clean
    assert not y[:, :, 5].any()
    assert not dq[:, :, 5].any()
    arrays[2][:, :, 66] = np.nan
    y = gradients(case, arrays, seen, dtype)[0].numpy()
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


def test_strided_and_unaligned_bfloat16(rng):
    case = Case(2, 3, 7, 9, 16)
    arrays = case.arrays(rng)
    plain = bits([t.numpy() for t in gradients(case, arrays, dtype=dd2424.bfloat16)])
    spread = gpu_leaves(*(x.swapaxes(1, 2) for x in arrays[:3]), dtype=dd2424.bfloat16)
    y = case.run(*(x.transpose(1, 2) for x in spread))
    padded = np.pad(arrays[3], [(0, 0), (0, 0), (0, 0), (1, 2)])
    y.backward(dd2424.from_numpy(padded).bfloat16().cuda()[..., 1:-2])
    found = [as_float(y), *(as_float(x.grad).transpose(1, 2).contiguous() for x in spread)]
    assert bits([t.contiguous().numpy() for t in found]) == plain
    odd = [
        dd2424.from_numpy(np.pad(x, [(0, 0), (0, 0), (0, 0), (1, 2)])).bfloat16().cuda()[..., 1:-2] for x in arrays[:3]
    ]
    compare([as_float(case.run(*odd))], case.expected(rounded(arrays)), roundings=2**17)


def test_packed_heads_of_bfloat16(rng):
    packed, dy = rng.standard_normal((2, 9, 3, 2, 8)), rng.standard_normal((2, 9, 2, 8))
    results = []
    for device in ("cpu", "cuda"):
        x = dd2424.from_numpy(packed).bfloat16().to(device).detach().requires_grad_()
        y = F.packed_attention(x, is_causal=True)
        y.backward(dd2424.from_numpy(dy).bfloat16().to(device).reshape(y.shape))
        results.append([as_float(y), as_float(x.grad)])
    compare(results[1], [t.numpy() for t in results[0]], roundings=2**18)


def test_second_derivatives_of_bfloat16(rng):
    results = []
    arrays = Case(1, 1, 5, 6, 8).arrays(rng)
    for device in ("cpu", "cuda"):
        q, k, v = (dd2424.from_numpy(x).bfloat16().to(device).detach().requires_grad_() for x in arrays[:3])
        (dq,) = dd2424.autograd.grad(F.scaled_dot_product_attention(q, k, v).sum(), [q], create_graph=True)
        dq.square().sum().backward()
        results.append([as_float(k.grad)])
    compare(results[1], [t.numpy() for t in results[0]], roundings=2**19)


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


@pytest.mark.parametrize("dtype", [dd2424.float32, dd2424.bfloat16], ids=str)
@pytest.mark.parametrize("queries", [70, 3])
def test_same_bits_again(rng, dtype, queries):
    case = Case(1, 4, queries, 275, 24, key_heads=1, options={"is_causal": True, "window": 9, "offset": 200})
    arrays = case.arrays(rng)
    once = bits([t.numpy() for t in gradients(case, arrays, dtype=dtype)])
    assert bits([t.numpy() for t in gradients(case, arrays, dtype=dtype)]) == once


def test_refusals():
    q = dd2424.ones(1, 3, 4, device="cuda")
    with pytest.raises(RuntimeError, match="device"):
        F.scaled_dot_product_attention(q, q.cpu(), q)
    with pytest.raises(RuntimeError, match="key must have as many features as query"):
        F.scaled_dot_product_attention(q, q[..., :2], q)
