"""Weights that are a direction times a length, or have a largest singular value of 1."""

from __future__ import annotations

from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import no_grad
from dd2424.nn.functional import normalize
from dd2424.nn.module import Module
from dd2424.nn.utils.parametrize import register_parametrization


def norm_except(v: Tensor, dim: int | None) -> Tensor:
    """The norms of the slices along `dim`, kept as dimensions of 1; of all of v where it is None or -1."""
    if dim is None or dim == -1:
        return _core.sqrt(_core.sum(_core.square(v)))
    others = [d for d in range(v.ndim) if d != dim % v.ndim]
    return _core.sqrt(_core.sum(_core.square(v), others, True)) if others else _core.abs(v)


class WeightNorm(Module):
    """w = g * v / |v|, the norms being over all dimensions but `dim`."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """g and v of a weight: its norms, and itself."""
        return norm_except(weight, self.dim), weight.clone()


class SpectralNorm(Module):
    """w / sigma, sigma being w's largest singular value as power iteration knows it; one more round every time it is
    computed in training.

    Shapes: w any; as a matrix, dimension `dim` by the others.
    """

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if n_power_iterations <= 0:
            raise ValueError(f"spectral_norm: n_power_iterations must be positive, got {n_power_iterations}")
        if not -max(weight.ndim, 1) <= dim < max(weight.ndim, 1):
            raise IndexError(f"spectral_norm: dim must be of weight's {weight.ndim} dimensions, got {dim}")
        self.n_power_iterations, self.dim, self.eps = n_power_iterations, dim % max(weight.ndim, 1), eps
        if weight.ndim > 1:
            matrix = self._matrix(weight.detach())
            for name, size in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
                draw = _core.empty((size,), dtype=weight.dtype, device=weight.device).normal_(0, 1)
                self.register_buffer(name, normalize(draw, dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        order = [self.dim] + [d for d in range(weight.ndim) if d != self.dim]
        return weight.permute(order).reshape((weight.shape[self.dim], -1))

    def _iterate(self, matrix: Tensor, rounds: int) -> None:
        with no_grad():
            for _ in range(rounds):
                self._u.copy_(normalize(_core.mv(matrix, self._v), dim=0, eps=self.eps))
                self._v.copy_(normalize(_core.mv(matrix.t(), self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix.detach(), self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the tape may look at them after the next round
        return weight / _core.dot(u, _core.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The weight itself: what norm it had is forgotten."""
        return value


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn the tensor as a length and a direction, w = g * v / |v|; returns the module.

    Raises: ValueError for a name the module has not.
    Source: Salimans and Kingma, "Weight Normalization", arXiv:1602.07868, equation 2.
    """
    register_parametrization(module, name, WeightNorm(dim), unsafe=True)
    return module


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide the tensor by its largest singular value; returns the module. `dim` is 0 by default.

    Raises: ValueError for a name the module has not.
    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", arXiv:1802.05957, algorithm 1.
    """
    weight: Any = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"spectral_norm: name must be a tensor of {type(module).__name__}, got '{name}'")
    register_parametrization(module, name, SpectralNorm(weight, n_power_iterations, dim or 0, eps))
    return module
