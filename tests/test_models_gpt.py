"""GPT: members, causality, the cache, generation and sampling, training, GPT-2's weights, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import models, nn, optim
from dd2424.models.gpt import GPT, GPTConfig, sample

SMALL = {"vocabulary": 11, "context": 12, "layers": 2, "heads": 2, "width": 8}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rotary": {"positions": "rotary"},
    "untied": {"tied": False, "bias": False},
    "gated": {"activation": "swiglu", "hidden": 20},
    "GPT-2's": {"activation": "gelu_tanh"},
}


def small(**options: Any) -> GPT:
    return GPT(GPTConfig(**{**SMALL, **options}))


def tokens(rng: np.random.Generator, *shape: int) -> dd2424.Tensor:
    return dd2424.from_numpy(rng.integers(0, SMALL["vocabulary"], shape))


def names(layers: int) -> list[str]:
    parts = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
    blocks = [f"h.{i}.{part}.{kind}" for i in range(layers) for part in parts for kind in ("weight", "bias")]
    return ["wte.weight", "wpe.weight", *blocks, "ln_f.weight", "ln_f.bias"]


def test_members_are_gpt2s() -> None:
    assert list(small().state_dict()) == names(2)
    sizes = [p.numel() for p in GPT(GPTConfig(layers=1, width=64, heads=4, context=32)).parameters()]
    assert sum(sizes) == 65 * 64 + 32 * 64 + (12 * 64**2 + 13 * 64) + 2 * 64


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_token_sees_a_later_one(rng: np.random.Generator, variant: str) -> None:
    model, text = small(**VARIANTS[variant]), tokens(rng, 2, 9)
    before = model(text)
    text[:, 6:] = (text[:, 6:] + 1) % SMALL["vocabulary"]
    after = model(text)
    assert bits(before[:, :6]) == bits(after[:, :6])
    assert bits(before[:, 6]) != bits(after[:, 6])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pieces", [[1] * 9, [5, 1, 1, 1, 1]])
def test_a_cache_gives_the_same_scores(rng: np.random.Generator, variant: str, pieces: list[int]) -> None:
    model, text = small(**VARIANTS[variant]).eval(), tokens(rng, 3, 9)
    with dd2424.no_grad():
        whole, caches, begin, parts = model(text), model.new_caches(3), 0, []
        for piece in pieces:
            parts.append(model(text[:, begin : begin + piece], caches))
            begin += piece
    exact = whole.double().numpy()
    assert_accurate(dd2424.cat(parts, 1), exact, roundings=32, scale=np.abs(exact).max())
    assert caches[0].length == 9


@pytest.mark.parametrize("length", [1, 5])
def test_greedy_generation_takes_the_best_each_time(rng: np.random.Generator, length: int) -> None:
    model, text = small(), tokens(rng, 2, length)
    found = model.generate(text, 7, temperature=0)
    assert found.shape == (2, length + 7)
    assert model.training
    model.eval()
    for _ in range(7):
        text = dd2424.cat([text, model(text)[:, -1].argmax(-1).unsqueeze(1)], 1)
    assert bits(found) == bits(text)


def test_generation_goes_on_beyond_the_context(rng: np.random.Generator) -> None:
    model, text = small(), tokens(rng, 20)
    found = model.generate(text, 30, temperature=0)
    assert found.shape == (50,)
    assert bits(found[:20]) == bits(text)
    again = model.generate(text[-SMALL["context"] :], 30, temperature=0)
    assert bits(found[20:]) == bits(again[SMALL["context"] :])


def test_generation_is_a_function_of_the_generator(rng: np.random.Generator) -> None:
    model, text = small(), tokens(rng, 4, 3)

    def run(seed: int) -> Any:
        return bits(model.generate(text, 20, generator=dd2424.Generator().manual_seed(seed)))

    assert run(1) == run(1) != run(2)


def test_sampling_follows_the_probabilities(rng: np.random.Generator) -> None:
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    logits = dd2424.from_numpy(np.log(probabilities)).expand(4000, 4)

    def shares(**options: Any) -> Any:
        return np.bincount(sample(logits, **options).numpy(), minlength=4) / 4000

    assert shares() == pytest.approx(probabilities, abs=0.03)
    assert shares(top_k=2) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert shares(top_p=0.5) == pytest.approx([1, 0, 0, 0])
    assert shares(top_p=0.79) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    warm = probabilities**0.5 / (probabilities**0.5).sum()
    assert shares(temperature=2.0) == pytest.approx(warm, abs=0.03)
    assert shares(temperature=0) == pytest.approx([1, 0, 0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_learns_to_count(variant: str) -> None:
    model = small(**VARIANTS[variant], width=16)
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    starts = dd2424.arange(11).unsqueeze(1)
    text = (starts + dd2424.arange(9)) % 11
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(text[:, :-1], text[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss.item() < 0.1
    assert model.generate(dd2424.tensor([3]), 4, temperature=0).tolist() == [3, 4, 5, 6, 7]


def test_the_loss_leaves_out_what_is_not_asked(rng: np.random.Generator) -> None:
    model, text = small(), tokens(rng, 2, 6)
    scores = model(text).detach().double().numpy()
    targets = tokens(rng, 2, 6)
    targets[0, :4] = -100
    rows = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    asked = targets.numpy() != -100
    exact = -np.mean([rows[i, j, targets.numpy()[i, j]] for i, j in zip(*np.nonzero(asked), strict=True)])
    assert_accurate(model.loss(text, targets), exact, roundings=16)


def test_initial_scores_are_nearly_even(rng: np.random.Generator) -> None:
    model = GPT(GPTConfig(vocabulary=64, context=32, layers=4, width=128, heads=4))
    text, targets = (dd2424.from_numpy(rng.integers(0, 64, (4, 32))) for _ in range(2))
    assert model.loss(text, targets).item() == pytest.approx(np.log(64), abs=0.2)
    assert model.h[0].attn.c_proj.weight.std().item() == pytest.approx(0.02 / 8**0.5, rel=0.05)
    assert model.h[0].mlp.c_fc.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    model, text = small(width=64, heads=4, dropout=0.1), tokens(rng, 16, 12)

    def run() -> Any:
        model.zero_grad()
        loss = model.loss(text, text)
        loss.backward()
        return [loss, *[p.grad for p in model.parameters()]]

    same_for_any_threads(run)


def test_dropout_acts_in_training_alone(rng: np.random.Generator) -> None:
    model, text = small(dropout=0.5), tokens(rng, 2, 5)
    assert bits(model(text)) != bits(model(text))
    model.eval()
    assert bits(model(text)) == bits(model(text))


def hugging_face(model: GPT, rng: np.random.Generator) -> dict[str, dd2424.Tensor]:
    """A state of the model's shapes, as the file of a GPT-2 has it."""
    state = {"lm_head.weight": dd2424.zeros(1), "transformer.h.0.attn.bias": dd2424.ones(1, 1, 12, 12)}
    for name, p in model.state_dict().items():
        values = rng.standard_normal(tuple(p.shape)).astype(np.float32)
        state[f"transformer.{name}"] = dd2424.from_numpy(values.T.copy() if "c_" in name else values)
    return state


@pytest.mark.parametrize("prefix", ["transformer.", ""])
def test_weights_of_a_gpt2(rng: np.random.Generator, prefix: str) -> None:
    model = small(activation="gelu_tanh")
    given = {name.replace("transformer.", prefix): value for name, value in hugging_face(model, rng).items()}
    assert model.load_gpt2(given) is model
    assert bits(model.wpe.weight) == bits(given[f"{prefix}wpe.weight"])
    assert bits(model.h[1].mlp.c_fc.weight) == bits(given[f"{prefix}h.1.mlp.c_fc.weight"].t().contiguous())
    assert bits(model.h[1].mlp.c_fc.bias) == bits(given[f"{prefix}h.1.mlp.c_fc.bias"])
    del given[f"{prefix}ln_f.bias"]
    with pytest.raises(RuntimeError, match=r"ln_f\.bias"):
        model.load_gpt2(given)


REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "context": (lambda: small()(dd2424.zeros(1, 13, dtype=dd2424.int64)), "GPT: tokens must be at most context=12"),
    "heads": (lambda: small(heads=3), "SelfAttention: width must be a multiple of heads 3, got 8"),
    "layers": (lambda: GPTConfig(layers=0), "GPTConfig: layers must be positive, got 0"),
    "positions": (lambda: GPTConfig(positions="none"), "GPTConfig: positions must be 'learned' or 'rotary'"),
    "activation": (lambda: small(activation="selu"), "FeedForward: activation must be one of relu, gelu"),
    "prompt": (lambda: small().generate(dd2424.zeros(1, 0, dtype=dd2424.int64), 1), "generate: prompt must have a"),
    "temperature": (lambda: sample(dd2424.ones(1, 3), -1.0), "sample: temperature must not be negative, got -1"),
    "top_k": (lambda: sample(dd2424.ones(1, 3), top_k=0), "sample: top_k must be at least 1, got 0"),
    "top_p": (lambda: sample(dd2424.ones(1, 3), top_p=0.0), "sample: top_p must be above 0 and at most 1, got 0"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    call, message = REFUSALS[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_it_is_found_by_name() -> None:
    assert models.GPT is GPT
