"""MultiheadAttention and the two attentions of translation, against their formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import autograd, nn
from dd2424.nn import functional as F
from reference import attention as reference


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
def test_multihead_attention_is_heads_between_projections(
    rng: np.random.Generator, batch_first: bool, need_weights: bool
) -> None:
    layer = nn.MultiheadAttention(12, 3, batch_first=batch_first).double()
    nn.init.normal_(layer.in_proj_bias), nn.init.normal_(layer.out_proj.bias)
    x = rng.standard_normal((2, 5, 12))
    projected = x @ layer.in_proj_weight.detach().numpy().T + layer.in_proj_bias.detach().numpy()
    q, k, v = projected.reshape(2, 5, 3, 3, 4).transpose(2, 0, 3, 1, 4)
    weights = reference.weights(q, k, np.ones((5, 5), bool))
    heads = reference.attention(weights, v).transpose(0, 2, 1, 3).reshape(2, 5, 12)
    expected = heads @ layer.out_proj.weight.detach().numpy().T + layer.out_proj.bias.detach().numpy()
    given = dd2424.from_numpy(x if batch_first else x.swapaxes(0, 1).copy())
    y, attended = layer(given, given, given, need_weights=need_weights)
    assert_accurate(y.numpy(force=True) if batch_first else y.transpose(0, 1), expected, roundings=16, scale=1.0)
    if need_weights:
        assert_accurate(attended, weights.mean(1), roundings=16)
    else:
        assert attended is None


OPTIONS: list[dict[str, Any]] = [
    {}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 5, "vdim": 7},
    {"add_bias_kv": True, "add_zero_attn": True, "kdim": 5}, {"dropout": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("batch_first", [False, True])
def test_with_and_without_weights_the_result_is_the_same(
    rng: np.random.Generator, options: dict[str, Any], batch_first: bool
) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).double().eval()
    shapes = ((3, 4, 8), (3, 6, options.get("kdim", 8)), (3, 6, options.get("vdim", 8)))
    inputs = [dd2424.from_numpy(rng.standard_normal(s)) for s in shapes]
    inputs = inputs if batch_first else [x.transpose(0, 1) for x in inputs]
    padding = dd2424.from_numpy(rng.random((3, 6)) > 0.6)
    mask = dd2424.from_numpy(rng.random((6, 4, 6)) > 0.6)
    for masks in ({}, {"key_padding_mask": padding}, {"attn_mask": mask, "key_padding_mask": padding.double() * -3}):
        slow, weights = layer(*inputs, need_weights=True, average_attn_weights=False, **masks)
        fast, nothing = layer(*inputs, need_weights=False, **masks)
        assert_accurate(fast, slow.detach().numpy(), roundings=32, scale=1.0)
        extra = bool(options.get("add_bias_kv")) + bool(options.get("add_zero_attn"))
        assert weights.shape == (3, 2, 4, 6 + extra)
        assert nothing is None


def test_self_attention_makes_no_copies(rng: np.random.Generator) -> None:
    layer = nn.MultiheadAttention(16, 4, batch_first=True)
    x = dd2424.from_numpy(rng.standard_normal((2, 9, 16)).astype(np.float32))
    with dd2424.no_grad():
        before = dd2424.kernel_count()
        layer(x, x, x, need_weights=False)
    assert dd2424.kernel_count() - before == 3, "two products and the attention between them"


def test_fully_padded_items_give_the_bias() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    nn.init.ones_(layer.out_proj.bias)
    x, padding = dd2424.randn(2, 3, 8), dd2424.tensor([[False] * 3, [True] * 3])
    for need_weights in (False, True):
        y, _ = layer(x, x, x, padding, need_weights)
        assert (y[1] == 1).all()
        assert y.isfinite().all()


def test_gradients_of_multihead_attention(rng: np.random.Generator) -> None:
    layer = nn.MultiheadAttention(4, 2, batch_first=True).double()
    x = dd2424.from_numpy(rng.standard_normal((2, 3, 4))).requires_grad_()
    causal = dd2424.ones(3, 3, dtype=dd2424.bool).triu(1)
    assert autograd.gradcheck(lambda t: layer(t, t, t, need_weights=False)[0], (x,))
    assert autograd.gradcheck(lambda t: layer(t, t, t, None, False, causal, True, True)[0], (x,))
    weight = layer.in_proj_weight.detach().clone().requires_grad_()

    def by_weight(weight: Any) -> Any:
        return F.multi_head_attention_forward(
            *[x.detach().transpose(0, 1)] * 3, 4, 2, weight, layer.in_proj_bias, None, None, False, 0.0,
            layer.out_proj.weight.detach(), None, need_weights=False,
        )[0]  # fmt: skip

    assert autograd.gradcheck(by_weight, (weight,))


# fmt: off
REFUSALS: list[tuple[type[Exception], str, dict[str, Any], dict[str, Any]]] = [
    (ValueError, "embed_dim and num_heads must be positive, got 0 and 2", {"embed_dim": 0}, {}),
    (AssertionError, "num_heads must divide embed_dim 8, got 3", {"num_heads": 3}, {}),
    (AssertionError, "query must have embed_dim 6 features, got 8", {"embed_dim": 6}, {}),
    (RuntimeError, r"attn_mask must be \(4, 4\) or \(4, 4, 4\), got \(3, 4\)", {}, {"attn_mask": dd2424.ones(3, 4)}),
    (RuntimeError, r"attn_mask must be boolean or floating, got .*int64", {}, {"attn_mask": dd2424.ones(4, 4).long()}),
    (RuntimeError, r"key_padding_mask must be \(2, 4\), got \(4, 2\)", {}, {"key_padding_mask": dd2424.ones(4, 2)}),
    (RuntimeError, "attn_mask must be given with is_causal", {}, {"is_causal": True}),
]
# fmt: on


@pytest.mark.parametrize(("error", "message", "made", "called"), REFUSALS)
def test_each_refusal(error: type[Exception], message: str, made: dict[str, Any], called: dict[str, Any]) -> None:
    x = dd2424.ones(4, 2, 8)
    with pytest.raises(error, match=message):
        nn.MultiheadAttention(**{"embed_dim": 8, "num_heads": 2, **made})(x, x, x, **called)


@pytest.mark.parametrize("has_time", [False, True])
def test_additive_attention(rng: np.random.Generator, has_time: bool) -> None:
    layer = nn.AdditiveAttention(5, 4, 6).double()
    q, k, v = (rng.standard_normal(s) for s in ((2, 3, 5), (2, 7, 4), (2, 7, 8)))
    seen = rng.random((2, 7)) > 0.3
    of_q, of_k, b, score = (layer.get_parameter(name).detach().numpy() for name in
                            ("query_proj.weight", "key_proj.weight", "key_proj.bias", "score.weight"))  # fmt: skip
    hidden = np.tanh((q @ of_q.T)[:, :, None] + (k @ of_k.T + b)[:, None])
    weights = softmax(np.where(seen[:, None], (hidden @ score.T)[..., 0], -np.inf))
    q = q if has_time else q[:, 0]
    inputs = [dd2424.from_numpy(x) for x in (q, k, v, seen)]
    for projected in (None, layer.project(inputs[1])):
        context, attended = layer(*inputs, projected_keys=projected)
        at = slice(None) if has_time else 0
        assert_accurate(context, (weights @ v)[:, at], roundings=16, scale=1.0)
        assert_accurate(attended, weights[:, at], roundings=16)


@pytest.mark.parametrize("score", ["dot", "scaled", "general"])
def test_multiplicative_attention(rng: np.random.Generator, score: str) -> None:
    layer = nn.MultiplicativeAttention(4, 5 if score == "general" else None, score).double()
    k = rng.standard_normal((2, 7, 5 if score == "general" else 4))
    q, v, seen = rng.standard_normal((2, 4)), rng.standard_normal((2, 7, 3)), rng.random((2, 7)) > 0.3
    turned = q @ layer.proj.weight.detach().numpy().T if score == "general" else q
    scores = np.einsum("nd,nsd->ns", turned, k) / (2 if score == "scaled" else 1)
    weights = softmax(np.where(seen, scores, -np.inf))
    context, attended = layer(*(dd2424.from_numpy(x) for x in (q, k, v, seen)))
    assert_accurate(attended, weights, roundings=16)
    assert_accurate(context, np.einsum("ns,nsd->nd", weights, v), roundings=16, scale=1.0)
    fused, nothing = layer(*(dd2424.from_numpy(x) for x in (q, k, v, seen)), need_weights=False)
    assert nothing is None
    assert_accurate(fused, context.detach().numpy(), roundings=16, scale=1.0)


@pytest.mark.parametrize("layer", [nn.AdditiveAttention(4, 4, 3), nn.MultiplicativeAttention(4)])
def test_nothing_seen_gives_zeros(layer: Any) -> None:
    context, weights = layer(dd2424.ones(2, 4), dd2424.ones(2, 3, 4), mask=dd2424.tensor([[True] * 3, [False] * 3]))
    assert weights.tolist()[1] == [0, 0, 0]
    assert context[1].tolist() == [0] * 4
    assert context[0].tolist() == pytest.approx([1] * 4)


def test_refusals_of_scores() -> None:
    with pytest.raises(ValueError, match='score must be "dot", "scaled" or "general", got "cosine"'):
        nn.MultiplicativeAttention(4, score="cosine")
    with pytest.raises(ValueError, match='key_dim must be query_dim 4 for score "dot", got 5'):
        nn.MultiplicativeAttention(4, 5, "dot")
