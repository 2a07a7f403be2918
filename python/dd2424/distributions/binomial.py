"""The binomial distribution."""

from __future__ import annotations

from collections.abc import Sequence

from dd2424 import Size, Tensor, arange, lgamma
from dd2424._host import beside, host_array
from dd2424.distributions import constraints, draws
from dd2424.distributions.constraints import Constraint
from dd2424.distributions.distribution import Distribution
from dd2424.distributions.utils import broadcast_all, exactly_one, lazy_property, logits_to_probs, probs_to_logits
from dd2424.nn.functional import softplus

__all__ = ["Binomial"]


class Binomial(Distribution):
    """How many of n = `total_count` trials succeed, which each does with probability p = `probs`.

        P(k) = n! / (k! (n - k)!) p^k (1 - p)^(n - k)

    Shapes: total_count and probs or logits broadcast to the batch shape; draws are numbers.
    Raises: ValueError unless one of probs and logits is given.
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(
        self,
        total_count: Tensor | int = 1,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name = exactly_one("Binomial", probs=probs, logits=logits)
        parameter = probs if logits is None else logits
        if not isinstance(parameter, Tensor):
            (parameter,) = broadcast_all(parameter)
        count, parameter = broadcast_all(
            total_count if isinstance(total_count, Tensor) else int(total_count), parameter
        )
        self.total_count = count.to(parameter.dtype)
        setattr(self, name, parameter)
        super().__init__(parameter.shape, validate_args=validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability of success."""
        return logits_to_probs(self.logits, is_binary=True)

    @lazy_property
    def logits(self) -> Tensor:
        """log(probs / (1 - probs))."""
        return probs_to_logits(self.probs, is_binary=True)

    @property
    def param_shape(self) -> Size:
        """The shape of probs and logits."""
        return self.batch_shape

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().minimum(self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        n, p = (host_array(x.expand(shape).double()) for x in (self.total_count, self.probs))
        return beside(draws.binomial(n, p), self.probs).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_if_asked(value)
        n = self.total_count
        log_ways = lgamma(n + 1) - lgamma(value + 1) - lgamma(n - value + 1)
        return log_ways + value * self.logits - n * softplus(self.logits)

    def entropy(self) -> Tensor:
        log_prob = self.log_prob(self.enumerate_support(expand=False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        largest = int(self.total_count.max().item())
        if bool((self.total_count != largest).any()):
            raise NotImplementedError("Binomial: total_count must be one number to enumerate the support, got several")
        return self._enumerated(arange(largest + 1, dtype=self.probs.dtype, device=self.probs.device), expand)
