"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dd2424 import _core, functional as F
from dd2424._core import Tensor, dtype
from dd2424.nn import init
from dd2424.nn.module import Module
from dd2424.nn.parameter import Parameter

# fmt: off
__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm",
    "RMSNorm", "GroupNorm",
]
# fmt: on


class _ChannelNorm(Module):
    """Scale, shift and running statistics by channel, shared by batch and instance normalisation."""

    _dims: tuple[int, ...] = ()  # the numbers of dimensions that an input may have
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name in ("weight", "bias"):
            values = _core.empty((num_features,), dtype=dtype, device=device) if affine else None
            self.register_parameter(name, None if values is None else Parameter(values))
        for name in ("running_mean", "running_var"):
            values = _core.empty((num_features,), dtype=dtype, device=device) if track_running_stats else None
            self.register_buffer(name, values)
        counter = _core.zeros((), dtype=_core.int64, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", counter)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the batches seen: mean 0, variance 1."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget the batches seen and scale by 1, shift by 0."""
        self.reset_running_stats()
        if self.weight is not None and self.bias is not None:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self._dims:
            expected = " or ".join(f"{ndim}D" for ndim in self._dims)
            raise ValueError(f"{type(self).__name__}: input must be {expected}, got {input.ndim}D")

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")  # fmt: skip


class _BatchNorm(_ChannelNorm):
    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        training, momentum = self.training, self.momentum
        if training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        uses_batch = training or self.running_mean is None
        if uses_batch and input.numel() == self.num_features and input.numel() == input.shape[1]:
            raise ValueError(f"{type(self).__name__}: input must have more than one value a channel in training, "
                             f"got {tuple(input.shape)}")  # fmt: skip
        return _core.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, uses_batch,
                                0.0 if momentum is None else momentum, self.eps)  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """Normalise each feature or channel over the batch, then scale and shift it by learned parameters.

        y = (x - E[x]) / sqrt(Var[x] + eps) * weight + bias

    In training E and Var are the batch's, and the running ones move towards them by `momentum` (None: their mean over
    all batches); in evaluation the running ones are used.
    Shapes: input (N, C) or (N, C, L); parameters and running statistics (C,); output as input.
    Raises: ValueError for another number of dimensions, or one value a channel in training.
    Source: Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167, algorithms 1 and 2.
    """

    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for images. Shapes: input (N, C, H, W)."""

    _dims = (4,)


class BatchNorm3d(_BatchNorm):
    """`BatchNorm1d` for volumes. Shapes: input (N, C, D, H, W)."""

    _dims = (5,)


class _InstanceNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        unbatched = input.ndim == self._dims[0]
        y = F.instance_norm(
            input.unsqueeze(0) if unbatched else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum or 0.0,
            self.eps,
        )
        return y.squeeze(0) if unbatched else y


class InstanceNorm1d(_InstanceNorm):
    """Normalise each channel of each sample over its places. Shapes: input (N, C, L) or (C, L).

    Source: Ulyanov et al., "Instance Normalization", arXiv:1607.08022.
    """

    _dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalise each channel of each image. Shapes: input (N, C, H, W) or (C, H, W)."""

    _dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalise each channel of each volume. Shapes: input (N, C, D, H, W) or (C, D, H, W)."""

    _dims = (4, 5)


class LayerNorm(Module):
    """Normalise over the last dimensions, then scale and shift by learned parameters.

        y = (x - E[x]) / sqrt(Var[x] + eps) * weight + bias

    Shapes: input (*, *normalized_shape); output the same.
    Raises: RuntimeError when the input does not end in normalized_shape.
    Source: Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450, section 3.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        for name, is_learned in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            values = _core.empty(shape, dtype=dtype, device=device) if is_learned else None
            self.register_parameter(name, None if values is None else Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale by 1, shift by 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """x / sqrt(E[x^2] + eps) * weight over the last dimensions; eps None is the dtype's smallest step from 1.

    Shapes: input (*, *normalized_shape); output the same.
    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467, equation 4.
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        values = _core.empty(shape, dtype=dtype, device=device) if elementwise_affine else None
        self.register_parameter("weight", None if values is None else Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale by 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Normalise each sample over groups of channels, then scale and shift by channel.

    Shapes: input (N, C, *), C a multiple of num_groups; output the same.
    Source: Wu and He, "Group Normalization", arXiv:1803.08494.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        if num_groups <= 0 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_channels must be divisible by num_groups {num_groups}, got {num_channels}"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        for name in ("weight", "bias"):
            values = _core.empty((num_channels,), dtype=dtype, device=device) if affine else None
            self.register_parameter(name, None if values is None else Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale by 1, shift by 0."""
        if self.weight is not None and self.bias is not None:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
