"""Normalisation over the batch, over features, over groups of channels, and of vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._dtypes import finfo
from dd2424.linalg.norm import vector_norm

# fmt: off
__all__ = [
    "batch_norm", "layer_norm", "rms_norm", "add_layer_norm", "add_rms_norm", "group_norm", "instance_norm",
    "normalize", "local_response_norm",
]
# fmt: on


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    relu: bool = False,
    residual: Tensor | None = None,
) -> Tensor:
    """Normalise each channel over the batch, scale and shift it; in the same pass add `residual`, then take max(y, 0).

        y = (x - E[x]) / sqrt(Var[x] + eps) * weight + bias + residual, at least 0 with `relu`

    In training, mean and variance (1/n) are the batch's and the running ones move towards them by `momentum` (the
    variance with 1/(n-1)); in evaluation the running ones are used.
    Shapes: input and residual (N, C) or (N, C, *); the others (C,).
    Raises: ValueError for one value a channel in training.
    Source: Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167, algorithm 1.
    """
    if training and input.ndim > 1 and input.numel() == input.shape[1]:
        raise ValueError(f"batch_norm: input must have more than one value a channel, got {tuple(input.shape)}")
    return _core.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps, relu, residual)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise over the last dimensions, then scale and shift.

        y = (x - E[x]) / sqrt(Var[x] + eps) * weight + bias

    Shapes: input (*, *normalized_shape); weight and bias normalized_shape.
    Raises: RuntimeError when the input does not end in normalized_shape.
    Source: Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450, section 3.
    """
    return _core.layer_norm(input, normalized_shape, weight, bias, eps)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(E[x^2] + eps) * weight over the last dimensions; eps is the dtype's own by default.

    Shapes: input (*, *normalized_shape); weight normalized_shape.
    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467.
    """
    floor = finfo(input.dtype).eps if eps is None else eps
    return _core.rms_norm(input, normalized_shape, weight, floor)


def add_layer_norm(
    input: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """`layer_norm` of input + residual, and that sum, in one kernel each way.

        s = input + residual,  y = layer_norm(s),  returned as (y, s)

    A Transformer block that normalises first carries s on, one that normalises afterwards y.
    Shapes: input and residual (*, *normalized_shape), as both results; weight and bias normalized_shape.
    Raises: RuntimeError where residual differs from input in shape or dtype.
    """
    return _core.add_layer_norm(input, residual, normalized_shape, weight, bias, eps)


def add_rms_norm(
    input: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> tuple[Tensor, Tensor]:
    """`rms_norm` of input + residual, and that sum, in one kernel each way: (rms_norm(s), s).

    Shapes: input and residual (*, *normalized_shape), as both results; weight normalized_shape.
    Raises: RuntimeError where residual differs from input in shape or dtype.
    """
    floor = finfo(input.dtype).eps if eps is None else eps
    return _core.add_rms_norm(input, residual, normalized_shape, weight, floor)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise each item over groups of neighbouring channels and all positions, then scale and shift each channel.

    Shapes: input (N, C, *), C a multiple of num_groups; weight and bias (C,).
    Raises: RuntimeError where C is no multiple. Source: Wu and He, "Group Normalization", arXiv:1803.08494.
    """
    return _core.group_norm(input, num_groups, weight, bias, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each item over its positions; with use_input_stats=False by the running statistics.

    Shapes: input (N, C, *); the others (C,). Source: Ulyanov et al., "Instance Normalization", arXiv:1607.08022.
    """
    if not use_input_stats:
        return _core.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if math.prod(input.shape[2:]) == 1:
        raise ValueError(f"instance_norm: input must have more than one position, got {tuple(input.shape)}")
    items, channels = input.shape[:2]
    if running_mean is None and running_var is None:
        return _core.group_norm(input, channels, weight, bias, eps)
    mean, var, scale, shift = (
        None if t is None else t.repeat((items,)) for t in (running_mean, running_var, weight, bias)
    )
    images = input.reshape((1, items * channels, *input.shape[2:]))
    y = _core.batch_norm(images, mean, var, scale, shift, True, momentum, eps)
    for running, moved in ((running_mean, mean), (running_var, var)):
        if running is not None and moved is not None:
            running.copy_(_core.mean(moved.reshape((items, channels)), 0))
    return y.reshape(input.shape)


def normalize(input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12) -> Tensor:
    """x / max(|x|_p, eps), the norm being over `dim`."""
    return input / _core.clamp(vector_norm(input, p, dim, True), eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * mean of x^2 over `size` neighbouring channels)^beta, zeros standing beyond the edges.

    Shapes: (N, C, *), at least one *.
    Raises: ValueError for fewer dimensions.
    Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification", NIPS 2012, section 3.3.
    """
    return _core.local_response_norm(input, size, alpha, beta, k)
