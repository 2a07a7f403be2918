"""The normal distribution of vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import Tensor, broadcast_shapes, cholesky_solve, diagonal, eye
from dd2424.distributions import constraints
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import exactly_one, lazy_property, size, standard_normal
from dd2424.linalg import cholesky, solve_triangular

__all__ = ["MultivariateNormal"]


def mahalanobis(scale_tril: Tensor, difference: Tensor) -> Tensor:
    """|L^-1 d|^2 with L = scale_tril. Shapes: scale_tril (*, n, n), difference (*, n); output (*)."""
    batch = broadcast_shapes(tuple(scale_tril.shape[:-2]), tuple(difference.shape[:-1]))
    n = difference.shape[-1]
    factor, d = scale_tril.expand((*batch, n, n)), difference.expand((*batch, n)).unsqueeze(-1)
    return (solve_triangular(factor, d, upper=False) ** 2).sum((-2, -1))


def half_log_det(scale_tril: Tensor) -> Tensor:
    """log det L, half of log det L L^T, of a triangular L with a positive diagonal."""
    return diagonal(scale_tril, 0, -2, -1).log().sum(-1)


class MultivariateNormal(Distribution):
    """The normal distribution of vectors with mean `loc` and covariance C = L L^T.

        p(x) = exp(-(x - loc)^T C^-1 (x - loc) / 2) / sqrt((2 pi)^n det C)

    One of `covariance_matrix` C, `precision_matrix` C^-1 and `scale_tril` L, lower triangular, is given; the others are
    computed when they are read.

    Shapes: loc (*, n) and a matrix (*, n, n) broadcast to batch shape (*); event shape (n,).
    Raises: ValueError unless one matrix is given, with two dimensions, and loc has one.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given = {
            "covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril
        }  # fmt: skip
        name = exactly_one("MultivariateNormal", **given)
        matrix = given[name]
        if loc.ndim < 1:
            raise ValueError("MultivariateNormal: loc must have at least 1 dimension, got 0")
        if matrix is None or matrix.ndim < 2:
            shape = matrix if matrix is None else tuple(matrix.shape)
            raise ValueError(f"MultivariateNormal: {name} must have at least 2 dimensions, got shape {shape}")
        batch = broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1]))
        setattr(self, name, matrix.expand(size(batch, matrix.shape[-2:])))
        self.loc = loc.expand(size(batch, loc.shape[-1:]))
        super().__init__(batch, loc.shape[-1:], validate_args)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """L: lower triangular, with C = L L^T."""
        if "covariance_matrix" in vars(self):
            return cholesky(self.covariance_matrix)
        # With J the exchange of first and last, J P J = F F^T gives P = (J F J) (J F J)^T, an upper factor: L^-T.
        inverse = cholesky(self.precision_matrix.flip((-2, -1))).flip((-2, -1)).mT
        identity = eye(self.loc.shape[-1], dtype=self.loc.dtype, device=self.loc.device).expand(inverse.shape)
        return solve_triangular(inverse, identity, upper=False)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """C = L L^T."""
        return self.scale_tril @ self.scale_tril.mT

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """C^-1."""
        identity = eye(self.loc.shape[-1], dtype=self.loc.dtype, device=self.loc.device).expand(self.scale_tril.shape)
        result: Tensor = cholesky_solve(identity, self.scale_tril)
        return result

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return (self.scale_tril**2).sum(-1)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        noise = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        squared = mahalanobis(self.scale_tril, value - self.loc)
        return -(squared + self._event_shape[0] * math.log(2 * math.pi)) / 2 - half_log_det(self.scale_tril)

    def entropy(self) -> Tensor:
        return half_log_det(self.scale_tril) + self._event_shape[0] * (1 + math.log(2 * math.pi)) / 2
