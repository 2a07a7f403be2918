"""The base of all distributions: shapes, validation, and what follows from the few functions that each one defines."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import dd2424
from dd2424 import Size, Tensor, no_grad
from dd2424.distributions import constraints
from dd2424.distributions.constraints import Constraint
from dd2424.distributions.utils import lazy_property, size

__all__ = ["Distribution"]
Self = TypeVar("Self", bound="Distribution")


class Distribution:
    """A probability distribution over tensors, or a batch of them.

    batch_shape: independent distributions, one for each element; event_shape: the shape of one draw from one of them.

    A subclass sets its parameters as attributes named in `arg_constraints`, calls `super().__init__(batch_shape,
    event_shape)`, and defines `log_prob`, `support` and `rsample` (draws with gradients) or `sample`.

    Shapes: sample(s) gives (*s, *batch_shape, *event_shape); log_prob of that gives (*s, *batch_shape).
    Raises: ValueError for a parameter outside its constraint or a value outside the support, unless validate_args is
    False.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether arguments are validated where validate_args is not given. Raises: ValueError for no bool."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args: value must be True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(
        self, batch_shape: Sequence[int] = (), event_shape: Sequence[int] = (), validate_args: bool | None = None
    ) -> None:
        self._batch_shape, self._event_shape = size(batch_shape), size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._validate_parameters()

    def _validate_parameters(self) -> None:
        for name, constraint in self.arg_constraints.items():
            if self._is_given(name) and not constraints.is_dependent(constraint):
                self._check(name, getattr(self, name), constraint)

    def _is_given(self, name: str) -> bool:
        """Whether a parameter is at hand, not still to be computed from the one that was given in its place."""
        return name in vars(self) or not isinstance(getattr(type(self), name, None), lazy_property)

    def _check(self, name: str, value: Tensor, constraint: Constraint) -> None:
        inside = constraint.check(value)
        if not bool(inside.all()):
            if constraint.event_dim == 0:
                value = value.expand(inside.shape)[~inside][0]
                given = f"{value.item()}"
            else:
                given = f"a tensor of shape {tuple(value.shape)} with one that is not"
            raise ValueError(f"{type(self).__name__}: {name} must be {constraint}, got {given}")

    @property
    def batch_shape(self) -> Size:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one draw."""
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """The set of values that can be drawn."""
        raise self._missing("support")

    @property
    def mean(self) -> Tensor:
        """The expectation. Shapes: (*batch_shape, *event_shape), and so for mode, variance and stddev."""
        raise self._missing("mean")

    @property
    def mode(self) -> Tensor:
        """The most likely value."""
        raise self._missing("mode")

    @property
    def variance(self) -> Tensor:
        """The expectation of the squared distance from the mean."""
        raise self._missing("variance")

    @property
    def stddev(self) -> Tensor:
        """sqrt(variance)."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws without gradients. Shapes: (*sample_shape, *batch_shape, *event_shape)."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws as a differentiable function of the parameters, where has_rsample is True.

        Source: Kingma and Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114, section 2.4.
        """
        raise self._missing("rsample")

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability of a discrete value."""
        raise self._missing("log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of a draw of at most `value`."""
        raise self._missing("cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of cdf."""
        raise self._missing("icdf")

    def entropy(self) -> Tensor:
        """The expectation of -log_prob, in nats. Shapes: batch_shape."""
        raise self._missing("entropy")

    def perplexity(self) -> Tensor:
        """exp(entropy)."""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a distribution over finitely many, along a new first dimension.

        Shapes: (number of values, *batch_shape, *event_shape), or with ones for batch_shape where expand is False.
        """
        raise self._missing("enumerate_support")

    def expand(self: Self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        """This distribution with its parameters expanded, without a copy, to a larger batch shape."""
        new = copy.copy(self) if _instance is None else _instance
        for name, constraint in self.arg_constraints.items():
            value = vars(self).get(name)
            if isinstance(value, Tensor):
                own = value.shape[value.ndim - constraint.event_dim :]
                setattr(new, name, value.expand(size(batch_shape, own)))
        new._batch_shape = size(batch_shape)
        return new

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> Size:
        return size(sample_shape, self._batch_shape, self._event_shape)

    def _validate_if_asked(self, value: Any) -> None:
        if self._validate_args:
            self._validate_sample(value)

    def _validate_sample(self, value: Any) -> None:
        """Raises unless value is a tensor in the support whose shape broadcasts with the distribution's."""
        owner = type(self).__name__
        if not isinstance(value, Tensor):
            raise ValueError(f"{owner}: value must be a Tensor, got {type(value).__name__}")
        shape, events = tuple(value.shape), len(self._event_shape)
        if shape[len(shape) - events :] != tuple(self._event_shape) or len(shape) < events:
            raise ValueError(f"{owner}: value must end in the event shape {tuple(self._event_shape)}, got {shape}")
        expected = self._extended_shape()
        for ours, theirs in zip(reversed(expected), reversed(shape)):
            if 1 != ours != theirs != 1:
                raise ValueError(f"{owner}: value must broadcast with shape {tuple(expected)}, got {shape}")
        try:
            support = self.support
        except NotImplementedError:
            return
        self._check("value", value, support)

    def _constant(self, value: float, like: Tensor) -> Tensor:
        """`value` everywhere: the mean of what has none is nan."""
        return dd2424.full(self._extended_shape(), value, dtype=like.dtype, device=like.device)

    def _missing(self, name: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__}: {name} is not defined for this distribution")

    def _enumerated(self, values: Tensor, expand: bool) -> Tensor:
        """`values` (n, *event_shape) as enumerate_support returns them."""
        ones = (1,) * len(self._batch_shape)
        spread = values.reshape((values.shape[0], *ones, *self._event_shape))
        return spread.expand((-1, *self._batch_shape, *self._event_shape)) if expand else spread

    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in self.arg_constraints if self._is_given(name)}
        parts = [f"{k}: {v.item() if v.numel() == 1 else tuple(v.shape)}" for k, v in given.items()]
        return f"{type(self).__name__}({', '.join(parts)})"
