"""Reductions of 16 MB: bound by memory, so the limit is the machine's bandwidth of reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from case import Case, normal, uniform
from shapes import LARGE, LARGE_BYTES


def reduce(
    name: str,
    program: Callable[[Any, Any], Any],  # of PyTorch's module and the tensor
    numpy: Callable[[Any], Any],
    limit: float | None = None,
    inputs: Any = uniform,  # of one sign, so that sums of either order agree
) -> Case:
    return Case(
        name,
        program=lambda torch, x: lambda: program(torch, x),
        inputs=inputs(LARGE),
        numpy=lambda x: lambda: numpy(x),
        jax=lambda jax, x: jax_reduction(jax, name, x),
        reads=1,
        array_bytes=LARGE_BYTES,
        goals={"numpy": 1.0, "torch": 1.0, **({"limit": limit} if limit else {})},
    )


def jax_reduction(jax: Any, name: str, x: Any) -> Any:
    """`name` is that of JAX's function, then the dimension."""
    function, _, dim = name.partition(", dim ")
    axis = int(dim) if dim else None
    if function == "logsumexp":
        return jax.nn.logsumexp(x, axis)
    return jax.numpy.var(x, ddof=1) if function == "var" else getattr(jax.numpy, function)(x, axis)


def logsumexp(x: Any) -> Any:
    most = x.max(1, keepdims=True)
    return np.log(np.exp(x - most).sum(1)) + most[:, 0]


CASES = [
    reduce("sum", lambda torch, x: x.sum(), lambda x: x.sum(), limit=0.9),
    reduce("sum, dim 0", lambda torch, x: x.sum(0), lambda x: x.sum(0), limit=0.9),
    reduce("sum, dim 1", lambda torch, x: x.sum(1), lambda x: x.sum(1), limit=0.9),
    reduce("max", lambda torch, x: x.max(), lambda x: x.max(), limit=0.9, inputs=normal),
    reduce("argmax", lambda torch, x: x.argmax(), lambda x: x.argmax(), inputs=normal),  # which hardly ever ties
    reduce("var", lambda torch, x: x.var(), lambda x: x.var(ddof=1)),
    reduce("logsumexp, dim 1", lambda torch, x: torch.logsumexp(x, 1), logsumexp),
]

NOTES = """
The limit adds up what it reads, and no more. `sum` reaches 82 to 90 % of it wherever the array lies (256 kB, 2 MB, 16
MB), at one thread and at two. At 16 MB and two threads that is 153 GB/s, the pace of the third-level cache, to which
PyTorch's sum is as near: 0.9 to 1.0x there, 1.2 to 1.4x on 2 MB, 1.5 to 2.9x on 256 kB. A sum over dim 0 keeps a row of
sums in the first-level cache, which is loaded and stored for every four rows: 60 to 70 % of the limit on 256 kB as on
16 MB, so it is the loop and not memory, at 2.2 to 3.0 times PyTorch. `var` reads twice; `logsumexp` is exponentials.
"""
