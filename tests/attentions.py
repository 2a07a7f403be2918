"""Inputs for the tests of attention, and what float64 says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import dd2424
from dd2424.nn import functional as F
from reference import attention as reference

Array = Any


@dataclass(frozen=True)
class Case:
    """Sizes and options of one attention; `run` and `expected` speak of the same arrays."""

    batch: int
    heads: int
    queries: int
    keys: int
    features: int
    values: int = 0  # features of v; 0: as many as k has
    key_heads: int = 0  # 0: as many as q has
    options: dict[str, Any] = field(default_factory=dict)

    def arrays(self, rng: np.random.Generator, dtype: Any = np.float32) -> list[Array]:
        """q, k, v and dy."""
        e, key_heads = self.values or self.features, self.key_heads or self.heads
        shapes = (
            (self.batch, self.heads, self.queries, self.features),
            (self.batch, key_heads, self.keys, self.features),
            (self.batch, key_heads, self.keys, e),
            (self.batch, self.heads, self.queries, e),
        )
        return [rng.standard_normal(shape).astype(dtype) for shape in shapes]

    def run(self, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        options = {"enable_gqa": bool(self.key_heads), **self.options}
        return F.scaled_dot_product_attention(q, k, v, mask, **options)

    def place(self) -> Array:
        names = {"is_causal": "causal", "window": "window", "offset": "offset"}
        return reference.visible(
            self.queries, self.keys, **{names[k]: x for k, x in self.options.items() if k in names}
        )

    def repeated(self, x: Array) -> Array:
        return x.repeat(self.heads // self.key_heads, 1) if self.key_heads else x

    def weights(self, q: Array, k: Array, mask: Array | None = None) -> Array:
        seen, added = self.place(), 0.0
        if mask is not None and mask.dtype == bool:
            seen = seen & mask
        elif mask is not None:
            seen, added = seen & (mask > -np.inf), np.where(mask > -np.inf, mask, 0.0)
        return reference.weights(q, self.repeated(k), seen, added, self.options.get("scale"))

    def expected(self, arrays: list[Array], mask: Array | None = None, keep: Array | float = 1.0) -> list[Array]:
        """y, dq, dk, dv and the gradient by the scores."""
        q, k, v, dy = arrays
        p = self.weights(q, k, mask)
        dq, dk, dv, ds = reference.gradients(
            q, self.repeated(k), self.repeated(v), dy, p, keep, self.options.get("scale")
        )
        grouped = [x.reshape(x.shape[0], k.shape[1], -1, *x.shape[2:]).sum(2) if x.size else x[:, : k.shape[1]]
                   for x in (dk, dv)]  # fmt: skip
        return [reference.attention(p, self.repeated(v), keep), dq, *grouped, ds]


def tensors(*arrays: Array) -> list[Any]:
    return [dd2424.from_numpy(np.array(array)) for array in arrays]


def gradients(case: Case, arrays: list[Array], mask: Any = None) -> list[Any]:
    """y, dq, dk, dv."""
    leaves = [t.requires_grad_() for t in tensors(*arrays[:3])]
    y = case.run(*leaves, mask)
    y.backward(dd2424.from_numpy(arrays[3]))
    return [y.detach(), *(leaf.grad for leaf in leaves)]


# fmt: off
CASES = {
    "one": Case(1, 1, 1, 1, 1),
    "three": Case(2, 1, 3, 3, 3),
    "T17": Case(1, 2, 17, 17, 8),
    "T65": Case(2, 3, 65, 65, 32),
    "T129": Case(1, 2, 129, 129, 16),
    "T129 causal": Case(1, 8, 129, 129, 20, options={"is_causal": True}),
    "T66": Case(1, 2, 66, 67, 64),
    "long": Case(1, 1, 600, 530, 16),
    "long causal": Case(1, 1, 530, 600, 16, options={"is_causal": True}),
    "D80": Case(1, 1, 33, 40, 80),
    "D100": Case(1, 1, 70, 66, 100, values=37),
    "D256": Case(1, 1, 20, 50, 256),
    "D1": Case(2, 2, 40, 33, 1, values=3),
    "few queries": Case(1, 2, 2, 300, 24, options={"is_causal": True, "offset": 298}),
    "one query": Case(2, 4, 1, 77, 40),
    "one query, groups": Case(1, 6, 1, 130, 64, values=72, key_heads=2),
    "groups": Case(2, 6, 37, 41, 16, key_heads=2),
    "groups, many heads": Case(4, 8, 40, 70, 20, key_heads=4, options={"is_causal": True}),
    "shared": Case(1, 5, 100, 100, 16, key_heads=1),
    "window": Case(1, 2, 150, 150, 16, options={"window": 10}),
    "causal window": Case(1, 8, 180, 280, 16, options={"window": 70, "is_causal": True}),
    "far window": Case(1, 1, 90, 600, 16, options={"window": 20, "is_causal": True, "offset": 505}),
    "before the keys": Case(1, 1, 50, 20, 8, options={"is_causal": True, "offset": -30}),
    "beyond the keys": Case(1, 1, 50, 20, 8, options={"window": 5, "offset": 10}),
    "scale": Case(1, 2, 20, 30, 16, options={"scale": 0.7}),
    "negative scale": Case(1, 2, 20, 30, 16, options={"scale": -0.3}),
}
# fmt: on
