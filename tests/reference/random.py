"""Philox 4x32-10 in Python's integers, and the draws that are made of its words."""

from __future__ import annotations

from typing import Any

import numpy as np

MASK = 2**32 - 1


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> list[int]:
    """Ten rounds. Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & MASK, a >> 32 ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def words(seed: int, operation: int, count: int) -> Any:
    """The first words of an operation's draw: blocks are numbered below, the operation above."""
    blocks = [
        philox((block & MASK, block >> 32, operation & MASK, operation >> 32), (seed & MASK, seed >> 32))
        for block in range((count + 3) // 4)
    ]
    return np.array(blocks, np.uint64).reshape(-1)[:count]


def pairs(seed: int, operation: int, count: int) -> list[int]:
    w = words(seed, operation, 2 * count)
    return [int(w[2 * i]) | int(w[2 * i + 1]) << 32 for i in range(count)]


def uniform(seed: int, operation: int, count: int, dtype: str) -> Any:
    if dtype == "float64":
        return np.array([p >> 11 for p in pairs(seed, operation, count)], np.float64) * 2.0**-53
    bits = 24 if dtype == "float32" else 8
    return (words(seed, operation, count) >> np.uint64(32 - bits)).astype(np.float64) * 2.0**-bits


def normal(seed: int, operation: int, count: int) -> Any:
    """Box and Muller: two words give the radius and the angle of two numbers."""
    w = words(seed, operation, count + count % 2).astype(np.float64)
    radius = np.sqrt(-2 * np.log((w[::2] + 0.5) * 2.0**-32))
    angle = 2 * np.pi * w[1::2] * 2.0**-32
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:count]


def integers(seed: int, operation: int, count: int, low: int, high: int) -> list[int]:
    return [low + (p * (high - low) >> 64) for p in pairs(seed, operation, count)]


def permutation(seed: int, operation: int, count: int) -> list[int]:
    order = list(range(count))
    for i, p in reversed(list(enumerate(pairs(seed, operation, count)))):
        j = p * (i + 1) >> 64
        order[i], order[j] = order[j], order[i]
    return order


def kept(seed: int, operation: int, count: int, p: float) -> Any:
    """Which elements a dropout with probability p keeps."""
    return words(seed, operation, count) < np.uint64((1 - p) * 2**32 + 0.5)
