"""Random tensors and the generators they are drawn from. Draws are counter-based: alike for any number of threads."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from dd2424 import _core
from dd2424._core import Generator, Tensor, dtype
from dd2424._device import device
from dd2424.functional.creation import _size
from dd2424.functional.shape import broadcast_shapes
from dd2424.functional.sort import searchsorted

# fmt: off
__all__ = [
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli",
    "multinomial", "manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state", "default_generator",
]
# fmt: on
Device = device | str | None
default_generator = _core.default_generator


def _draw(
    name: str,
    distribution: str,
    size: tuple[Any, ...],
    generator: Generator | None,
    dtype: dtype | None,
    device: Device,
    requires_grad: bool,
) -> Tensor:
    kind = dtype or _core.get_default_dtype()
    if not kind.is_floating_point:
        raise RuntimeError(f"{name}: dtype must be a floating-point type, got {kind}")
    made = _core.random(_size(size), distribution, 0.0, 1.0, kind, generator, device)
    return made.requires_grad_() if requires_grad else made


def _like(name: str, input: Tensor, dtype: dtype | None, device: Device) -> Tensor:
    kind = dtype or input.dtype
    if not kind.is_floating_point:
        raise NotImplementedError(f"{name}: dtype must be a floating-point type, got {kind}")
    return _core.empty_like(input, dtype=kind, device=device)


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [0, 1)."""
    return _draw("rand", "uniform", size, generator, dtype, device, requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with mean 0 and variance 1."""
    return _draw("randn", "normal", size, generator, dtype, device, requires_grad)


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
    start, end, shape = (low, high, size) if isinstance(high, int) else (0, low, high if size is None else size)
    if shape is None:
        raise TypeError("randint: size must be given, got None")
    return _core.randint(start, end, shape, dtype or _core.int64, generator, device)


def randperm(
    n: int, *, generator: Generator | None = None, dtype: dtype | None = None, device: Device = None
) -> Tensor:
    """0 ... n - 1 in random order; on a GPU, which sorts random keys, another than the host's for the same seed.

    Shapes: (n,).
    """
    return _core.randperm(n, dtype or _core.int64, generator, device)


def rand_like(
    input: Tensor, *, dtype: dtype | None = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """`rand` with the input's shape, dtype and order of dimensions in memory."""
    made = _like("rand_like", input, dtype, device).uniform_()
    return made.requires_grad_() if requires_grad else made


def randn_like(
    input: Tensor, *, dtype: dtype | None = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """`randn` with the input's shape, dtype and order of dimensions in memory."""
    made = _like("randn_like", input, dtype, device).normal_()
    return made.requires_grad_() if requires_grad else made


def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: dtype | None = None) -> Tensor:
    """`randint` with the input's shape and dtype."""
    first, last = (0, low) if high is None else (low, high)
    return _core.empty_like(input, dtype=dtype or input.dtype).random_(first, last)


def normal(
    mean: Tensor | float,
    std: Tensor | float = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: Device = None,
) -> Tensor:
    """Normal with this mean and standard deviation, of the shape they broadcast to, or of `size` for numbers."""
    given = [x for x in (mean, std) if isinstance(x, Tensor)]
    if (size is None) != bool(given):
        raise TypeError("normal: size must be given where mean and std are numbers, and only there")
    if (std if isinstance(std, Tensor) else _core.tensor(std)).lt(0).any():
        raise RuntimeError("normal: std must not be negative")
    shape = tuple(size) if size is not None else broadcast_shapes(*(tuple(x.shape) for x in given))
    kind = dtype or (given[0].dtype if given else _core.get_default_dtype())
    place = device or (given[0].device if given else None)
    return _core.random(shape, "normal", 0.0, 1.0, kind, generator, place) * std + mean


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element gives (or p), else 0. Raises: RuntimeError outside [0, 1]."""
    return _core.empty(tuple(input.shape), dtype=input.dtype, device=input.device).bernoulli_(
        input.detach() if p is None else p, generator=generator
    )


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn by the weights in each row. Shapes: input (N, C) or (C,); output (N, num_samples)."""
    weights = input.detach().to(_core.float64)
    if input.ndim not in (1, 2) or not input.is_floating_point() or num_samples < 1:
        raise RuntimeError(
            f"multinomial: input must hold floats in 1 or 2 dimensions and num_samples be positive, "
            f"got {tuple(input.shape)} of {input.dtype} and {num_samples}"
        )
    if not bool(((weights >= 0) & weights.isfinite()).all()) or bool((weights.sum(-1) <= 0).any()):
        raise RuntimeError("multinomial: weights must be finite, none below 0, and some of each row above 0")
    if not replacement and num_samples > int((weights > 0).sum(-1).min()):
        raise RuntimeError(f"multinomial: num_samples must be at most the weights above 0, got {num_samples}")
    if not replacement:  # the smallest of exponential waiting times with these rates: Efraimidis and Spirakis, 2006
        drawn = _core.random(tuple(weights.shape), "uniform", 0.0, 1.0, _core.float64, generator, input.device)
        waits = -_core.log1p(-drawn)
        return _core.where(weights > 0, waits / weights, math.inf).topk(num_samples, -1, largest=False).indices
    sums = weights.cumsum(-1)
    shape = (*sums.shape[:-1], num_samples)
    targets = _core.random(shape, "uniform", 0.0, 1.0, _core.float64, generator, input.device) * sums[..., -1:]
    found = searchsorted(sums, targets, right=True)
    last = (weights > 0).to(_core.int64).cumsum(-1).argmax(-1, keepdim=True)  # rounding may reach the very end
    return _core.minimum(found, last)


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it."""
    return default_generator.manual_seed(int(seed) % 2**64)


def seed() -> int:
    """Seed the default generator from the system and return the seed."""
    chosen = int.from_bytes(os.urandom(8), "little")
    default_generator.manual_seed(chosen)
    return chosen


def initial_seed() -> int:
    """The default generator's seed."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state, for `set_rng_state`."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Put the default generator into this state."""
    default_generator.set_state(new_state)
