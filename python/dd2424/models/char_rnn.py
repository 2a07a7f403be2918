"""Language models over characters with recurrent layers."""

from __future__ import annotations

from typing import Any

import dd2424
from dd2424 import Tensor, nn
from dd2424.nn import functional as F


class CharRNN(nn.Module):
    """The scores of the next character after each one of a text.

        h_t = rnn(x_t, h_(t-1)),  s_t = V h_t + c

    x_t is the character's row of a learned table or, without `embedding`, its one-hot vector. `kind` is "RNN", "GRU" or
    "LSTM". Shapes: characters (T, B) or (T,), integers; scores (T, B, characters), and the last state.
    Source: Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015.
    """

    def __init__(
        self,
        characters: int,
        hidden: int,
        *,
        kind: str = "RNN",
        layers: int = 1,
        embedding: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if kind not in ("RNN", "GRU", "LSTM"):
            raise ValueError(f"CharRNN: kind must be 'RNN', 'GRU' or 'LSTM', got {kind!r}")
        self.characters = characters
        self.table = None if embedding is None else nn.Embedding(characters, embedding)
        layer: type[Any] = getattr(nn, kind)
        self.rnn = layer(characters if embedding is None else embedding, hidden, layers, dropout=dropout)
        self.head = nn.Linear(hidden, characters)

    def forward(self, text: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if self.table is not None:
            x = self.table(text)
        else:
            x = F.one_hot(text, self.characters).to(self.head.weight.dtype)
        y, state = self.rnn(x, state)
        return self.head(y), state

    @dd2424.no_grad()
    def generate(
        self, start: Tensor, length: int, temperature: float = 1.0, top_p: float = 1.0, state: Any = None
    ) -> Tensor:
        """Draw `length` characters after those of `start`, one by one: from softmax(s / temperature), and of it from
        the fewest characters that together have probability top_p. Temperature 0 takes the most probable.

        Shapes: start (T,), at least one character; output (length,).
        Raises: ValueError for a temperature below 0, top_p outside (0, 1], or an empty start.
        Source: Holtzman et al., "The curious case of neural text degeneration", arXiv:1904.09751, section 3.1.
        """
        if temperature < 0:
            raise ValueError(f"generate: temperature must not be negative, got {temperature}")
        if not 0 < top_p <= 1:
            raise ValueError(f"generate: top_p must be above 0 and at most 1, got {top_p}")
        if start.ndim != 1 or len(start) == 0:
            raise ValueError(f"generate: start must be (T,) with at least one character, got {tuple(start.shape)}")
        drawn: list[Tensor] = []
        given = start
        for _ in range(length):
            scores, state = self(given, state)
            given = _draw(scores[-1], temperature, top_p)
            drawn.append(given)
        return dd2424.cat(drawn) if drawn else start[:0]


def _draw(scores: Tensor, temperature: float, top_p: float) -> Tensor:
    """A character's number, (1,), from its scores, (V,)."""
    if temperature == 0:
        return scores.argmax(0, True)
    p = F.softmax(scores / temperature, 0)
    if top_p < 1:
        ranked, order = p.sort(0, descending=True)
        before = ranked.cumsum(0) - ranked  # what the more probable ones have together
        kept = ranked * (before < top_p)
        p = dd2424.zeros_like(p).scatter(0, order, kept)
    return dd2424.multinomial(p, 1)
