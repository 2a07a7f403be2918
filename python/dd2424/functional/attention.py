"""Attention: each query's mean of values, weighted by how well the keys answer it."""

from __future__ import annotations

from dd2424 import _core
from dd2424._core import Tensor

__all__ = ["packed_attention", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    window: int | None = None,
    offset: int = 0,
) -> Tensor:
    """Attention in memory linear in the lengths, forward and backward: no matrix of weights is ever whole.

        softmax(scale * query key^T + attn_mask) value, the weights then dropped out

    `scale` is 1 / sqrt(D) by default. A boolean mask is True where a key is seen, any other is added; it broadcasts
    over batch, heads and queries. Query i stands at position i + `offset` among the keys: with `is_causal` it sees
    none after it, with `window` only keys less than so far away; a mask may come on top. What is not seen has no
    influence, not even as NaN; a query that sees nothing gives 0. With `enable_gqa`, query heads in equal groups share
    the heads of key and value. `dropout_p` applies always: pass 0 in evaluation. Heads may be views of one packed
    tensor, and the result lies in memory as query does, so that `transpose(1, 2).flatten(2)` of heads made by
    `transpose` is a view.
    Shapes: query (N, *, H, T, D), key (N, *, H, S, D), value (N, *, H, S, E), attn_mask (N, *, H, T, S) or smaller;
    output (N, *, H, T, E). N, * and H are optional.
    Raises: RuntimeError for shapes and dtypes that do not fit each other.
    Source: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3.2; Dao, "FlashAttention-2",
    arXiv:2307.08691.
    """
    return _core.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, window, offset
    )


def packed_attention(
    qkv: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    window: int | None = None,
) -> Tensor:
    """`scaled_dot_product_attention` of queries, keys and values in one tensor, as one projection leaves them.

    The gradient is one tensor too, without the copies that come with views.
    Shapes: qkv (N, T, 3, H, D), of any strides; attn_mask as there; output (N, H, T, D).
    Raises: RuntimeError for another shape. Source: as there.
    """
    return _core.packed_attention(qkv, attn_mask, dropout_p, is_causal, scale, window)
