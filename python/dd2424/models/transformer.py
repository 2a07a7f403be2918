"""The Transformer as it was published: a translator of encoder and decoder."""

from __future__ import annotations

import math

import dd2424
from dd2424 import Tensor, nn, no_grad
from dd2424.nn import functional as F


class Translator(nn.Module):
    """Embeddings times sqrt(width) with sinusoidal positions, an encoder, a decoder, and scores of the next token.

    `pad` is the token that fills up the shorter sentences: it is neither attended to nor learned. With `tied`, scores
    are products with the target embedding, and one vocabulary's embedding serves both languages where they share it.
    Shapes: source (N, S) and target (N, T) of integers; output (N, T, target_vocabulary).
    Source: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3.
    """

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        width: int = 512,
        heads: int = 8,
        layers: int = 6,
        hidden: int = 2048,
        dropout: float = 0.1,
        *,
        longest: int = 512,
        pad: int = 0,
        tied: bool = True,
        shares_vocabulary: bool = False,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        if shares_vocabulary and source_vocabulary != target_vocabulary:
            raise ValueError(f"Translator: target_vocabulary must be {source_vocabulary}, as the shared source's, "
                             f"got {target_vocabulary}")  # fmt: skip
        self.width, self.pad, self.dropout = width, pad, dropout
        self.target_embedding = nn.Embedding(target_vocabulary, width, pad)
        self.source_embedding = (
            self.target_embedding if shares_vocabulary else nn.Embedding(source_vocabulary, width, pad)
        )
        self.positions = nn.SinusoidalPositions(width, longest)
        self.transformer = nn.Transformer(
            width, heads, layers, layers, hidden, dropout, batch_first=True, norm_first=norm_first
        )
        self.head = None if tied else nn.Linear(width, target_vocabulary, bias=False)
        for embedding in dict.fromkeys((self.source_embedding, self.target_embedding)):
            nn.init.normal_(embedding.weight, 0.0, width**-0.5)
            with no_grad():
                embedding.weight[pad].zero_()

    def _embed(self, tokens: Tensor, embedding: nn.Embedding) -> Tensor:
        x = self.positions(embedding(tokens) * math.sqrt(self.width))
        return F.dropout(x, self.dropout, self.training)

    def encode(self, source: Tensor) -> Tensor:
        """What the decoder attends to. Shapes: source (N, S); output (N, S, width)."""
        memory: Tensor = self.transformer.encoder(
            self._embed(source, self.source_embedding), src_key_padding_mask=source == self.pad
        )
        return memory

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        """The scores of each next token. Shapes: target (N, T), memory (N, S, width), source (N, S)."""
        x = self.transformer.decoder(
            self._embed(target, self.target_embedding),
            memory,
            nn.Transformer.generate_square_subsequent_mask(target.shape[1], dtype=memory.dtype),
            memory_key_padding_mask=source == self.pad,
            tgt_is_causal=True,
        )
        return F.linear(x, self.target_embedding.weight if self.head is None else self.head.weight)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.decode(target, self.encode(source), source)

    def loss(self, source: Tensor, target: Tensor, smoothing: float = 0.1) -> Tensor:
        """The mean cross-entropy of every token of `target` after the first, with smoothed labels, pads left out.

        Shapes: source (N, S), target (N, T), T >= 2; result ().
        Source: Vaswani et al., section 5.4 (label smoothing).
        """
        scores = self(source, target[:, :-1])
        wanted = target[:, 1:].reshape(-1)
        return F.cross_entropy(
            scores.view(-1, scores.shape[-1]), wanted, ignore_index=self.pad, label_smoothing=smoothing
        )

    @no_grad()
    def translate(self, source: Tensor, start: int, end: int, longest: int) -> Tensor:
        """The most likely next token after the other, from `start` on until all sentences have had `end`.

        Shapes: source (N, S); output (N, T), T <= longest, each row `start`, tokens, `end`, then pads.
        """
        was_training = self.training
        self.eval()
        try:
            memory = self.encode(source)
            found = dd2424.full((source.shape[0], 1), start, dtype=dd2424.int64)
            is_over = dd2424.zeros(source.shape[0], dtype=dd2424.bool)
            while found.shape[1] < longest and not bool(is_over.all()):
                best = self.decode(found, memory, source)[:, -1].argmax(-1)
                best = best.masked_fill(is_over, self.pad)
                is_over = is_over | (best == end)
                found = dd2424.cat([found, best.unsqueeze(1)], 1)
        finally:
            self.train(was_training)
        return found
