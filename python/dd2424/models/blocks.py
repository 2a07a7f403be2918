"""The block that GPT and ViT are made of: attention and two linear layers, each behind a norm of its own.

What a block adds to the stream is left to the next norm, which adds and normalises in one kernel: blocks take and give
the stream `x` and the `branch` that is still to be added to it.
"""

from __future__ import annotations

from dd2424 import Tensor, nn
from dd2424.nn import KVCache, functional as F


class SelfAttention(nn.Module):
    """Softmax attention of a sequence to itself, its queries, keys and values made by one product.

    Attention reads them where the product leaves them. With a `cache` the keys and values seen before are attended to
    as well, and the new ones join them. `rotary` turns queries and keys by their positions.
    Shapes: input (N, T, width); output the same.
    Source: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3.2; GPT-2's names.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        is_causal: bool,
        bias: bool = True,
        dropout: float = 0.0,
        rotary: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if heads <= 0 or width % heads:
            raise ValueError(f"SelfAttention: width must be a multiple of heads {heads}, got {width}")
        self.heads, self.is_causal, self.dropout = heads, is_causal, dropout
        self.c_attn = nn.Linear(width, 3 * width, bias)
        self.c_proj = nn.Linear(width, width, bias)
        self.rotary = rotary

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        n, length, width = x.shape
        dropout = self.dropout if self.training else 0.0
        packed = self.c_attn(x).view(n, length, 3, self.heads, width // self.heads)
        if cache is None and self.rotary is None:
            seen = F.packed_attention(packed, None, dropout, self.is_causal)
        else:
            query, key, value = packed.permute(2, 0, 3, 1, 4).unbind(0)  # (N, heads, T, D), where they lie
            offset = 0 if cache is None else cache.length
            if self.rotary is not None:
                query, key = self.rotary(query, offset), self.rotary(key, offset)
            if cache is not None:
                key, value = cache.append(key, value)
            seen = F.scaled_dot_product_attention(query, key, value, None, dropout, self.is_causal, offset=offset)
        y = seen.transpose(1, 2).reshape(n, length, width)
        out: Tensor = self.c_proj(y)
        return out


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, which the first one's kernel computes.

    "swiglu" and "geglu" multiply it by a second product of the input.
    Shapes: input (*, width); output the same. Raises: ValueError for another activation.
    Source: Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202 (the gated ones); GPT-2's names.
    """

    def __init__(self, width: int, hidden: int, *, activation: str = "gelu", bias: bool = True) -> None:
        super().__init__()
        known = ("relu", "gelu", "gelu_tanh", "silu", "swiglu", "geglu")
        if activation not in known:
            raise ValueError(f"FeedForward: activation must be one of {', '.join(known)}, got {activation!r}")
        self.activation, self.is_gated = activation, activation in ("swiglu", "geglu")
        self.c_fc = nn.Linear(width, 2 * hidden if self.is_gated else hidden, bias)
        self.c_proj = nn.Linear(hidden, width, bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.is_gated:
            both = self.c_fc(x)
            hidden = F.swiglu(both) if self.activation == "swiglu" else F.geglu(both)
        else:
            hidden = F.linear(x, self.c_fc.weight, self.c_fc.bias, self.activation)
        y: Tensor = self.c_proj(hidden)
        return y


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)), with dropout on what is added.

    Shapes: x, and `branch` where there is one, (N, T, width); both results the same. The stream is their sum.
    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        is_causal: bool,
        activation: str = "gelu",
        bias: bool = True,
        dropout: float = 0.0,
        rotary: nn.Module | None = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps, bias=bias)
        self.attn = SelfAttention(width, heads, is_causal=is_causal, bias=bias, dropout=dropout, rotary=rotary)
        self.ln_2 = nn.LayerNorm(width, eps, bias=bias)
        self.mlp = FeedForward(width, hidden, activation=activation, bias=bias)
        self.dropout = dropout

    def forward(self, x: Tensor, branch: Tensor | None = None, cache: KVCache | None = None) -> tuple[Tensor, Tensor]:
        normal, x = (self.ln_1(x), x) if branch is None else self.ln_1(branch, x)
        normal, x = self.ln_2(self._dropped(self.attn(normal, cache)), x)
        return x, self._dropped(self.mlp(normal))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x
