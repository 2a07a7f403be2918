"""BERT: a Transformer that fills in words left out of a text."""

from __future__ import annotations

import dd2424
from dd2424 import Generator, Tensor, nn
from dd2424.nn import functional as F


class BERT(nn.Module):
    """Embeddings of tokens, positions and segments, a norm, an encoder, and scores of every token.

    Matrices and embeddings are drawn from N(0, 0.02^2). `pad` is the token that is not attended to. The scores are
    products with the embedding's own vectors, plus a bias.
    Shapes: tokens and segments (N, T) of integers, T <= context; output (N, T, vocabulary).
    Source: Devlin et al., "BERT", arXiv:1810.04805, section 3.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int = 512,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        hidden: int = 0,
        dropout: float = 0.1,
        *,
        segments: int = 2,
        pad: int = 0,
    ) -> None:
        super().__init__()
        self.context, self.pad = context, pad
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.segments = nn.Embedding(segments, width)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, heads, hidden or 4 * width, dropout, "gelu", batch_first=True), layers
        )
        self.transform, self.transform_norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.bias = nn.Parameter(dd2424.zeros(vocabulary))
        for name, p in self.named_parameters():
            if p.ndim > 1:
                nn.init.normal_(p, 0.0, 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def features(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        """The encoder's output; its first position stands for the whole text. Shapes: (N, T) to (N, T, width)."""
        if tokens.shape[1] > self.context:
            raise ValueError(f"BERT: tokens must be at most context={self.context} long, got {tokens.shape[1]}")
        which = segments if segments is not None else dd2424.zeros_like(tokens)
        x = self.tokens(tokens) + self.segments(which) + self.positions.weight[: tokens.shape[1]]
        encoded: Tensor = self.encoder(self.dropout(self.norm(x)), src_key_padding_mask=tokens == self.pad)
        return encoded

    def scores(self, features: Tensor) -> Tensor:
        """The logits of tokens. Shapes: features (*, width); output (*, vocabulary)."""
        hidden = self.transform_norm(F.linear(features, self.transform.weight, self.transform.bias, "gelu"))
        return F.linear(hidden, self.tokens.weight, self.bias)

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        return self.scores(self.features(tokens, segments))

    def loss(self, tokens: Tensor, targets: Tensor, segments: Tensor | None = None) -> Tensor:
        """The mean cross-entropy of the targets, those of -100 left out; only the others are scored.

        Shapes: all (N, T); result (), 0 where nothing is to be predicted.
        """
        features = self.features(tokens, segments)
        places = (targets.reshape(-1) != -100).nonzero().view(-1)
        wanted = targets.reshape(-1)[places]
        logits = self.scores(features.view(-1, features.shape[-1])[places])
        return F.cross_entropy(logits, wanted) if len(places) else logits.sum()


def mask_tokens(
    tokens: Tensor,
    mask: int,
    vocabulary: int,
    share: float = 0.15,
    *,
    keep: tuple[int, ...] = (0,),
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """A text with words left out, and the words: what `BERT.loss` takes.

    Of the tokens that are not in `keep`, each is chosen with probability `share`; of those chosen 80 % become `mask`,
    10 % any token, and 10 % stay. Targets are the chosen tokens, -100 elsewhere.
    Shapes: tokens (N, T); both results the same.
    Source: Devlin et al., "BERT", arXiv:1810.04805, section 3.1 and appendix A.1.
    """
    shape = tuple(tokens.shape)
    is_chosen = dd2424.rand(shape, generator=generator) < share
    for token in keep:
        is_chosen = is_chosen & (tokens != token)
    fate = dd2424.rand(shape, generator=generator)
    any_token = dd2424.randint(0, vocabulary, shape, generator=generator).to(tokens.dtype)
    shown = tokens.masked_fill(is_chosen & (fate < 0.8), mask)
    is_drawn = is_chosen & (fate >= 0.8) & (fate < 0.9)
    shown[is_drawn] = any_token[is_drawn]
    return shown, tokens.masked_fill(~is_chosen, -100)
