"""GPT: a Transformer that predicts the next token. GPT-2's networks, names and weights, and smaller ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import dd2424
from dd2424 import Generator, Tensor, nn, no_grad
from dd2424.models.blocks import Block
from dd2424.nn import KVCache, functional as F


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT, by default of one that learns characters on a laptop.

    `hidden` is the feed-forward width, 4 * width where it is 0. `tied` scores tokens by the embedding's own vectors.
    `positions` is "learned" or "rotary"; `activation` one of `FeedForward`'s ("gelu_tanh" is GPT-2's).
    """

    vocabulary: int = 65
    context: int = 256
    layers: int = 6
    heads: int = 6
    width: int = 384
    hidden: int = 0
    dropout: float = 0.0
    bias: bool = True
    tied: bool = True
    positions: str = "learned"
    activation: str = "gelu"

    def __post_init__(self) -> None:
        for name in ("vocabulary", "context", "layers", "heads", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"GPTConfig: {name} must be positive, got {getattr(self, name)}")
        if self.positions not in ("learned", "rotary"):
            raise ValueError(f"GPTConfig: positions must be 'learned' or 'rotary', got {self.positions!r}")


class GPT(nn.Module):
    """Embeddings, blocks that attend to what lies before, a norm, and scores of the next token.

    Matrices and embeddings are drawn from N(0, 0.02^2), those that write to the stream from N(0, 0.02^2 / (2 layers)).
    Shapes: tokens (N, T) of integers, T <= context; output (N, T, vocabulary).
    Raises: ValueError for a sequence that is longer than the context.
    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = c = config
        rotary = nn.RotaryPositions(c.width // c.heads, c.context) if c.positions == "rotary" else None
        self.wte = nn.Embedding(c.vocabulary, c.width)
        self.wpe = nn.Embedding(c.context, c.width) if c.positions == "learned" else None
        self.h = nn.ModuleList(
            Block(c.width, c.heads, c.hidden or 4 * c.width, is_causal=True, activation=c.activation, bias=c.bias,
                  dropout=c.dropout, rotary=rotary)
            for _ in range(c.layers)
        )  # fmt: skip
        self.ln_f = nn.LayerNorm(c.width, bias=c.bias)
        self.lm_head = None if c.tied else nn.Linear(c.width, c.vocabulary, bias=False)
        self._reset()

    def _reset(self) -> None:
        for name, p in self.named_parameters():
            if p.ndim > 1:
                writes = name.endswith("c_proj.weight")
                nn.init.normal_(p, 0.0, 0.02 / math.sqrt(2 * self.config.layers) if writes else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def features(self, tokens: Tensor, caches: list[KVCache] | None = None) -> Tensor:
        """What is scored: the last norm's output. Shapes: tokens (N, T); output (N, T, width)."""
        offset, length = caches[0].length if caches else 0, tokens.shape[1]
        if offset + length > self.config.context:
            raise ValueError(f"GPT: tokens must be at most context={self.config.context} long, got {offset + length}")
        x, branch = self.wte(tokens), None
        if self.wpe is not None:
            x = x + self.wpe.weight[offset : offset + length]
        if self.config.dropout:
            x = F.dropout(x, self.config.dropout, self.training)
        for i, block in enumerate(self.h):
            x, branch = block(x, branch, caches[i] if caches else None)
        normal: Tensor = self.ln_f(branch, x)[0]
        return normal

    def scores(self, features: Tensor) -> Tensor:
        """The logits of the next token. Shapes: features (*, width); output (*, vocabulary)."""
        return F.linear(features, self.wte.weight if self.lm_head is None else self.lm_head.weight)

    def forward(self, tokens: Tensor, caches: list[KVCache] | None = None) -> Tensor:
        return self.scores(self.features(tokens, caches))

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy of the targets, those of -100 left out. Shapes: both (N, T); result ()."""
        logits = self(tokens)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))

    def new_caches(self, batch: int) -> list[KVCache]:
        """One empty cache for each block, with room for the whole context."""
        c = self.config
        size = (batch, c.heads, c.context, c.width // c.heads)
        return [KVCache(*size, dtype=self.wte.weight.dtype) for _ in range(c.layers)]

    @no_grad()
    def generate(
        self,
        prompt: Tensor,
        tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """The prompt and `tokens` more, each drawn from the scores of what came before, by `sample`.

        Keys and values are kept, so that a token costs one position. When the context is full its later half is read
        again, and generation goes on from there.
        Shapes: prompt (N, T) or (T,), T >= 1; output (N, T + tokens), or (T + tokens,).
        Raises: ValueError for an empty prompt, and what `sample` raises.
        """
        text = prompt.reshape(1, -1) if prompt.ndim == 1 else prompt
        if text.shape[1] == 0:
            raise ValueError("generate: prompt must have a token, got none")
        was_training = self.training
        self.eval()
        try:
            pieces, read = [text], text[:, -self.config.context :]
            caches = self.new_caches(text.shape[0])
            for _ in range(tokens):
                if caches[0].length + read.shape[1] > self.config.context:
                    caches, seen = self.new_caches(text.shape[0]), dd2424.cat(pieces, 1)
                    read = seen[:, -max(self.config.context // 2, 1) :]
                last = self.scores(self.features(read, caches)[:, -1])
                read = sample(last, temperature, top_k, top_p, generator).unsqueeze(1)
                pieces.append(read)
        finally:
            self.train(was_training)
        every = dd2424.cat(pieces, 1)
        return every.view(-1) if prompt.ndim == 1 else every

    def load_gpt2(self, weights: Mapping[str, Tensor]) -> GPT:
        """Take over the weights of a GPT-2 under the names that Hugging Face's files have; returns the model.

        Names are ours behind an optional `transformer.`. The matrices of `c_attn`, `c_fc` and `c_proj` are stored
        (inputs, outputs) there and transposed here; the masks `attn.bias` and `attn.masked_bias` are not weights, and
        `lm_head.weight` is the embedding's where they are tied. The model needs `GPTConfig(50257, 1024, layers, heads,
        width, activation="gelu_tanh")`: 12 layers of width 768 with 12 heads for the smallest.
        Raises: RuntimeError as `load_state_dict` does, where a name or a shape does not fit.
        """
        state = {}
        for name, value in weights.items():
            key = name.removeprefix("transformer.")
            if key.endswith((".attn.bias", ".attn.masked_bias")) or (key == "lm_head.weight" and self.lm_head is None):
                continue
            is_transposed = key.endswith(("c_attn.weight", "c_fc.weight", "c_proj.weight"))
            state[key] = value.t().contiguous() if is_transposed else value
        self.load_state_dict(state)
        return self


def sample(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """One token a row, drawn by softmax(logits / temperature); temperature 0 takes the most likely one.

    Only the `top_k` most likely tokens may be drawn, and of those only the fewest whose probabilities reach `top_p`.
    Shapes: logits (N, V); output (N,) of int64.
    Raises: ValueError for a negative temperature, a top_k below 1, or a top_p outside (0, 1].
    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", arXiv:1904.09751 (top_p).
    """
    if temperature < 0:
        raise ValueError(f"sample: temperature must not be negative, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"sample: top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"sample: top_p must be above 0 and at most 1, got {top_p}")
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, -1)[0][:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    probabilities = logits.softmax(-1)
    if top_p is not None and top_p < 1:
        ranked, order = probabilities.sort(-1, True)
        is_beyond = ranked.cumsum(-1) - ranked >= top_p  # those before it reach top_p already
        probabilities = probabilities.masked_fill(is_beyond.gather(-1, order.argsort(-1)), 0.0)
    return dd2424.multinomial(probabilities, 1, generator=generator).squeeze(1)
