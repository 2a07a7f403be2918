"""A function of one item, for every item of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

from dd2424 import _core
from dd2424._core import Tensor
from dd2424.func.tree import flatten, spread
from dd2424.functional.elementwise_binary import equal
from dd2424.functional.random import get_rng_state, set_rng_state

__all__ = ["vmap"]


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: Literal["error", "different", "same"] = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that calls `func` for each item along dimension `in_dims` of its arguments, and stacks what it gives.

    `in_dims` is one dimension for all arguments, or a tuple with an entry for each: a dimension, None for an argument
    that every call gets whole, or the same again for the parts of tuples, lists and dictionaries; `out_dims` likewise
    for the results. `randomness`: whether items draw the "same" numbers or "different" ones; "error" refuses a function
    that draws any. The calls are made one after another: it is a way to write, not to gain time. `chunk_size` changes
    nothing.
    Raises: ValueError for dimensions that are not there, or sizes that differ; RuntimeError for randomness.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"vmap: randomness must be 'error', 'different' or 'same', got {randomness!r}")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, rebuild = flatten(args)
        dims = spread(in_dims, args, "vmap: in_dims")
        size = _batch_size(leaves, dims)
        state, results = get_rng_state(), []
        for i in range(size):
            if randomness == "same":
                set_rng_state(state)
            pairs = zip(leaves, dims, strict=True)
            results.append(func(*rebuild([x if dim is None else x.select(dim, i) for x, dim in pairs]), **kwargs))
            if randomness == "error" and not equal(get_rng_state(), state):
                set_rng_state(state)
                raise RuntimeError("vmap: randomness must be 'same' or 'different' for a function that draws numbers")
        return _stacked(results, out_dims)

    return mapped


def _batch_size(leaves: list[Any], dims: list[Any]) -> int:
    sizes = set()
    for x, dim in zip(leaves, dims, strict=True):
        if dim is None:
            continue
        if not isinstance(x, Tensor) or not -x.ndim <= dim < x.ndim:
            got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"vmap: in_dims must name a dimension of a tensor, got {dim} for {got}")
        sizes.add(x.shape[dim])
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            f"vmap: arguments must have one common number of items, above 0, got {sorted(sizes) or 'none'}"
        )
    return int(sizes.pop())


def _stacked(results: list[Any], out_dims: Any) -> Any:
    first, rebuild = flatten(results[0])
    for y in first:
        if not isinstance(y, Tensor):
            raise ValueError(f"vmap: func must return tensors, got {type(y).__name__}")
    columns = zip(*(flatten(result)[0] for result in results), strict=True)
    dims = spread(out_dims, results[0], "vmap: out_dims")
    pairs = zip(columns, dims, strict=True)
    return rebuild([items[0] if dim is None else _core.stack(list(items), dim) for items, dim in pairs])
