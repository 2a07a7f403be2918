"""What a query does not see: masks, blind queries, NaN behind a mask, dropout, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from attentions import CASES, Case, gradients, tensors
from dd2424.nn import functional as F

SHAPES = [(2, 3, 40, 70), (1, 3, 40, 70), (2, 1, 1, 70), (40, 70), (2, 1, 40, 1), (70,), (1, 1), (3, 1, 1)]
CASE = Case(2, 3, 40, 70, 16)


def masks(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    seen, bias = rng.random(shape) > 0.4, 2 * rng.standard_normal(shape).astype(np.float32)
    return {"boolean": seen, "added": bias, "both": np.where(seen, bias, -np.inf).astype(np.float32)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["boolean", "added", "both"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masks(rng: np.random.Generator, isa: str, shape: tuple[int, ...], kind: str, dtype: Any) -> None:
    arrays, mask = CASE.arrays(rng, dtype), masks(rng, shape)[kind]
    actual, expected = gradients(CASE, arrays, dd2424.from_numpy(mask)), CASE.expected(arrays, mask)
    for got, exact in zip(actual, expected, strict=False):
        assert_accurate(got, exact, roundings=24, scale=np.abs(exact).max() + 1e-3)


@pytest.mark.parametrize("name", ["one query", "long causal", "groups", "causal window"])
def test_masks_meet_places_and_groups(rng: np.random.Generator, isa: str, name: str) -> None:
    case = CASES[name]
    arrays = case.arrays(rng)
    for mask in masks(rng, (case.queries, case.keys)).values():
        actual = gradients(case, arrays, dd2424.from_numpy(mask))
        for got, exact in zip(actual, case.expected(arrays, mask), strict=False):
            assert_accurate(got, exact, roundings=24, scale=np.abs(exact).max())


def test_masks_of_any_strides(rng: np.random.Generator) -> None:
    arrays, mask = CASE.arrays(rng), rng.random((2, 3, 40, 70)) > 0.4
    plain = bits(gradients(CASE, arrays, dd2424.from_numpy(mask)))
    transposed = dd2424.from_numpy(mask.swapaxes(2, 3).copy()).mT
    assert bits(gradients(CASE, arrays, transposed)) == plain
    spread = dd2424.from_numpy(np.repeat(mask, 3, 3))[..., ::3]
    assert bits(gradients(CASE, arrays, spread)) == plain


@pytest.mark.parametrize("shape", [(2, 3, 40, 70), (1, 1, 40, 70), (3, 1, 1), (70,)])
def test_gradient_by_the_mask(rng: np.random.Generator, isa: str, shape: tuple[int, ...]) -> None:
    case = Case(2, 3, 40, 70, 16, options={"is_causal": True, "offset": 20})
    arrays, bias = case.arrays(rng), rng.standard_normal(shape).astype(np.float32)
    leaf = dd2424.from_numpy(bias).requires_grad_()
    gradients(case, arrays, leaf)
    exact = case.expected(arrays, bias)[4]
    lead = tuple(range(4 - len(shape)))
    kept = tuple(d for d, size in enumerate(shape) if size == 1 and exact.sum(lead).shape[d] != 1)
    assert_accurate(
        leaf.grad, exact.sum(lead).sum(kept, keepdims=True), roundings=24, scale=np.abs(exact).sum(lead).max()
    )


def test_queries_that_see_nothing_give_zeros_and_no_gradient(rng: np.random.Generator, isa: str) -> None:
    case = Case(1, 2, 20, 30, 8)
    arrays, seen = case.arrays(rng), np.ones((20, 30), bool)
    seen[[0, 7, 19]] = False
    for mask in (seen, np.where(seen, 0, -np.inf).astype(np.float32)):
        y, dq, dk, dv = (t.numpy() for t in gradients(case, arrays, dd2424.from_numpy(mask)))
        for result in (y, dq):
            assert not result[:, :, ~seen[:, 0]].any()
            assert result[:, :, seen[:, 0]].any(-1).all()
        assert np.isfinite(dk).all()
        assert np.isfinite(dv).all()


@pytest.mark.parametrize("queries", [1, 40])
@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_nothing_leaks_from_behind_a_mask(rng: np.random.Generator, isa: str, queries: int, special: float) -> None:
    case = Case(2, 2, queries, 70, 16)
    arrays, seen = case.arrays(rng), rng.random(70) > 0.3
    clean = gradients(case, arrays, dd2424.from_numpy(seen))
    arrays[1][:, :, ~seen], arrays[2][:, :, ~seen] = special, special
    for mask in (seen, np.where(seen, 0, -np.inf).astype(np.float32)):
        for got, exact in zip(gradients(case, arrays, dd2424.from_numpy(mask)), clean, strict=True):
            assert_accurate(got, exact.numpy(), roundings=24, scale=float(exact.abs().max()))


def test_nothing_leaks_from_the_future(rng: np.random.Generator, isa: str) -> None:
    case = Case(1, 8, 130, 130, 32, options={"is_causal": True})
    arrays = case.arrays(rng)
    clean = gradients(case, arrays)[0].numpy()
    arrays[1][:, :, 100:], arrays[2][:, :, 100:] = np.nan, np.nan
    y = case.run(*tensors(*arrays[:3])).numpy()
    assert_accurate(y[:, :, :100], clean[:, :, :100], roundings=24, scale=1.0)
    assert np.isnan(y[:, :, 100:]).all()


def test_the_lowest_number_is_no_infinity(isa: str) -> None:
    """Programs hide keys by adding it; where all are hidden so, all count alike."""
    v = dd2424.arange(6.0).reshape(1, 1, 6, 1)
    mask = dd2424.full((1, 1, 2, 6), dd2424.finfo(dd2424.float32).min)
    mask[0, 0, 0, 2:4] = 0
    y = F.scaled_dot_product_attention(dd2424.ones(1, 1, 2, 1), dd2424.ones(1, 1, 6, 1), v, mask)
    assert y.flatten().tolist() == [2.5, 2.5]


@pytest.mark.parametrize("name", ["T65", "groups", "long causal", "causal window", "one query"])
@pytest.mark.parametrize("masked", [False, True])
def test_dropout_draws_by_index(rng: np.random.Generator, isa: str, name: str, masked: bool) -> None:
    case = CASES[name]
    arrays, p = case.arrays(rng), 0.3
    mask = rng.random((case.queries, case.keys)) > 0.2 if masked else None
    width = (case.keys + 3) // 4 * 4
    dd2424.manual_seed(3)
    keep = F.dropout(dd2424.ones(case.batch, case.heads, case.queries, width), p).numpy()[..., : case.keys]
    dropped = Case(case.batch, case.heads, case.queries, case.keys, case.features, key_heads=case.key_heads,
                   options={**case.options, "dropout_p": p})  # fmt: skip
    dd2424.manual_seed(3)
    actual = gradients(dropped, arrays, None if mask is None else dd2424.from_numpy(mask))
    for got, exact in zip(actual, case.expected(arrays, mask, keep.astype(np.float64)), strict=False):
        assert_accurate(got, exact, roundings=24, scale=np.abs(exact).max())


def test_all_may_be_dropped(rng: np.random.Generator) -> None:
    q, k, v = tensors(*CASE.arrays(rng)[:3])
    assert not F.scaled_dot_product_attention(q, k, v, dropout_p=1.0).any()


ones = dd2424.ones
# fmt: off
REFUSALS: list[tuple[str, dict[str, Any]]] = [
    (r"query must have at least 2 dimensions, got shape \(4,\)", {"query": ones(4)}),
    (r"key must have the dtype of query, .*float32, got .*float64", {"key": ones(2, 3, 6, 4, dtype=dd2424.float64)}),
    (r"query must have a floating dtype, got .*int64",
     {name: ones(2, 3, 5, 4, dtype=dd2424.int64) for name in ("query", "key", "value")}),
    (r"key must have as many features as query, got shapes \(2, 3, 6, 5\) and", {"key": ones(2, 3, 6, 5)}),
    (r"value must have as many rows as key, got shapes \(2, 3, 7, 4\) and", {"value": ones(2, 3, 7, 4)}),
    (r"must have the same batch and heads \(or heads in groups", {"key": ones(2, 2, 6, 4), "value": ones(2, 2, 6, 4)}),
    (r"must have the same batch and heads", {"query": ones(4, 3, 5, 4)}),
    (r"the same number of heads, which divides that of query",
     {"key": ones(2, 2, 6, 4), "value": ones(2, 2, 6, 4), "enable_gqa": True}),
    (r"attn_mask must be boolean, float32 or of query's dtype.* got .*int64", {"attn_mask": ones(5, 6).long()}),
    (r"attn_mask must broadcast to \(2, 3, 5, 6\), got shape \(6, 5\)", {"attn_mask": ones(6, 5)}),
    (r"attn_mask must broadcast to \(2, 3, 5, 6\), got shape \(1, 2, 3, 5, 6\)", {"attn_mask": ones(1, 2, 3, 5, 6)}),
    (r"dropout_p must be a probability from 0 to 1, got 1.5", {"dropout_p": 1.5}),
]
# fmt: on


@pytest.mark.parametrize(("message", "changes"), REFUSALS)
def test_each_refusal(message: str, changes: dict[str, Any]) -> None:
    arguments = {"query": ones(2, 3, 5, 4), "key": ones(2, 3, 6, 4), "value": ones(2, 3, 6, 4)}
    with pytest.raises(RuntimeError, match="scaled_dot_product_attention: .*" + message):
        F.scaled_dot_product_attention(**{**arguments, **changes})


def test_refusals_of_other_classes() -> None:
    q = ones(1, 1, 2, 4)
    with pytest.raises(ValueError, match="scaled_dot_product_attention: window must be positive, got 0"):
        F.scaled_dot_product_attention(q, q, q, window=0)
    with pytest.raises(RuntimeError, match=r"packed_attention: qkv must be \(N, T, 3, H, D\), got shape \(2, 3, 4\)"):
        F.packed_attention(ones(2, 3, 4))
    with pytest.raises(TypeError, match="a tensor must be given, got None"):
        F.scaled_dot_product_attention(q, q, None)
