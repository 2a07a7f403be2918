"""Attention with several heads between projections: what `nn.MultiheadAttention` computes from its parameters."""

from __future__ import annotations

from typing import NamedTuple

from dd2424 import _core
from dd2424._core import Tensor
from dd2424.functional.attention import packed_attention, scaled_dot_product_attention
from dd2424.functional.dropout import dropout
from dd2424.functional.resample_pad import pad

__all__ = ["multi_head_attention_forward"]
_NAME = "multi_head_attention_forward"


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    batch_first: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `nn.MultiheadAttention` computes, with its parameters as arguments; see there.

    `static_k` and `static_v`, (N * H, S, D), take the place of projected keys and values; `batch_first` is ours.
    """
    is_batched = query.ndim == 3
    if not is_batched:
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    if is_causal and attn_mask is None:
        raise RuntimeError(f"{_NAME}: attn_mask must be given with is_causal, which only says that it is causal")
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else (in_proj_weight,)
    projections = _Projections(weights, in_proj_bias, bias_k, bias_v, add_zero_attn, static_k, static_v)
    masks = (attn_mask, key_padding_mask, is_causal and not need_weights)
    first, p = batch_first and is_batched, dropout_p if training else 0.0
    sizes = _sizes(query, key, value, embed_dim_to_check, num_heads, first)
    y, attended = _attend(query, key, value, sizes, projections, masks, p, need_weights, first)
    y = y.permute(0, 2, 1, 3) if first else y.permute(2, 0, 1, 3)
    y = _core.linear(y.flatten(2), out_proj_weight, out_proj_bias)
    if attended is not None and average_attn_weights:
        attended = attended.mean(1)
    if is_batched:
        return y, attended
    return y.squeeze(1), None if attended is None else attended.squeeze(0)


class _Projections(NamedTuple):
    weights: tuple[Tensor | None, ...]  # one for all, or three
    bias: Tensor | None
    bias_k: Tensor | None
    bias_v: Tensor | None
    add_zero_attn: bool
    static_k: Tensor | None
    static_v: Tensor | None

    @property
    def is_plain(self) -> bool:
        """Whether keys and values are nothing but products."""
        return all(x is None for x in (self.bias_k, self.bias_v, self.static_k, self.static_v)) and (
            not self.add_zero_attn
        )


class _Sizes(NamedTuple):
    batch: int
    queries: int
    keys: int
    heads: int
    head: int  # features of one


def _sizes(query: Tensor, key: Tensor, value: Tensor, features: int, heads: int, batch_first: bool) -> _Sizes:
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.ndim != 3:
            raise AssertionError(
                f"{_NAME}: {name} must have 2 or 3 dimensions as query has, got shape {tuple(x.shape)}"
            )
    if query.shape[-1] != features:
        raise AssertionError(f"{_NAME}: query must have embed_dim {features} features, got {query.shape[-1]}")
    if features % heads:
        raise AssertionError(f"{_NAME}: num_heads must divide embed_dim {features}, got {heads}")
    if key.shape[:2] != value.shape[:2]:
        raise AssertionError(f"{_NAME}: value must have the length and batch of key, {tuple(key.shape[:2])}, "
                             f"got {tuple(value.shape[:2])}")  # fmt: skip
    batch, time = (0, 1) if batch_first else (1, 0)
    if key.shape[batch] != query.shape[batch]:
        raise RuntimeError(f"{_NAME}: key must have the batch of query, {query.shape[batch]}, got {key.shape[batch]}")
    return _Sizes(query.shape[batch], query.shape[time], key.shape[time], heads, features // heads)


def _added(name: str, mask: Tensor, like: Tensor) -> Tensor:
    """The mask as what is added: True, which hides a key here, becomes -inf."""
    if mask.dtype == _core.bool:
        return _core.zeros(mask.shape, dtype=like.dtype, device=mask.device).masked_fill(mask, -float("inf"))
    if not mask.dtype.is_floating_point:
        raise RuntimeError(f"{_NAME}: {name} must be boolean or floating, got {mask.dtype}")
    return mask.to(like.dtype)


def _merged_mask(
    attn_mask: Tensor | None, padding: Tensor | None, sizes: _Sizes, extra: int, like: Tensor
) -> Tensor | None:
    """Both masks as one for (N, H, T, S), boolean (True is seen) where both are; `extra` keys are seen."""
    n, heads, queries, keys = sizes.batch, sizes.heads, sizes.queries, sizes.keys
    parts = []
    if attn_mask is not None:
        wanted = {2: (queries, keys), 3: (n * heads, queries, keys)}.get(attn_mask.ndim)
        if wanted is None or tuple(attn_mask.shape) != wanted:
            raise RuntimeError(f"{_NAME}: attn_mask must be {(queries, keys)} or {(n * heads, queries, keys)}, "
                               f"got {tuple(attn_mask.shape)}")  # fmt: skip
        parts.append(("attn_mask", attn_mask if attn_mask.ndim == 2 else attn_mask.unflatten(0, (n, heads))))
    if padding is not None:
        if tuple(padding.shape) != (n, keys):
            raise RuntimeError(f"{_NAME}: key_padding_mask must be {(n, keys)}, got {tuple(padding.shape)}")
        parts.append(("key_padding_mask", padding.reshape((n, 1, 1, keys))))
    if not parts:
        return None
    if all(mask.dtype == _core.bool for _, mask in parts):
        seen = [~mask for _, mask in parts]
        merged = seen[0] if len(seen) == 1 else seen[0] & seen[1]
        return pad(merged, (0, extra), value=1.0) if extra else merged
    added = [_added(name, mask, like) for name, mask in parts]
    total = added[0] if len(added) == 1 else added[0] + added[1]
    return pad(total, (0, extra)) if extra else total


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weights: tuple[Tensor | None, ...], bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values by one weight for all, in as few products as there are inputs, or by three."""
    if any(weight is None for weight in weights):
        raise AssertionError(f"{_NAME}: the weights of the projections must be given, got None")
    biases = (None, None, None) if bias is None else bias.chunk(3)
    if len(weights) == 3:
        of_q, of_k, of_v = weights
    elif key is value and query is not key:
        features = query.shape[-1]
        both = _core.linear(key, weights[0][features:], None if bias is None else bias[features:])  # type: ignore[index]
        k, v = both.chunk(2, -1)
        return _core.linear(query, weights[0][:features], biases[0]), k, v  # type: ignore[index]
    else:
        of_q, of_k, of_v = weights[0].chunk(3)  # type: ignore[union-attr]
    pairs = ((query, of_q, biases[0]), (key, of_k, biases[1]), (value, of_v, biases[2]))
    q, k, v = (_core.linear(x, weight, b) for x, weight, b in pairs)  # type: ignore[arg-type]
    return q, k, v


def _attend(
    query: Tensor, key: Tensor, value: Tensor, sizes: _Sizes, by: _Projections,
    masks: tuple[Tensor | None, Tensor | None, bool], p: float, need_weights: bool, first: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """What the heads see, (N, H, T, D), and the weights; one tensor from projection to attention where that serves."""
    attn_mask, padding, is_causal = masks
    causal = is_causal and padding is None and by.is_plain
    extra = (by.bias_k is not None) + by.add_zero_attn
    mask = _merged_mask(None if causal else attn_mask, padding, sizes, extra, query)
    if (
        query is key is value
        and by.is_plain
        and len(by.weights) == 1
        and by.weights[0] is not None
        and not need_weights
    ):
        packed = _core.linear(query, by.weights[0], by.bias).unflatten(-1, (3, sizes.heads, sizes.head))
        return packed_attention(packed if first else packed.transpose(0, 1), mask, p, causal), None
    q, k, v = _projected(query, key, value, by.weights, by.bias)
    if (by.bias_k is None) != (by.bias_v is None):
        raise AssertionError(f"{_NAME}: bias_k and bias_v must be given together")
    if by.bias_k is not None and by.bias_v is not None:
        k, v = _with_row(k, by.bias_k, first), _with_row(v, by.bias_v, first)
    q, k, v = (_heads(x, sizes.heads, first) for x in (q, k, v))
    k, v = _static(by.static_k, k, sizes), _static(by.static_v, v, sizes)
    if by.add_zero_attn:
        k, v = (_core.cat([x, x.new_zeros((*x.shape[:2], 1, x.shape[3]))], 2) for x in (k, v))
    if not need_weights:
        return scaled_dot_product_attention(q, k, v, mask, p, causal), None
    weights = dropout(attention_weights(q, k, mask), p)
    return weights @ v, weights


def _with_row(x: Tensor, row: Tensor, batch_first: bool) -> Tensor:
    """One more key or value after the others, (1, 1, E), the same for the whole batch."""
    batch, time = (0, 1) if batch_first else (1, 0)
    sizes = [1, 1, 1]
    sizes[batch] = x.shape[batch]
    return _core.cat([x, row.repeat(tuple(sizes))], time)


def _heads(x: Tensor, heads: int, batch_first: bool) -> Tensor:
    """(N, H, T, D), a view."""
    split = x.unflatten(-1, (heads, x.shape[-1] // heads))
    return split.permute(0, 2, 1, 3) if batch_first else split.permute(1, 2, 0, 3)


def _static(given: Tensor | None, projected: Tensor, sizes: _Sizes) -> Tensor:
    if given is None:
        return projected
    if given.ndim != 3 or (given.shape[0], given.shape[2]) != (sizes.batch * sizes.heads, sizes.head):
        raise AssertionError(f"{_NAME}: static_k and static_v must be ({sizes.batch * sizes.heads}, S, {sizes.head}), "
                             f"got {tuple(given.shape)}")  # fmt: skip
    return given.unflatten(0, (sizes.batch, sizes.heads))


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """The whole matrix softmax(scale * q k^T + mask) that attention multiplies values with; 0 where no key is seen.

    Shapes: q (*, T, D), k (*, S, D), mask boolean (True is seen) or added, broadcast to (*, T, S); output (*, T, S).
    """
    scores = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.mT
    if mask is None:
        return _core.softmax(scores, -1)
    if mask.dtype == _core.bool:
        scores = scores.masked_fill(~mask, -float("inf"))
    else:
        scores = scores + mask
    is_blind = (scores == -float("inf")).all(-1, True)
    return _core.softmax(scores.masked_fill(is_blind, 0.0), -1).masked_fill(is_blind, 0.0)
