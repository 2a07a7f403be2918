"""Initial values of parameters. Every function fills its tensor in place, unrecorded, and returns it."""

from __future__ import annotations

import math

from dd2424 import _core
from dd2424._core import Generator, Tensor
from dd2424._grad_mode import no_grad

_GAINS = {"sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on the standard deviation that keeps variance through this non-linearity.

    `param` is leaky_relu's slope, 0.01 by default. Raises: ValueError for an unknown name.
    """
    if nonlinearity == "linear" or nonlinearity.startswith("conv"):
        return 1.0
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float):
            raise ValueError(f"negative_slope {slope} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform on [a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with this mean and standard deviation."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, drawn again until in [a, b]; done at once by the inverse of the distribution function."""

    def below(x: float) -> float:
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    with no_grad():
        low, high = 2 * below((a - mean) / std) - 1, 2 * below((b - mean) / std) - 1
        tensor.uniform_(low, high, generator=generator)
        tensor.copy_(_core.erfinv(tensor) * (std * math.sqrt(2.0)) + mean)
        return tensor.clamp_(a, b)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """All `val`."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """All 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """All 0."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Ones on a matrix's diagonal, zeros elsewhere. Raises: ValueError for other than two dimensions."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: tensor must have 2 dimensions, got {tensor.ndim}")
    with no_grad():
        tensor.zero_()
        for i in range(min(tensor.shape)):
            tensor[i, i] = 1.0
        return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Filters that pass their input channel through: 1 in the middle of filter i for channel i.

    Shapes: (O, C, *) with one to three spatial dimensions. Raises: ValueError for others, or O not divisible by groups.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(f"dirac_: tensor must have 3, 4 or 5 dimensions, got {tensor.ndim}")
    if tensor.shape[0] % groups:
        raise ValueError(f"dirac_: groups must divide the {tensor.shape[0]} filters, got {groups}")
    filters = tensor.shape[0] // groups
    middle = tuple(size // 2 for size in tensor.shape[2:])
    with no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(filters, tensor.shape[1])):
                place = (group * filters + channel, channel, *middle)
                tensor[place] = 1.0
        return tensor


def _fans(tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(
            f"init: tensor must have 2 dimensions or more to have a fan-in and a fan-out, got {tensor.ndim}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform on [-a, a], a = gain * sqrt(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)); source as `xavier_uniform_`."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = _fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform on [-b, b], b = gain * sqrt(3 / fan); `a` is leaky_relu's slope.

    Source: He et al., "Delving Deep into Rectifiers", arXiv:1502.01852.
    """
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan); source as `kaiming_uniform_`."""
    if 0 in tensor.shape:
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """A random matrix with orthonormal rows or columns, whichever are fewer, times gain; dimensions after the first
    count as one. Raises: ValueError for fewer than two dimensions.

    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning", arXiv:1312.6120.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: tensor must have 2 dimensions or more, got {tensor.ndim}")
    if tensor.numel() == 0:
        return tensor
    import numpy as np

    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    draw = _core.empty((max(rows, columns), min(rows, columns)), dtype=_core.float64)
    draw.normal_(0, 1, generator=generator)
    q, r = np.linalg.qr(draw.numpy())
    q *= np.sign(np.diag(r))  # makes the draw uniform over orthogonal matrices
    chosen = np.ascontiguousarray(q if rows >= columns else q.T)
    with no_grad():
        return tensor.copy_(_core.from_numpy(chosen).reshape(tensor.shape).to(tensor.device) * gain)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal, but for a fraction of each column that is zero. Raises: ValueError for other than two dimensions.

    Source: Martens, "Deep learning via Hessian-free optimization", ICML 2010.
    """
    if tensor.ndim != 2:
        raise ValueError(f"eye_: tensor must have 2 dimensions, got {tensor.ndim}")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            tensor[_core.randperm(rows, generator=generator)[:zeros].to(tensor.device), column] = 0.0
        return tensor
