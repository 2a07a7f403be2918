"""Attention's kernels against float64: sizes, layouts, threads, numbers that break the naive formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from attentions import CASES, Case, gradients, tensors
from dd2424.nn import functional as F

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def size(x: Any) -> float:
    """What errors are measured by: sums of terms of both signs."""
    return float(np.abs(x).max(initial=1e-3))


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients(rng: np.random.Generator, isa: str, case: Case, dtype: Any) -> None:
    arrays = case.arrays(rng, dtype)
    actual, expected = gradients(case, arrays), case.expected(arrays)
    for name, got, exact in zip(("y", "dq", "dk", "dv"), actual, expected, strict=False):
        assert got.dtype == actual[0].dtype, name
        assert_accurate(got, exact, roundings=24, scale=size(exact))


@each_case
def test_without_recording_the_values_are_the_same(rng: np.random.Generator, case: Case) -> None:
    arrays = case.arrays(rng)
    assert bits(case.run(*tensors(*arrays[:3]))) == bits(gradients(case, arrays)[0])


@pytest.mark.parametrize(
    "name", ["T129 causal", "long", "long causal", "groups, many heads", "shared", "causal window"]
)
def test_same_bits_for_any_threads(rng: np.random.Generator, name: str) -> None:
    case = CASES[name]
    arrays, mask = case.arrays(rng), dd2424.from_numpy(rng.standard_normal((case.queries, case.keys)) > -1)
    dropped = Case(case.batch, case.heads, case.queries, case.keys, case.features, key_heads=case.key_heads,
                   options={**case.options, "dropout_p": 0.3})  # fmt: skip
    same_for_any_threads(lambda: [*gradients(case, arrays), *gradients(dropped, arrays, mask)])


@pytest.mark.parametrize("name", ["one query", "T65", "D100"])
def test_one_item_has_the_same_bits_alone_and_in_a_batch(rng: np.random.Generator, name: str) -> None:
    case = CASES[name]
    q, k, v, _ = tensors(*case.arrays(rng))
    assert bits(case.run(q, k, v)[-1:]) == bits(case.run(q[-1:], k[-1:], v[-1:]))


def test_packed_heads_are_read_in_place(rng: np.random.Generator, isa: str) -> None:
    packed = rng.standard_normal((2, 50, 3, 4, 16)).astype(np.float32)
    leaf, apart = tensors(packed, packed)
    leaf.requires_grad_(), apart.requires_grad_()
    y = F.packed_attention(leaf, is_causal=True)
    q, k, v = (part.transpose(1, 2) for part in apart.unbind(2))
    before = dd2424.kernel_count()
    z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert dd2424.kernel_count() - before == 1, "no copies"
    assert y.stride() == z.stride() == (50 * 64, 16, 64, 1), "the result lies as the queries do"
    assert y.transpose(1, 2).is_contiguous()
    dy = dd2424.from_numpy(rng.standard_normal((2, 4, 50, 16)).astype(np.float32))
    y.backward(dy), z.backward(dy)
    assert bits(y) == bits(z)
    assert bits(leaf.grad) == bits(apart.grad)
    contiguous = F.scaled_dot_product_attention(*(x.contiguous() for x in (q, k, v)), is_causal=True)
    assert contiguous.is_contiguous()
    assert bits(contiguous) == bits(y)


def test_odd_layouts(rng: np.random.Generator) -> None:
    case = Case(2, 3, 20, 25, 12)
    arrays = case.arrays(rng)
    plain = gradients(case, arrays)
    every = [np.repeat(x, 2, -1) for x in arrays]
    leaves = [t.requires_grad_() for t in tensors(*every[:3])]
    y = case.run(*(t[..., ::2] for t in leaves))
    y.backward(tensors(every[3])[0][..., ::2])
    assert bits(y) == bits(plain[0])
    for leaf, expected in zip(leaves, plain[1:], strict=True):
        assert bits(leaf.grad[..., ::2].contiguous()) == bits(expected)
    flipped = [x.transpose(3, 2, 0, 1).copy() for x in arrays[:3]]
    assert bits(case.run(*(t.permute(2, 3, 1, 0) for t in tensors(*flipped)))) == bits(plain[0])


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), (2, 3, 5, 7), (2, 1, 3, 5, 7)])
def test_any_leading_dimensions(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    q, k, v = tensors(*rng.standard_normal((3, *shape)))
    four = [x.reshape(-1, 1, 5, 7) for x in (q, k, v)]
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert y.shape == shape
    assert bits(y.reshape(-1, 1, 5, 7)) == bits(F.scaled_dot_product_attention(*four, is_causal=True))


def test_leading_dimensions_broadcast(rng: np.random.Generator) -> None:
    q, k, v = tensors(*(rng.standard_normal(s) for s in ((2, 4, 5, 6), (1, 7, 6), (2, 1, 7, 6))))
    k.requires_grad_()
    y = F.scaled_dot_product_attention(q, k, v)
    wide = [x.expand(2, 4, -1, -1) for x in (k.unsqueeze(0), v)]
    assert bits(y) == bits(F.scaled_dot_product_attention(q, *wide))
    y.sum().backward()
    assert k.grad.shape == k.shape


@pytest.mark.parametrize("sizes", [(0, 2, 3, 4, 5), (2, 0, 3, 4, 5), (2, 2, 0, 4, 5), (2, 2, 3, 0, 5), (2, 2, 3, 4, 0)])
def test_nothing(rng: np.random.Generator, sizes: tuple[int, ...]) -> None:
    case = Case(*sizes, values=3)
    for got, exact in zip(gradients(case, case.arrays(rng)), case.expected(case.arrays(rng)), strict=False):
        assert got.shape == exact.shape
    y = case.run(*tensors(*case.arrays(rng)[:3]))
    assert sizes[3] or not y.any(), "no keys: zeros"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_scores_neither_overflow_nor_vanish(rng: np.random.Generator, isa: str, dtype: Any) -> None:
    case = Case(1, 1, 40, 300, 16, options={"scale": 1.0})
    arrays = case.arrays(rng, dtype)
    arrays[0] *= 30
    arrays[1] += np.linspace(-5, 5, 300)[:, None]  # the largest scores come last, or first: every block rescales
    arrays[0] *= np.where(np.arange(40) % 2, 1, -1)[:, None]
    y = case.run(*tensors(*arrays[:3]))
    assert_accurate(y, case.expected(arrays)[0], roundings=6000, scale=1.0)  # scores near 2000 have few bits to spare
    arrays[0] *= 1e4
    assert np.isfinite(case.run(*tensors(*arrays[:3])).numpy()).all()


def test_equal_keys_give_the_mean(isa: str) -> None:
    q, k = dd2424.full((1, 1, 5, 4), 1e3), dd2424.full((1, 1, 64, 4), 1e3)
    v = dd2424.arange(64.0).reshape(1, 1, 64, 1)
    assert F.scaled_dot_product_attention(q, k, v).flatten().tolist() == [31.5] * 5


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_what_is_no_number_stays_so(rng: np.random.Generator, isa: str, special: float) -> None:
    case = CASES["T17"]
    q, k, v, _ = case.arrays(rng)
    q[0, 0, 3, 2] = special
    y = case.run(*tensors(q, k, v)).numpy()
    assert np.isnan(y[0, 0, 3]).all()
    assert np.isfinite(np.delete(y[0, 0], 3, 0)).all()


def test_bfloat16(rng: np.random.Generator) -> None:
    case = CASES["T65"]
    leaves = [t.bfloat16().requires_grad_() for t in tensors(*case.arrays(rng)[:3])]
    exact = case.expected([*(t.detach().double().numpy() for t in leaves), np.ones((2, 3, 65, 32))])
    y = case.run(*leaves)
    y.sum().backward()
    assert y.dtype == leaves[0].grad.dtype == dd2424.bfloat16
    assert_accurate(y, exact[0], roundings=1, scale=1e-2)
    assert_accurate(leaves[2].grad, exact[3], roundings=1, scale=1e-2)


def test_memory_is_linear_in_the_length(rng: np.random.Generator) -> None:
    """No matrix of 4096 x 4096 weights, 64 MB, is made."""
    q, k, v = (dd2424.randn(1, 1, 4096, 8).requires_grad_() for _ in range(3))
    dd2424.reset_peak_memory()
    before = dd2424.memory_stats()["in_use_bytes"]
    F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
    per_thread = 1 << 20
    assert dd2424.memory_stats()["peak_bytes"] - before < 7 * q.numel() * 4 + dd2424.get_num_threads() * per_thread
