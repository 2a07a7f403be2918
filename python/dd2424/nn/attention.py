"""Modules that attend: with several heads, and the two of recurrent translation."""

from __future__ import annotations

import contextlib
import enum
import math
from collections.abc import Iterator, Sequence
from typing import Any

from dd2424 import _core, functional as F
from dd2424._core import Tensor, dtype
from dd2424.nn import init
from dd2424.nn.linear import Linear
from dd2424.nn.module import Module
from dd2424.nn.parameter import Parameter

__all__ = ["AdditiveAttention", "MultiheadAttention", "MultiplicativeAttention"]


class SDPBackend(enum.Enum):
    """PyTorch's names for its implementations of `scaled_dot_product_attention`, of which there is one here."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends: SDPBackend | Sequence[SDPBackend], set_priority: bool = False) -> Iterator[None]:
    """Takes PyTorch's choice of an implementation, and changes nothing. Raises: AssertionError for anything else."""
    chosen = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(chosen, list | tuple) or not all(isinstance(backend, SDPBackend) for backend in chosen):
        raise AssertionError(f"sdpa_kernel: backends must be SDPBackend or a list of them, got {backends!r}")
    yield


class MultiheadAttention(Module):
    """Attention in `num_heads` subspaces at once, between learned projections.

        y = concat(head_1 ... head_H) W_o^T + b_o, head_i = attention(q W_q,i^T, k W_k,i^T, v W_v,i^T)

    A boolean mask is True where a key is hidden; any other is added to the scores. `attn_mask` (T, S) or (N H, T, S),
    `key_padding_mask` (N, S); `is_causal` says that attn_mask is the causal one, which is then not read. The weights,
    averaged over heads or not, are the second result if `need_weights`; without them no matrix (T, S) is ever made.
    Shapes: query (T, N, E), key (S, N, kdim), value (S, N, vdim), or (N, T, E) ... with `batch_first`, or all without
    N; output as query, and (N, T, S) or (N, H, T, S).
    Raises: ValueError, AssertionError, RuntimeError for sizes that do not fit.
    Source: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3.2.2.
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(f"MultiheadAttention: embed_dim and num_heads must be positive, "
                             f"got {embed_dim} and {num_heads}")  # fmt: skip
        if embed_dim % num_heads:
            raise AssertionError(f"MultiheadAttention: num_heads must divide embed_dim {embed_dim}, got {num_heads}")
        super().__init__()
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        e, same = embed_dim, self._qkv_same_embed_dim
        shapes: dict[str, tuple[int, ...] | None] = {
            "q_proj_weight": None if same else (e, e),
            "k_proj_weight": None if same else (e, self.kdim),
            "v_proj_weight": None if same else (e, self.vdim),
            "in_proj_weight": (3 * e, e) if same else None,
            "in_proj_bias": (3 * e,) if bias else None,
            "bias_k": (1, 1, e) if add_bias_kv else None,
            "bias_v": (1, 1, e) if add_bias_kv else None,
        }
        order = ["in_proj_weight"] if same else []  # in a state_dict
        for name in (*order, *(name for name in shapes if name not in order)):
            shape = shapes[name]
            values = None if shape is None else Parameter(_core.empty(shape, dtype=dtype, device=device))
            self.register_parameter(name, values)
        self.out_proj = Linear(e, e, bias, device, dtype)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw the initial values again."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, None if self.in_proj_bias is None else self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for row in (self.bias_k, self.bias_v):
            if row is not None:
                init.xavier_normal_(row)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        return F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k,
            self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, self.training,
            key_padding_mask, need_weights, attn_mask, not self._qkv_same_embed_dim, self.q_proj_weight,
            self.k_proj_weight, self.v_proj_weight, average_attn_weights=average_attn_weights, is_causal=is_causal,
            batch_first=self.batch_first,
        )  # fmt: skip


def _mean(scores: Tensor, values: Tensor, mask: Tensor | None, had_time: bool) -> tuple[Tensor, Tensor]:
    """The values' mean by softmax of the scores (N, T, S), and the weights; 0 where no key is seen."""
    if mask is not None:
        seen = mask if mask.ndim == 3 else mask.unsqueeze(1)
        blind = ~seen.any(-1, True)
        scores = scores.masked_fill(~seen, -float("inf")).masked_fill(blind, 0.0)
        weights = F.softmax(scores, -1).masked_fill(blind, 0.0)
    else:
        weights = F.softmax(scores, -1)
    context = weights @ values
    return (context, weights) if had_time else (context.squeeze(1), weights.squeeze(1))


class AdditiveAttention(Module):
    """Attention scored by a small network, as in the first translation models with attention.

        score(q, k) = v^T tanh(W_q q + W_k k + b)

    `values` are the keys by default; mask is True where a key is seen. The keys' part may be computed once for many
    queries: `projected_keys=module.project(keys)`.
    Shapes: query (N, query_dim) or (N, T, query_dim), keys (N, S, key_dim), values (N, S, V), mask (N, S) or (N, T, S);
    output (N, V) or (N, T, V), and the weights (N, S) or (N, T, S).
    Source: Bahdanau, Cho and Bengio, arXiv:1409.0473, appendix A.1.2.
    """

    def __init__(self, query_dim: int, key_dim: int, hidden_dim: int, bias: bool = True) -> None:
        super().__init__()
        self.query_proj = Linear(query_dim, hidden_dim, bias=False)
        self.key_proj = Linear(key_dim, hidden_dim, bias=bias)
        self.score = Linear(hidden_dim, 1, bias=False)

    def project(self, keys: Tensor) -> Tensor:
        """The keys' part of the score: W_k k + b."""
        projected: Tensor = self.key_proj(keys)
        return projected

    def forward(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor | None = None,
        mask: Tensor | None = None,
        projected_keys: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        queries = query if query.ndim == 3 else query.unsqueeze(1)
        projected = self.project(keys) if projected_keys is None else projected_keys
        hidden = _core.tanh(self.query_proj(queries).unsqueeze(2) + projected.unsqueeze(1))
        return _mean(self.score(hidden).squeeze(-1), keys if values is None else values, mask, query.ndim == 3)


class MultiplicativeAttention(Module):
    """Attention scored by a product of query and key.

        score(q, k) = q^T k ("dot"), q^T k / sqrt(D) ("scaled"), or q^T W k ("general")

    `values` are the keys by default; mask is True where a key is seen. Without `need_weights` the weights are None, and
    memory is linear in the lengths.
    Shapes: query (N, query_dim) or (N, T, query_dim), keys (N, S, key_dim), values (N, S, V), mask (N, S) or (N, T, S);
    output (N, V) or (N, T, V), and the weights (N, S) or (N, T, S).
    Raises: ValueError for another score, or sizes that differ where there is no W.
    Source: Luong, Pham and Manning, arXiv:1508.04025, section 3.1.
    """

    def __init__(self, query_dim: int, key_dim: int | None = None, score: str = "general") -> None:
        super().__init__()
        if score not in ("dot", "scaled", "general"):
            raise ValueError(f'MultiplicativeAttention: score must be "dot", "scaled" or "general", got "{score}"')
        self.score, self.query_dim, self.key_dim = score, query_dim, query_dim if key_dim is None else key_dim
        if score != "general" and self.key_dim != query_dim:
            raise ValueError(f'MultiplicativeAttention: key_dim must be query_dim {query_dim} for score "{score}", '
                             f"got {key_dim}")  # fmt: skip
        self.proj = Linear(query_dim, self.key_dim, bias=False) if score == "general" else None
        self.scale = 1 / math.sqrt(query_dim) if score == "scaled" else 1.0

    def forward(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor | None = None,
        mask: Tensor | None = None,
        need_weights: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        queries = query if query.ndim == 3 else query.unsqueeze(1)
        queries = queries if self.proj is None else self.proj(queries)
        values = keys if values is None else values
        if need_weights:
            return _mean(queries @ keys.mT * self.scale, values, mask, query.ndim == 3)
        seen = mask if mask is None or mask.ndim == 3 else mask.unsqueeze(1)
        context = F.scaled_dot_product_attention(queries, keys, values, seen, scale=self.scale)
        return context if query.ndim == 3 else context.squeeze(1), None

    def extra_repr(self) -> str:
        return f'{self.query_dim}, {self.key_dim}, score="{self.score}"'
