"""What decoding word by word keeps: the keys and values of the words so far."""

from __future__ import annotations

from dd2424 import _core, functional as F
from dd2424._core import Tensor, dtype
from dd2424._grad_mode import no_grad

__all__ = ["KVCache"]


class KVCache:
    """Keys and values of one attention layer, in memory that is taken once; nothing in it is recorded.

        cache = KVCache(batch, heads, capacity, head_dim)
        y = cache.attend(q, k, v)  # of the words that are new: one, or a whole prompt

    With a `window` older words are forgotten and any number may follow; else more than `capacity` are refused.
    Shapes: keys (N, H, S, D), values (N, H, S, E), E being `value_dim`, D by default.
    Raises: ValueError for sizes below 1, more words than fit, and other shapes than the cache's.
    """

    def __init__(
        self,
        batch: int,
        heads: int,
        capacity: int,
        head_dim: int,
        value_dim: int | None = None,
        window: int | None = None,
        dtype: dtype | None = None,
    ) -> None:
        value_dim = head_dim if value_dim is None else value_dim
        for name, size in (("capacity", capacity), ("window", 1 if window is None else window)):
            if size < 1:
                raise ValueError(f"KVCache: {name} must be at least 1, got {size}")
        if window is not None and capacity < window:
            raise ValueError(f"KVCache: capacity must be at least window {window}, got {capacity}")
        self.capacity, self.window = capacity, window
        self._keys = _core.empty((batch, heads, capacity, head_dim), dtype=dtype)
        self._values = _core.empty((batch, heads, capacity, value_dim), dtype=dtype)
        self._held = self.length = 0  # rows in memory; words seen, and so the position of the next

    @property
    def keys(self) -> Tensor:
        """Those that are held, a view."""
        return self._keys[:, :, : self._held]

    @property
    def values(self) -> Tensor:
        """Those that are held, a view."""
        return self._values[:, :, : self._held]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Takes in keys and values of new words; returns all that are held, as views the next call may overwrite."""
        for name, new, all_rows in (("key", key, self._keys), ("value", value, self._values)):
            n, heads, _, features = all_rows.shape
            if new.ndim != 4 or (new.shape[0], new.shape[1], new.shape[3]) != (n, heads, features):
                raise ValueError(f"KVCache: {name} must be ({n}, {heads}, T, {features}), got {tuple(new.shape)}")
        count = key.shape[2]
        if value.shape[2] != count:
            raise ValueError(f"KVCache: value must have as many words as key, {count}, got {value.shape[2]}")
        with no_grad():
            if self._held + count > self.capacity:
                self._forget(count)
            self._keys[:, :, self._held : self._held + count] = key.detach()
            self._values[:, :, self._held : self._held + count] = value.detach()
        self._held += count
        self.length += count
        return self.keys, self.values

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None, enable_gqa: bool = False
    ) -> Tensor:
        """Takes in new words, and what they attend to: each to itself and those before it, within the window.

        Shapes: query (N, H, T, D), key (N, H, T, D), value (N, H, T, E); output (N, H, T, E).
        """
        keys, values = self.append(key, value)
        count = query.shape[2]
        if count == 1:  # sees all there are
            if self.window is not None and self._held > self.window:
                keys, values = keys[:, :, -self.window :], values[:, :, -self.window :]
            return F.scaled_dot_product_attention(query, keys, values, scale=scale, enable_gqa=enable_gqa)
        return F.scaled_dot_product_attention(
            query, keys, values, None, 0.0, True, scale, enable_gqa, window=self.window, offset=self._held - count
        )

    def _forget(self, count: int) -> None:
        """Moves the words that the next may still see to the front."""
        kept = self._held if self.window is None else min(self._held, self.window - 1)
        if kept + count > self.capacity:
            raise ValueError(f"KVCache: capacity must hold {kept + count} words, got {self.capacity}")
        for rows in (self._keys, self._values):
            rows[:, :, :kept] = rows[:, :, self._held - kept : self._held].clone()
        self._held = kept

    def reorder(self, index: Tensor) -> None:
        """Item i of the batch goes on as item index[i] did: beams that a search keeps. Shapes: index (N,)."""
        with no_grad():
            self.keys.copy_(self.keys.index_select(0, index))
            self.values.copy_(self.values.index_select(0, index))

    def truncate(self, length: int) -> None:
        """Forgets the words from position `length` on. Raises: ValueError where that is not among those held."""
        first = self.length - self._held
        if not first <= length <= self.length:
            raise ValueError(f"KVCache: length must be from {first} to {self.length}, got {length}")
        self._held, self.length = length - first, length

    def reset(self) -> None:
        """Forgets everything."""
        self._held = self.length = 0
