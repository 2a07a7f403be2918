"""Sets that parameters and samples must lie in: `constraint.check(x)` is true where x does.

A constraint over `event_dim` dimensions at the end gives one answer for each vector or matrix there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dd2424
from dd2424 import Tensor

# fmt: off
__all__ = [
    "Constraint", "boolean", "dependent", "dependent_property", "greater_than", "greater_than_eq", "half_open_interval",
    "independent", "integer_interval", "interval", "is_dependent", "less_than", "lower_cholesky", "lower_triangular",
    "multinomial", "nonnegative", "nonnegative_integer", "one_hot", "positive", "positive_definite", "positive_integer",
    "positive_semidefinite", "real", "real_vector", "simplex", "square", "symmetric", "unit_interval",
]
# fmt: on
_ROUNDING = 1e-6  # how far the sum of a simplex may be from 1


class Constraint:
    """A set of values: `check(x)` tells which are in it, `str` completes "x must be ...".

    is_discrete: whether it has only isolated points; event_dim: how many dimensions one value has.
    """

    is_discrete: bool = False
    event_dim: int = 0
    text: str = ""

    def check(self, value: Tensor) -> Tensor:
        """Whether each value is in the set. Shapes: value (*, event); output (*)."""
        raise NotImplementedError(f"{type(self).__name__}: check must be defined by the subclass")

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text})"


class _Where(Constraint):
    """The set where a function says so."""

    def __init__(self, text: str, check: Callable[[Tensor], Tensor], is_discrete: bool = False, event_dim: int = 0):
        self.text, self._check, self.is_discrete, self.event_dim = text, check, is_discrete, event_dim

    def check(self, value: Tensor) -> Tensor:
        return self._check(value)


class _Dependent(Constraint):
    """A set that is known once there is a distribution: its bounds are parameters. Called, it takes other traits."""

    text = "what other parameters decide"

    def __init__(self, *, is_discrete: bool = False, event_dim: int = 0) -> None:
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, *, is_discrete: bool | None = None, event_dim: int | None = None) -> _Dependent:
        return _Dependent(
            is_discrete=self.is_discrete if is_discrete is None else is_discrete,
            event_dim=self.event_dim if event_dim is None else event_dim,
        )

    def check(self, value: Tensor) -> Tensor:
        raise ValueError("dependent: check must be asked of a distribution's constraint, got the class's")


class dependent_property(property, _Dependent):
    """A property whose value is a constraint; on the class it stands for "depends on the parameters"."""

    def __init__(
        self, fn: Callable[[Any], Any] | None = None, *, is_discrete: bool = False, event_dim: int = 0
    ) -> None:
        super().__init__(fn)
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, fn: Callable[[Any], Any]) -> dependent_property:  # type: ignore[override]
        return dependent_property(fn, is_discrete=self.is_discrete, event_dim=self.event_dim)


def is_dependent(constraint: object) -> bool:
    """Whether the set is known only once there is a distribution."""
    return isinstance(constraint, _Dependent)


class independent(Constraint):
    """All values along the last dimensions are in the base set."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint, self.reinterpreted_batch_ndims = base_constraint, reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims
        self.text = base_constraint.text

    def check(self, value: Tensor) -> Tensor:
        if value.ndim < self.event_dim:
            raise ValueError(f"independent: value must have at least {self.event_dim} dimensions, got {value.ndim}")
        inside = self.base_constraint.check(value)
        count = self.reinterpreted_batch_ndims
        return inside.all(tuple(range(-count, 0))) if count else inside


class greater_than(Constraint):
    """x > lower_bound."""

    def __init__(self, lower_bound: Tensor | float) -> None:
        self.lower_bound, self.text = lower_bound, f"greater than {lower_bound}"

    def check(self, value: Tensor) -> Tensor:
        return value > self.lower_bound


class greater_than_eq(Constraint):
    """x >= lower_bound."""

    def __init__(self, lower_bound: Tensor | float) -> None:
        self.lower_bound, self.text = lower_bound, f"at least {lower_bound}"

    def check(self, value: Tensor) -> Tensor:
        return value >= self.lower_bound


class less_than(Constraint):
    """x < upper_bound."""

    def __init__(self, upper_bound: Tensor | float) -> None:
        self.upper_bound, self.text = upper_bound, f"less than {upper_bound}"

    def check(self, value: Tensor) -> Tensor:
        return value < self.upper_bound


class interval(Constraint):
    """lower_bound <= x <= upper_bound."""

    def __init__(self, lower_bound: Tensor | float, upper_bound: Tensor | float) -> None:
        self.lower_bound, self.upper_bound = lower_bound, upper_bound
        self.text = f"between {lower_bound} and {upper_bound}"

    def check(self, value: Tensor) -> Tensor:
        return (value >= self.lower_bound) & (value <= self.upper_bound)


class half_open_interval(interval):
    """lower_bound <= x < upper_bound."""

    def check(self, value: Tensor) -> Tensor:
        return (value >= self.lower_bound) & (value < self.upper_bound)


class integer_interval(interval):
    """Integers from lower_bound to upper_bound."""

    is_discrete = True

    def __init__(self, lower_bound: Tensor | float, upper_bound: Tensor | float) -> None:
        super().__init__(lower_bound, upper_bound)
        self.text = f"an integer {self.text}"

    def check(self, value: Tensor) -> Tensor:
        return super().check(value) & (value % 1 == 0)


class _IntegerFrom(greater_than_eq):
    """Integers from lower_bound on."""

    is_discrete = True

    def __init__(self, lower_bound: int) -> None:
        super().__init__(lower_bound)
        self.text = f"an integer of at least {lower_bound}"

    def check(self, value: Tensor) -> Tensor:
        return super().check(value) & (value % 1 == 0)


class multinomial(Constraint):
    """Counts that are not negative and add up to upper_bound."""

    is_discrete, event_dim = True, 1

    def __init__(self, upper_bound: Tensor | float) -> None:
        self.upper_bound, self.text = upper_bound, f"counts that add up to {upper_bound}"

    def check(self, value: Tensor) -> Tensor:
        return nonnegative_integer.check(value).all(-1) & (value.sum(-1) == self.upper_bound)


def _is_square(x: Tensor) -> Tensor:
    return dd2424.full(tuple(x.shape[:-2]), x.shape[-1] == x.shape[-2], dtype=dd2424.bool, device=x.device)


def _is_symmetric(x: Tensor) -> Tensor:
    square = _is_square(x)
    return ((x - x.mT).abs() <= _ROUNDING).all((-2, -1)) if x.shape[-1] == x.shape[-2] else square


def _eigenvalues_are(x: Tensor, check: Callable[[Tensor], Tensor]) -> Tensor:
    symmetric = _is_symmetric(x)
    return symmetric & check(dd2424.linalg.eigvalsh(x.detach())).all(-1) if x.shape[-1] == x.shape[-2] else symmetric


dependent = _Dependent()
boolean: Constraint = _Where("0 or 1", lambda x: (x == 0) | (x == 1), is_discrete=True)
real: Constraint = _Where("a number", lambda x: x == x)
real_vector: Constraint = independent(real, 1)
positive: Constraint = greater_than(0)
nonnegative: Constraint = greater_than_eq(0)
unit_interval: Constraint = interval(0, 1)
nonnegative_integer: Constraint = _IntegerFrom(0)
positive_integer: Constraint = _IntegerFrom(1)
simplex: Constraint = _Where(
    "numbers from 0 on that add up to 1", lambda x: (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < _ROUNDING), event_dim=1
)
one_hot: Constraint = _Where(
    "one 1 among zeros", lambda x: boolean.check(x).all(-1) & (x.sum(-1) == 1), is_discrete=True, event_dim=1
)
square: Constraint = _Where("a square matrix", _is_square, event_dim=2)
symmetric: Constraint = _Where("a symmetric matrix", _is_symmetric, event_dim=2)
lower_triangular: Constraint = _Where("a lower triangular matrix", lambda x: (x.tril() == x).all((-2, -1)), event_dim=2)
lower_cholesky: Constraint = _Where(
    "a lower triangular matrix with a positive diagonal",
    lambda x: (x.tril() == x).all((-2, -1)) & (dd2424.diagonal(x, 0, -2, -1) > 0).all(-1),
    event_dim=2,
)
positive_definite: Constraint = _Where(
    "a positive definite matrix", lambda x: _eigenvalues_are(x, lambda e: e > 0), event_dim=2
)
positive_semidefinite: Constraint = _Where(
    "a symmetric matrix without negative eigenvalues", lambda x: _eigenvalues_are(x, lambda e: e >= 0), event_dim=2
)
