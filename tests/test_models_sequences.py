"""ViT, BERT and the translator: members, shapes, masks, losses, learning, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import models, nn, optim
from dd2424.models.bert import BERT, mask_tokens
from dd2424.models.transformer import Translator
from dd2424.models.vit import ViT, patches_of


def vit(**options: Any) -> ViT:
    return ViT(**{"image_size": 8, "patch_size": 4, "width": 12, "layers": 2, "heads": 3, **options})


def translator(**options: Any) -> Translator:
    return Translator(9, 7, 8, 2, 1, 16, **{"dropout": 0.0, "longest": 16, **options})


def bert(**options: Any) -> BERT:
    return BERT(13, **{"context": 10, "width": 8, "layers": 2, "heads": 2, "dropout": 0.0, **options})


def tokens(rng: np.random.Generator, high: int, *shape: int) -> dd2424.Tensor:
    return dd2424.from_numpy(rng.integers(1, high, shape))


def learns(model: nn.Module, loss: Callable[[], Any], steps: int, below: float, lr: float = 1e-2) -> None:
    optimizer = optim.AdamW(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    assert value.item() < below


@pytest.mark.parametrize("size", [2, 4, 8])
def test_patches(rng: np.random.Generator, size: int) -> None:
    images = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    found = patches_of(dd2424.from_numpy(images), size).numpy()
    k = 8 // size
    for i in range(k):
        for j in range(k):
            patch = images[:, :, i * size : (i + 1) * size, j * size : (j + 1) * size]
            np.testing.assert_array_equal(found[:, i * k + j], patch.reshape(2, -1))


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_vit_scores_images(rng: np.random.Generator, pool: str) -> None:
    model = vit(pool=pool, num_classes=5)
    images = dd2424.from_numpy(rng.standard_normal((3, 3, 8, 8)).astype(np.float32))
    assert bits(model(images)) == bits(dd2424.zeros(3, 5)), "scores start even"
    assert model.positions.shape == (1, 5 if pool == "token" else 4, 12)
    assert ("class_token" in model.state_dict()) == (pool == "token")
    nn.init.normal_(model.head.weight)
    last = images.contiguous(memory_format=dd2424.channels_last)
    assert bits(model(last)) == bits(model(images))


def test_vit_of_cifar_has_its_parameters() -> None:
    model = models.ViT(width=192, layers=2, heads=3)
    block = 12 * 192**2 + 13 * 192
    assert sum(p.numel() for p in model.parameters()) == (49 * 192) + 192 + 65 * 192 + 2 * block + 2 * 192 + 193 * 10


@pytest.mark.slow
def test_vit_learns_which_corner_is_bright(rng: np.random.Generator) -> None:
    model, labels = vit(num_classes=4), dd2424.arange(16) % 4
    images = rng.standard_normal((16, 3, 8, 8)).astype(np.float32) * 0.1
    for i in range(16):
        row, column = divmod(i % 4, 2)
        images[i, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] += 1
    x = dd2424.from_numpy(images)
    learns(model, lambda: nn.functional.cross_entropy(model(x), labels), 60, 0.05)


def test_translator_does_not_see_pads_or_what_comes_later(rng: np.random.Generator) -> None:
    model, source, target = translator().eval(), tokens(rng, 9, 2, 5), tokens(rng, 7, 2, 6)
    source[0, 3:] = 0
    before = model(source, target)
    assert before.shape == (2, 6, 7)
    target[:, 4:] = (target[:, 4:] % 6) + 1
    assert bits(model(source, target)[:, :4]) == bits(before[:, :4])
    short = model(source[:1, :3], target[:1])
    assert_accurate(short, model(source, target)[:1].detach().double().numpy(), roundings=32, scale=1.0)


def test_translator_loss_smooths_and_leaves_out_pads(rng: np.random.Generator) -> None:
    model, source, target = translator(), tokens(rng, 9, 2, 5), tokens(rng, 7, 2, 6)
    target[1, 4:] = 0
    scores = model(source, target[:, :-1]).detach().double().numpy()
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    wanted = target.numpy()[:, 1:]
    rows = [0.9 * -logs[i, j, wanted[i, j]] - 0.1 * logs[i, j].mean() for i, j in zip(*np.nonzero(wanted), strict=True)]
    assert_accurate(model.loss(source, target, 0.1), np.mean(rows), roundings=32)


@pytest.mark.parametrize("shares", [False, True])
def test_translator_ties_its_embeddings(shares: bool) -> None:
    model = Translator(9, 9, 8, 2, 1, 16, shares_vocabulary=shares)
    assert (model.source_embedding is model.target_embedding) == shares
    assert model.target_embedding.weight[0].tolist() == [0.0] * 8
    assert "head.weight" not in model.state_dict()
    assert "head.weight" in Translator(9, 9, 8, 2, 1, 16, tied=False).state_dict()


@pytest.mark.slow
def test_translator_learns_to_reverse(rng: np.random.Generator) -> None:
    model = Translator(7, 7, 16, 2, 1, 32, dropout=0.0, longest=8, shares_vocabulary=True)
    source = dd2424.from_numpy(rng.integers(3, 7, (32, 3)))
    target = dd2424.cat([dd2424.full((32, 1), 1), source.flip(1), dd2424.full((32, 1), 2)], 1)
    learns(model, lambda: model.loss(source, target, 0.0), 150, 0.1)
    assert bits(model.translate(source[:4], 1, 2, 6)) == bits(target[:4])


def test_translation_ends_with_pads(rng: np.random.Generator) -> None:
    model = translator().eval()
    found = model.translate(tokens(rng, 9, 3, 4), 1, 2, 6)
    assert found.shape[0] == 3
    assert found.shape[1] <= 6
    for row in found.tolist():
        assert row[0] == 1
        if 2 in row:
            assert set(row[row.index(2) + 1 :]) <= {0}


def test_bert_scores_every_token_and_does_not_see_pads(rng: np.random.Generator) -> None:
    model, text = bert().eval(), tokens(rng, 13, 2, 7)
    text[0, 5:] = 0
    scores = model(text)
    assert scores.shape == (2, 7, 13)
    short = model(text[:1, :5])
    assert_accurate(short, scores[:1, :5].detach().double().numpy(), roundings=32, scale=0.1)
    other = model(text, dd2424.ones_like(text))
    assert bits(other) != bits(scores)


def test_bert_loss_is_of_the_words_left_out(rng: np.random.Generator) -> None:
    model, text, targets = bert().eval(), tokens(rng, 13, 2, 7), dd2424.full((2, 7), -100)
    targets[0, 2], targets[1, 6] = 4, 9
    scores = model(text).detach().double().numpy()
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    assert_accurate(model.loss(text, targets), -(logs[0, 2, 4] + logs[1, 6, 9]) / 2, roundings=16)
    nothing = model.loss(text, dd2424.full((2, 7), -100))
    nothing.backward()
    assert nothing.item() == 0


def test_words_are_left_out_in_bert_shares(rng: np.random.Generator) -> None:
    text = tokens(rng, 1000, 50, 400)
    text[:, :10] = 0
    changed, targets = mask_tokens(text, 1001, 1000, generator=dd2424.Generator().manual_seed(1))
    chosen = targets.numpy() != -100
    before, after = text.numpy(), changed.numpy()
    assert not chosen[:, :10].any()
    assert chosen[:, 10:].mean() == pytest.approx(0.15, abs=0.01)
    assert np.array_equal(targets.numpy()[chosen], before[chosen])
    assert np.array_equal(after[~chosen], before[~chosen])
    assert (after[chosen] == 1001).mean() == pytest.approx(0.8, abs=0.03)
    assert (after[chosen] == before[chosen]).mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.slow
def test_bert_learns_to_fill_in(rng: np.random.Generator) -> None:
    model, start = bert(width=16), dd2424.arange(4, 12).unsqueeze(1)
    text = (start - 4 + dd2424.arange(6)) % 8 + 4
    targets, shown = dd2424.full((8, 6), -100), text.clone()
    for row in range(8):
        targets[row, row % 6], shown[row, row % 6] = text[row, row % 6], 3
    learns(model, lambda: model.loss(shown, targets), 80, 0.1)


MAKERS: dict[str, Callable[[np.random.Generator], Callable[[], Any]]] = {
    "vit": lambda rng: _step(vit(width=48), lambda m, x: m(x).square().sum() + m.positions.sum(),
                             dd2424.from_numpy(rng.standard_normal((16, 3, 8, 8)).astype(np.float32))),
    "bert": lambda rng: _step(bert(dropout=0.1), lambda m, x: m.loss(x, x), tokens(rng, 13, 8, 9)),
    "translator": lambda rng: _step(translator(dropout=0.1), lambda m, x: m.loss(x, x), tokens(rng, 7, 8, 9)),
}  # fmt: skip


def _step(model: Any, loss: Callable[[Any, Any], Any], x: Any) -> Callable[[], Any]:
    def run() -> Any:
        model.zero_grad()
        value = loss(model, x)
        value.backward()
        return [value, *[p.grad for p in model.parameters() if p.grad is not None]]

    return run


@pytest.mark.parametrize("name", MAKERS)
def test_same_bits_for_any_threads(rng: np.random.Generator, name: str) -> None:
    same_for_any_threads(MAKERS[name](rng))


REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "patches": (lambda: vit(patch_size=3), "ViT: image_size must be a multiple of patch_size 3, got 8"),
    "pool": (lambda: vit(pool="max"), "ViT: pool must be 'token' or 'mean', got 'max'"),
    "images": (lambda: vit()(dd2424.ones(1, 3, 8, 4)), r"ViT: images must be \(N, 3, 8, 8\), got \(1, 3, 8, 4\)"),
    "vocabularies": (
        lambda: Translator(9, 8, shares_vocabulary=True),
        "Translator: target_vocabulary must be 9, as the shared source's, got 8",
    ),
    "length": (
        lambda: bert()(dd2424.ones(1, 11, dtype=dd2424.int64)),
        "BERT: tokens must be at most context=10 long, got 11",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    call, message = REFUSALS[name]
    with pytest.raises(ValueError, match=message):
        call()
