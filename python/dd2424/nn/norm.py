"""Normalisation by channel: over the batch, or over each sample."""

from __future__ import annotations

from typing import Any

from dd2424 import _core, functional as F
from dd2424._core import Tensor, dtype
from dd2424.nn import init
from dd2424.nn.module import Module
from dd2424.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter, is_lazy

# fmt: off
__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
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
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, is_learned in (("weight", affine), ("bias", affine and bias)):
            values = _core.empty((num_features,), dtype=dtype, device=device) if is_learned else None
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
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self._dims:
            expected = " or ".join(f"{ndim}D" for ndim in self._dims)
            raise ValueError(f"{type(self).__name__}: input must be {expected}, got {input.ndim}D")

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")  # fmt: skip


class _BatchNorm(_ChannelNorm):
    def forward(self, input: Tensor, *, relu: bool = False, residual: Tensor | None = None) -> Tensor:
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
                                0.0 if momentum is None else momentum, self.eps, relu, residual)  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """Normalise each feature or channel over the batch, then scale and shift it by learned parameters.

        y = (x - E[x]) / sqrt(Var[x] + eps) * weight + bias

    In training E and Var are the batch's, and the running ones move towards them by `momentum` (None: their mean over
    all batches); in evaluation the running ones are used. `norm(x, relu=True, residual=z)` gives max(y + z, 0) in the
    same kernel.
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


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over all processes of a group. There is one process here, so it is the plain one.

    Shapes: input (N, C, *). Source: as `BatchNorm1d`.
    """

    _dims = (2, 3, 4, 5)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module, whose batch normalisations are right for one process already."""
        return module


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
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

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


class _LazyNorm(_ChannelNorm):
    """Takes `num_features` from its first input, and is the plain layer from then on."""

    _becomes: type[_ChannelNorm]

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype)
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, is_learned in (("weight", affine), ("bias", affine and bias)):
            if is_learned:
                setattr(self, name, UninitializedParameter(_core.empty((0,), dtype=dtype, device=device)))
        if track_running_stats:
            for name in ("running_mean", "running_var"):
                setattr(self, name, UninitializedBuffer(_core.empty((0,), dtype=dtype, device=device)))
            self.num_batches_tracked = _core.zeros((), dtype=_core.int64, device=device)

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.num_features:
            super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        dims = self._becomes._dims
        if input.ndim not in dims:
            raise ValueError(f"{type(self).__name__}: input must be {' or '.join(f'{d}D' for d in dims)}, "
                             f"got {input.ndim}D")  # fmt: skip
        has_batch = input.ndim == dims[-1] or issubclass(self._becomes, _BatchNorm)
        waiting = [m for _, m in (*self.named_parameters(), *self.named_buffers()) if is_lazy(m)]
        self.num_features = input.shape[1 if has_batch else 0]
        for member in waiting:
            member.materialize((self.num_features,))  # type: ignore[attr-defined]
        self.__class__ = self._becomes  # type: ignore[assignment]
        if waiting:
            self.reset_parameters()
        return self(input)  # type: ignore[no-any-return]


class LazyBatchNorm1d(_LazyNorm):
    """A `BatchNorm1d` that takes `num_features` from its first input. Shapes: input (N, C) or (N, C, L)."""

    _becomes = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm):
    """A `BatchNorm2d` that takes `num_features` from its first input. Shapes: input (N, C, H, W)."""

    _becomes = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm):
    """A `BatchNorm3d` that takes `num_features` from its first input. Shapes: input (N, C, D, H, W)."""

    _becomes = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm):
    """An `InstanceNorm1d` that takes `num_features` from its first input. Shapes: input (N, C, L) or (C, L)."""

    _becomes = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm):
    """An `InstanceNorm2d` that takes `num_features` from its first input. Shapes: input (N, C, H, W) or (C, H, W)."""

    _becomes = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm):
    """An `InstanceNorm3d` that takes `num_features` from its first input. Shapes: (N, C, D, H, W) or (C, D, H, W)."""

    _becomes = InstanceNorm3d
