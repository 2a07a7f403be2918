"""Decoding with a cache gives what the whole sequence gives at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits
from dd2424 import nn
from dd2424.nn import functional as F


def whole(rng: np.random.Generator, words: int = 40, heads: int = 4, key_heads: int = 4) -> list[Any]:
    shapes = ((2, heads, words, 16), (2, key_heads, words, 16), (2, key_heads, words, 24))
    return [dd2424.from_numpy(rng.standard_normal(s).astype(np.float32)) for s in shapes]


@pytest.mark.parametrize("window", [None, 1, 7])
@pytest.mark.parametrize("steps", [[40], [1] * 40, [13, 1, 1, 5, 1, 19], [0, 40]])
@pytest.mark.parametrize("key_heads", [4, 2])
def test_steps_give_what_the_whole_gives(
    rng: np.random.Generator, isa: str, window: int | None, steps: list[int], key_heads: int
) -> None:
    q, k, v = whole(rng, key_heads=key_heads)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True, window=window)
    cache = nn.KVCache(2, key_heads, 40, 16, 24, window=window)
    at, parts = 0, []
    for count in steps:
        new = (x[:, :, at : at + count] for x in (q, k, v))
        parts.append(cache.attend(*new, enable_gqa=True))
        at += count
    assert cache.length == 40
    assert_accurate(dd2424.cat(parts, 2), expected.numpy(), roundings=16, scale=1.0)


def test_a_window_lets_words_go_on_for_ever(rng: np.random.Generator) -> None:
    q, k, v = whole(rng)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True, window=5).numpy()
    cache = nn.KVCache(2, 4, 9, 16, 24, window=5)
    for t in range(40):
        y = cache.attend(*(x[:, :, t : t + 1] for x in (q, k, v)))
        assert_accurate(y[:, :, 0], expected[:, :, t], roundings=16, scale=1.0)
    assert cache.length == 40


def test_append_reorder_truncate_reset(rng: np.random.Generator) -> None:
    _, k, v = whole(rng, words=6)
    cache = nn.KVCache(2, 4, 8, 16, 24)
    keys, values = cache.append(k, v)
    assert bits(keys.contiguous()) == bits(k)
    assert bits(values.contiguous()) == bits(v)
    cache.reorder(dd2424.tensor([1, 1]))
    assert bits(cache.keys[0].contiguous()) == bits(k[1])
    cache.truncate(4)
    assert cache.length == 4
    assert bits(cache.values[1].contiguous()) == bits(v[1, :, :4].contiguous())
    cache.reset()
    assert (cache.length, cache.keys.shape[2]) == (0, 0)


def test_the_cache_is_not_recorded(rng: np.random.Generator) -> None:
    q, k, v = whole(rng, words=3)
    cache = nn.KVCache(2, 4, 8, 16, 24)
    y = cache.attend(q, k.requires_grad_(), v)
    assert not y.requires_grad


def test_refusals(rng: np.random.Generator) -> None:
    _, k, v = whole(rng, words=6)
    cache = nn.KVCache(2, 4, 8, 16, 24)
    cache.append(k, v)
    with pytest.raises(ValueError, match="capacity must hold 12 words, got 8"):
        cache.append(k, v)
    with pytest.raises(ValueError, match=r"value must be \(2, 4, T, 24\), got \(2, 4, 6, 16\)"):
        cache.append(k, k)
    with pytest.raises(ValueError, match="value must have as many words as key, 2, got 1"):
        cache.append(k[:, :, :2], v[:, :, :1])
    with pytest.raises(ValueError, match="length must be from 0 to 6, got 7"):
        cache.truncate(7)
    for name, sizes in (("capacity", {"capacity": 0}), ("window", {"window": 0}), ("capacity", {"window": 9})):
        with pytest.raises(ValueError, match=f"KVCache: {name} must be at least"):
            nn.KVCache(**{"batch": 1, "heads": 1, "capacity": 8, "head_dim": 4, **sizes})
