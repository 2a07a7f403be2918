"""The character model: shapes, that it learns a text by heart, and how it draws new text."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
from dd2424 import nn, optim
from dd2424.models import CharRNN

TEXT = "to be, or not to be: that is the question"
ALPHABET = sorted(set(TEXT))
NUMBERS = [ALPHABET.index(c) for c in TEXT]


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("embedding", [None, 4])
def test_shapes_and_a_state_that_goes_on(kind, embedding):
    model = CharRNN(9, 6, kind=kind, layers=2, embedding=embedding)
    text = dd2424.tensor([[1, 2], [3, 4], [8, 0]])
    whole, _ = model(text)
    assert whole.shape == (3, 2, 9)
    first, state = model(text[:2])
    second, _ = model(text[2:], state)
    np.testing.assert_allclose(
        dd2424.cat([first, second]).detach().numpy(), whole.detach().numpy(), rtol=1e-6, atol=1e-7
    )
    assert model(text[:, 0])[0].shape == (3, 9)


@pytest.mark.slow
def test_it_learns_a_sentence_by_heart():
    model = CharRNN(len(ALPHABET), 40, kind="GRU")
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    text = dd2424.tensor(NUMBERS)
    for _ in range(150):
        optimizer.zero_grad()
        scores, _ = model(text[:-1])
        nn.functional.cross_entropy(scores, text[1:]).backward()
        optimizer.step()
    drawn = model.generate(text[:8], len(TEXT) - 8, temperature=0)
    assert "".join(ALPHABET[i] for i in drawn.tolist()) == TEXT[8:]


def test_drawing_follows_the_probabilities_and_the_seed():
    model = CharRNN(4, 3)
    with dd2424.no_grad():
        model.head.weight.fill_(0)
        model.head.bias.copy_(dd2424.tensor([0.5, 0.3, 0.15, 0.05]).log())
    start = dd2424.tensor([0])
    draw = lambda **options: model.generate(start, 400, **options).tolist()
    shares = np.bincount(draw(), minlength=4) / 400
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.15, 0.05], atol=0.08)
    assert set(draw(top_p=0.75)) == {0, 1}
    assert set(draw(top_p=0.1)) == {0}
    assert set(draw(temperature=0)) == {0}
    assert np.bincount(draw(temperature=0.2), minlength=4)[0] > 340
    dd2424.manual_seed(1)
    first = draw()
    dd2424.manual_seed(1)
    assert draw() == first


def test_refusals():
    model, start = CharRNN(4, 3), dd2424.tensor([0])
    with pytest.raises(ValueError, match="CharRNN: kind must be"):
        CharRNN(4, 3, kind="QRNN")
    with pytest.raises(ValueError, match="temperature must not be negative"):
        model.generate(start, 3, temperature=-1)
    with pytest.raises(ValueError, match="top_p must be above 0"):
        model.generate(start, 3, top_p=0)
    with pytest.raises(ValueError, match="start must be"):
        model.generate(start[:0], 3)
    assert model.generate(start, 0).shape == (0,)
