"""The Transformer's parts: members, shapes, masks, the fused norms, dropout, gradients and refusals."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import autograd, nn
from dd2424.nn import functional as F

WIDTH, HEADS = 8, 2
OPTIONS = [{}, {"norm_first": True}, {"activation": "gelu", "norm_first": True}, {"bias": False}]


def draw(rng: np.random.Generator, *shape: int, dtype: Any = np.float32) -> Any:
    return dd2424.from_numpy(rng.standard_normal(shape).astype(dtype))


def encoder_layer(**options: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(WIDTH, HEADS, 12, **{"dropout": 0.0, "batch_first": True, **options})


def decoder_layer(**options: Any) -> nn.TransformerDecoderLayer:
    return nn.TransformerDecoderLayer(WIDTH, HEADS, 12, **{"dropout": 0.0, "batch_first": True, **options})


def small(**options: Any) -> nn.Transformer:
    return nn.Transformer(WIDTH, HEADS, 2, 2, 12, **{"dropout": 0.0, "batch_first": True, **options})


def plain_encoder(layer: nn.TransformerEncoderLayer, x: Any) -> Any:
    """The layer's formula, one module after the other."""
    activation = layer.activation

    def attend(y: Any) -> Any:
        return layer.self_attn(y, y, y, need_weights=False)[0]

    def feed(y: Any) -> Any:
        return layer.linear2(activation(layer.linear1(y)))

    if layer.norm_first:
        x = x + attend(layer.norm1(x))
        return x + feed(layer.norm2(x))
    x = layer.norm1(x + attend(x))
    return layer.norm2(x + feed(x))


@pytest.mark.parametrize("options", OPTIONS)
def test_an_encoder_layer_is_its_formula(rng: np.random.Generator, options: dict[str, Any]) -> None:
    layer, x = encoder_layer(**options), draw(rng, 3, 5, WIDTH)
    results = []
    for function in (layer, lambda x: plain_encoder(layer, x)):
        layer.zero_grad()
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        y.square().sum().backward()
        results.append([y, leaf.grad, *[p.grad for p in layer.parameters()]])
    for fused, plain in zip(*results, strict=True):
        exact = plain.detach().double().numpy()
        assert_accurate(fused, exact, roundings=32, scale=np.abs(exact).max())


def test_hooks_of_the_parts_are_called(rng: np.random.Generator) -> None:
    layer, x, seen = encoder_layer(norm_first=True), draw(rng, 2, 3, WIDTH), []
    plain = bits(layer(x))
    for name in ("norm1", "norm2", "linear1", "linear2", "self_attn", "dropout1"):
        getattr(layer, name).register_forward_hook(lambda m, a, y, name=name: seen.append(name))
    assert bits(layer(x)) == plain
    assert sorted(seen) == ["dropout1", "linear1", "linear2", "norm1", "norm2", "self_attn"]


@pytest.mark.parametrize("norm_first", [False, True])
def test_another_norm_may_take_its_place(rng: np.random.Generator, norm_first: bool) -> None:
    layer, x = encoder_layer(norm_first=norm_first), draw(rng, 2, 3, WIDTH)
    layer.norm1, layer.norm2 = nn.Identity(), nn.RMSNorm(WIDTH)
    exact = plain_encoder(layer, x).detach().double().numpy()
    assert_accurate(layer(x), exact, roundings=32, scale=np.abs(exact).max())


def test_the_batch_may_stand_second_or_be_missing(rng: np.random.Generator) -> None:
    model = small()
    src, tgt = draw(rng, 3, 5, WIDTH), draw(rng, 3, 4, WIDTH)
    first = model(src, tgt)
    second = small(batch_first=False)
    second.load_state_dict(model.state_dict())
    assert_accurate(
        second(src.transpose(0, 1), tgt.transpose(0, 1)).transpose(0, 1), first.detach().double().numpy(), 32, scale=1.0
    )
    alone = model(src[1], tgt[1])
    assert alone.shape == (4, WIDTH)
    assert_accurate(alone, first[1].detach().double().numpy(), 32, scale=1.0)


MASKS: dict[str, Callable[[int], Any]] = {
    "float": nn.Transformer.generate_square_subsequent_mask,
    "bool": lambda size: nn.Transformer.generate_square_subsequent_mask(size) < 0,
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("stated", [None, True, False])
def test_a_causal_mask_hides_what_comes_later(rng: np.random.Generator, kind: str, stated: bool | None) -> None:
    encoder, x = nn.TransformerEncoder(encoder_layer(), 2), draw(rng, 2, 6, WIDTH)
    mask = MASKS[kind](6)
    y = encoder(x, mask, is_causal=stated)
    other = x.clone()
    other[:, 4:] = float("nan")
    assert bits(encoder(other, mask, is_causal=stated)[:, :4]) == bits(y[:, :4])


@pytest.mark.parametrize("part", ["source", "target"])
def test_padding_is_not_seen(rng: np.random.Generator, part: str) -> None:
    model, src, tgt = small(norm_first=True).eval(), draw(rng, 2, 5, WIDTH), draw(rng, 2, 4, WIDTH)
    padding = dd2424.tensor([[False] * 3 + [True] * 2, [False] * 5])
    options: dict[str, Any] = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding}
    if part == "target":
        options = {"tgt_key_padding_mask": padding[:, 1:]}
    y = model(src, tgt, **options)
    changed = src if part == "source" else tgt
    changed[0, -2:] = 1e6
    rows = slice(None) if part == "source" else slice(0, 2)
    exact = y.detach().double().numpy()[:, rows]
    assert_accurate(model(src, tgt, **options)[:, rows], exact, roundings=8, scale=1.0)


def test_generate_square_subsequent_mask() -> None:
    mask = nn.Transformer.generate_square_subsequent_mask(3, dtype=dd2424.float64)
    inf = float("inf")
    assert mask.dtype == dd2424.float64
    assert mask.tolist() == [[0, -inf, -inf], [0, 0, -inf], [0, 0, 0]]
    assert nn.Transformer.generate_square_subsequent_mask(0).shape == (0, 0)


def test_layers_are_copies() -> None:
    layer = encoder_layer()
    encoder = nn.TransformerEncoder(layer, 3, nn.LayerNorm(WIDTH))
    weights = {id(p) for p in encoder.parameters()}
    assert len(weights) == 3 * 12 + 2
    assert not weights & {id(p) for p in layer.parameters()}
    assert bits(encoder.layers[2].linear1.weight) == bits(layer.linear1.weight)


def test_matrices_are_drawn_by_glorots_rule() -> None:
    model = nn.Transformer(64, 4, 1, 1, 256)
    for name, p in model.named_parameters():
        if p.ndim > 1:
            bound = (6 / sum(p.shape)) ** 0.5
            assert 0.9 * bound < p.abs().max().item() <= bound, name
    assert model.encoder.layers[0].norm1.weight.tolist() == [1.0] * 64


def test_dropout_acts_in_training_alone(rng: np.random.Generator) -> None:
    layer, x, memory = decoder_layer(dropout=0.5), draw(rng, 2, 3, WIDTH), draw(rng, 2, 4, WIDTH)
    assert bits(layer(x, memory)) != bits(layer(x, memory))
    layer.eval()
    assert bits(layer(x, memory)) == bits(layer(x, memory))


@pytest.mark.slow
@pytest.mark.parametrize("norm_first", [False, True])
def test_gradients(rng: np.random.Generator, norm_first: bool) -> None:
    model = nn.Transformer(4, 2, 1, 1, 6, 0.0, "gelu", batch_first=True, norm_first=norm_first).double()
    src = draw(rng, 1, 3, 4, dtype=np.float64).requires_grad_()
    tgt = draw(rng, 1, 2, 4, dtype=np.float64).requires_grad_()
    mask = model.generate_square_subsequent_mask(2, dtype=dd2424.float64)

    def function(src: Any, tgt: Any) -> Any:
        return model(src, tgt, tgt_mask=mask)

    assert autograd.gradcheck(function, (src, tgt))
    assert autograd.gradgradcheck(function, (src, tgt))


def test_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    model = nn.Transformer(32, 4, 1, 1, 64, 0.1, batch_first=True)
    src, tgt = draw(rng, 8, 20, 32), draw(rng, 8, 18, 32)

    def run() -> Any:
        model.zero_grad()
        y = model(src, tgt)
        y.square().sum().backward()
        return [y, *[p.grad for p in model.parameters()]]

    same_for_any_threads(run)


def test_it_can_be_copied_and_keeps_any_activation(rng: np.random.Generator) -> None:
    layer, x = encoder_layer(activation=F.silu), draw(rng, 1, 2, WIDTH)
    assert bits(copy.deepcopy(layer)(x)) == bits(layer(x))
    exact = plain_encoder(layer, x).detach().double().numpy()
    assert_accurate(layer(x), exact, roundings=32, scale=np.abs(exact).max())


REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "activation": (lambda: encoder_layer(activation="tanh"), "activation should be relu/gelu, not tanh"),
    "batch": (
        lambda: small()(dd2424.ones(2, 3, WIDTH), dd2424.ones(1, 3, WIDTH)),
        "Transformer: tgt must have the batch of src, 2, got 1",
    ),
    "width": (
        lambda: small()(dd2424.ones(2, 3, WIDTH), dd2424.ones(2, 3, 4)),
        "Transformer: tgt must have d_model=8 features, got 4",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    call, message = REFUSALS[name]
    with pytest.raises(RuntimeError, match=message):
        call()
