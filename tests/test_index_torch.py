"""Indexing against PyTorch: random mixtures of keys, and the names, dtypes and error classes of the family."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


class Keys:
    """Random keys for a shape, the same for every run."""

    def __init__(self, seed: int) -> None:
        self.choose, self.numbers = random.Random(seed), np.random.default_rng(seed)

    def part(self, kind: str, shape: tuple[int, ...], common: tuple[int, ...]) -> tuple[Any, int]:
        """A part of a key for the first dimension of `shape`, and how many dimensions it takes."""
        size, choose = shape[0], self.choose
        if kind == "mask":
            dims = choose.randrange(1, len(shape) + 1)
            return self.numbers.integers(0, 2, shape[:dims]).astype(bool), dims
        if kind == "integer" and size:
            return choose.randrange(-size, size), 1
        if kind == "array" and size:
            return self.numbers.integers(-size, size, common), 1
        if kind == "list" and size:
            return [choose.randrange(-size, size) for _ in range(choose.choice([1, 2]))], 1
        if kind == "slice":
            ends = choose.choice([None, 0, 1, -2, 5]), choose.choice([None, -1, 2, 9])
            return slice(*ends, choose.choice([None, 1, 2])), 1
        return (None, 0) if kind == "None" else (slice(None), 1)

    def key(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        parts, at = [], 0
        common = self.choose.choice([(), (2,), (1,), (2, 3), (0,)])
        while at < len(shape) and self.choose.random() > 0.15:
            kind = self.choose.choice(["integer", "slice", "None", "array", "mask", "list", "Ellipsis"])
            if kind == "Ellipsis" and Ellipsis not in [p for p in parts if p is Ellipsis]:
                parts.append(Ellipsis)
                at += self.choose.randrange(0, len(shape) - at + 1)
                continue
            part, taken = self.part(kind, shape[at:], common)
            parts.append(part)
            at += taken
        return tuple(parts)


def outcome(call: Callable[[Any], Any], lib: Any) -> Any:
    try:
        return call(lib)
    except Exception as error:
        return error


@pytest.mark.parametrize("seed", range(8))
def test_random_keys_as_in_pytorch(seed: int) -> None:
    keys = Keys(seed)
    for _ in range(100):
        shape = tuple(keys.choose.choice([1, 2, 3, 4]) for _ in range(keys.choose.randrange(0, 5)))
        array, key = keys.numbers.standard_normal(shape), keys.key(shape)
        convert = lambda lib: tuple(lib.tensor(p) if isinstance(p, np.ndarray) else p for p in key)  # noqa: B023
        theirs, ours = (outcome(lambda lib: lib.tensor(array)[convert(lib)], lib) for lib in (torch, dd2424))  # noqa: B023
        if isinstance(theirs, Exception):
            assert isinstance(ours, type(theirs)), (shape, key, theirs, ours)
            continue
        assert not isinstance(ours, Exception), (shape, key, ours)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=str((shape, key)), strict=True)
        for value in (3.5, keys.numbers.standard_normal(theirs.shape), keys.numbers.standard_normal(theirs.shape[1:])):
            written = []
            for lib in (torch, dd2424):
                x = lib.tensor(array)
                x[convert(lib)] = lib.tensor(value, dtype=lib.float64)
                written.append(x.numpy())
            np.testing.assert_array_equal(written[1], written[0], err_msg=str((shape, key)))


A = np.random.default_rng(0).standard_normal((4, 5))
B = np.where(A > 1, np.nan, A)
INDEX = np.random.default_rng(1).integers(0, 4, (3, 5))
V, M = np.array([2, 0, 2, 3]), A > 0
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "gather": lambda lib, x: x.gather(0, lib.tensor(INDEX)),
    "gather int32": lambda lib, x: x.gather(0, lib.tensor(INDEX).int()),
    "gather out of range": lambda lib, x: x.gather(0, lib.tensor(INDEX + 9)),
    "gather negative": lambda lib, x: x.gather(0, lib.tensor(-INDEX)),
    "gather by floats": lambda lib, x: x.gather(0, lib.tensor(INDEX).double()),
    "scatter": lambda lib, x: x.scatter(0, lib.tensor(INDEX), x * 2),
    "scatter value": lambda lib, x: x.scatter(0, lib.tensor(INDEX), value=2),
    "scatter add": lambda lib, x: x.scatter(0, lib.tensor(INDEX), 2.0, reduce="add"),
    "scatter dtype": lambda lib, x: x.scatter(0, lib.tensor(INDEX), x.float()),
    "scatter_reduce": lambda lib, x: x.scatter_reduce(0, lib.tensor(INDEX), x, "amax", include_self=False),
    "index_select": lambda lib, x: x.index_select(0, lib.tensor(V)),
    "index_select matrix": lambda lib, x: x.index_select(0, lib.tensor(INDEX)),
    "index_select negative": lambda lib, x: x.index_select(0, lib.tensor([-1])),
    "index_add": lambda lib, x: x.index_add(0, lib.tensor(V), x, alpha=2),
    "index_put": lambda lib, x: x.index_put((lib.tensor(V),), x[0], accumulate=True),
    "put": lambda lib, x: x.put(lib.tensor([1, -1]), x[0, :2]),
    "take": lambda lib, x: x.take(lib.tensor([[1, -1]])),
    "take out of range": lambda lib, x: x.take(lib.tensor([99])),
    "take_along_dim": lambda lib, x: lib.take_along_dim(x, lib.tensor([[0, 2]]), 1),
    "masked_fill": lambda lib, x: x.masked_fill(lib.tensor(M[0]), 1.0),
    "masked_fill by integers": lambda lib, x: x.masked_fill(lib.tensor(M).long(), 1.0),
    "masked_scatter": lambda lib, x: x.masked_scatter(lib.tensor(M), x * 2),
    "masked_scatter too short": lambda lib, x: x.masked_scatter(lib.tensor(M), x[0, :2]),
    "nonzero": lambda lib, x: lib.nonzero(lib.tensor(M), as_tuple=True),
    "nonzero of a scalar": lambda lib, x: lib.nonzero(lib.tensor(3.0), as_tuple=True),
    "where": lambda lib, x: lib.where(lib.tensor(M)),
    "where of numbers": lambda lib, x: lib.where(lib.tensor(M), 1, 0),
    "sort": lambda lib, x: x.sort(stable=True, dim=0),
    "topk": lambda lib, x: x.topk(k=2, dim=0, largest=False),
    "topk too many": lambda lib, x: x.topk(9),
    "kthvalue": lambda lib, x: x.kthvalue(2, 0, True),
    "median": lambda lib, x: x.median(1, True).values,
    "nanquantile": lambda lib, x: lib.nanquantile(x, 0.4, dim=1),
    "quantile out of range": lambda lib, x: x.quantile(1.4),
    "quantile of integers": lambda lib, x: lib.arange(4).quantile(0.5),
    "cummax": lambda lib, x: lib.cummax(lib.tensor(V), 0),
    "searchsorted": lambda lib, x: lib.searchsorted(lib.tensor([1.0, 2.0]), lib.tensor([1.5, 2.0]), out_int32=True),
    "bucketize": lambda lib, x: lib.bucketize(2.5, lib.tensor([1.0, 2.0])),
    "unique": lambda lib, x: lib.unique(lib.tensor(V), return_inverse=True, return_counts=True),
    "bincount of floats": lambda lib, x: lib.bincount(lib.tensor([1.0])),
    "histc": lambda lib, x: lib.histc(lib.tensor(A), 5),
    "isin": lambda lib, x: lib.isin(lib.tensor(V), 2),
    "unravel_index": lambda lib, x: lib.unravel_index(lib.tensor([5, 7]), (2, 4)),
    "select_scatter": lambda lib, x: lib.select_scatter(x, x[:, 0], 1, 2),
    "a floating key": lambda lib, x: x[lib.tensor(1.0)],
    "a text key": lambda lib, x: x["a"],
    "a negative step": lambda lib, x: x[::-1],
    "a scalar": lambda lib, x: lib.tensor(3.0)[0],
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_functions_as_in_pytorch(name: str) -> None:
    for array in (A, B):
        theirs, ours = (outcome(lambda lib: CALLS[name](lib, lib.tensor(array)), lib) for lib in (torch, dd2424))  # noqa: B023
        if isinstance(theirs, Exception):
            assert isinstance(ours, type(theirs)), (theirs, ours)
            continue
        assert not isinstance(ours, Exception), ours
        pairs = zip(*[r if isinstance(r, tuple) else (r,) for r in (ours, theirs)], strict=True)
        for actual, expected in pairs:
            assert str(actual.dtype).rpartition(".")[2] == str(expected.dtype).rpartition(".")[2]
            np.testing.assert_allclose(actual.numpy(), expected.numpy(), rtol=1e-12, atol=1e-14)
