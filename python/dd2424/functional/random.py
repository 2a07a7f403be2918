"""Random tensors and the generators they are drawn from. Draws are counter-based: the same for any number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dd2424 import _core
from dd2424._core import Generator, Tensor, device, dtype
from dd2424.functional.creation import _size

# fmt: off
__all__ = [
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli",
    "multinomial", "manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state", "default_generator",
]
# fmt: on
Device = device | str | None
default_generator = _core.default_generator


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [0, 1)."""
    return _core.rand(_size(size), generator=generator, dtype=dtype, device=device, requires_grad=requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with mean 0 and variance 1."""
    return _core.randn(_size(size), generator=generator, dtype=dtype, device=device, requires_grad=requires_grad)


def randint(
    low: int,
    high: int | Sequence[int] | None = None,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: Device = None,
) -> Tensor:
    """Integers in [low, high), or in [0, low) as randint(high, size). Raises: RuntimeError for an empty range."""
    if not isinstance(high, int):
        low, high, size = 0, low, high if size is None else size
    if size is None:
        raise TypeError("randint: size must be given, got None")
    return _core.randint(low, high, size, generator=generator, dtype=dtype or _core.int64, device=device)


def randperm(
    n: int, *, generator: Generator | None = None, dtype: dtype | None = None, device: Device = None
) -> Tensor:
    """0 ... n - 1 in random order. Shapes: (n,)."""
    return _core.randperm(n, generator=generator, dtype=dtype or _core.int64, device=device)


def rand_like(
    input: Tensor, *, dtype: dtype | None = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """`rand` with the input's shape and dtype."""
    return rand(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randn_like(
    input: Tensor, *, dtype: dtype | None = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """`randn` with the input's shape and dtype."""
    return randn(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: dtype | None = None) -> Tensor:
    """`randint` with the input's shape and dtype."""
    first, last = (0, low) if high is None else (low, high)
    return _core.randint(first, last, input.shape, dtype=_core.int64).to(dtype or input.dtype)


def normal(
    mean: Tensor | float,
    std: Tensor | float = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: Device = None,
) -> Tensor:
    """Normal with this mean and standard deviation, of the shape they broadcast to, or of `size` if they are numbers."""
    return _core.normal(mean, std, size, generator=generator, dtype=dtype, device=device)


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element gives (or p), else 0. Raises: RuntimeError outside [0, 1]."""
    return _core.bernoulli(input, p, generator=generator)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn by the weights in each row. Shapes: input (N, C) or (C,); output (N, num_samples)."""
    return _core.multinomial(input, num_samples, replacement, generator=generator)


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it."""
    return _core.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the system and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The default generator's seed."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state, for `set_rng_state`."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Put the default generator into this state."""
    default_generator.set_state(new_state)
