"""Activations: non-linear functions between the layers of a network."""

from __future__ import annotations

from dd2424 import _core
from dd2424._core import Tensor, dtype
from dd2424._types import Number

# fmt: off
__all__ = [
    "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "rrelu_", "elu", "elu_", "selu", "selu_",
    "celu", "celu_", "gelu", "silu", "mish", "softplus", "hardtanh", "hardtanh_", "hardsigmoid", "hardswish",
    "hardshrink", "softshrink", "tanhshrink", "softsign", "logsigmoid", "threshold", "threshold_", "glu", "swiglu",
    "geglu", "sigmoid", "tanh", "softmax", "softmin", "log_softmax", "gumbel_softmax",
]
# fmt: on


def _result(input: Tensor, output: Tensor, inplace: bool) -> Tensor:
    return input.copy_(output) if inplace else output


def _source(input: Tensor, inplace: bool) -> Tensor:
    # What the tape keeps for backward must not be what is overwritten.
    return input.clone() if inplace and input.requires_grad else input


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return _core.relu_(input) if inplace else _core.relu(input)


def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    return _core.relu_(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x above zero, negative_slope * x below."""
    return _result(input, _core.leaky_relu(_source(input, inplace), negative_slope), inplace)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place."""
    return leaky_relu(input, negative_slope, True)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x above zero, weight * x below; the slope is learned, one for all or one a channel (dimension 1).

    Raises: RuntimeError where weight has neither one element nor one a channel.
    """
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.numel() not in (1, channels):
        raise RuntimeError(f"prelu: weight must have 1 or {channels} elements, got {weight.numel()}")
    slope = weight.reshape((1, -1) + (1,) * (input.ndim - 2)) if weight.numel() > 1 else weight.reshape(())
    return _core.where(input > 0, input, slope * input)


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """x above zero, a * x below, with a drawn from [lower, upper] in training and their mean in evaluation."""
    x = _source(input, inplace)
    if not training:
        return _result(input, _core.leaky_relu(x, (lower + upper) / 2), inplace)
    slope = _core.empty_like(x.detach()).uniform_(lower, upper)
    return _result(input, _core.where(x > 0, x, slope * x), inplace)


def rrelu_(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    """`rrelu` in place."""
    return rrelu(input, lower, upper, training, True)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above zero, alpha * (e^x - 1) below."""
    return _result(input, _core.elu(_source(input, inplace), alpha), inplace)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place."""
    return elu(input, alpha, True)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 * (x above zero, 1.6733 * (e^x - 1) below): keeps mean 0 and variance 1 through layers.

    Source: Klambauer et al., "Self-Normalizing Neural Networks", arXiv:1706.02515.
    """
    return _result(input, _core.selu(_source(input, inplace)), inplace)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place."""
    return selu(input, True)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above zero, alpha * (e^(x / alpha) - 1) below."""
    return _result(input, _core.celu(_source(input, inplace), alpha), inplace)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place."""
    return celu(input, alpha, True)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x), Phi being the normal distribution function; approximate="tanh" is the formula of GPT-2.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.
    """
    return _core.gelu(input, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x), also known as swish."""
    return _result(input, _core.silu(_source(input, inplace)), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x))."""
    return _result(input, _core.mish(_source(input, inplace)), inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta, and x where beta * x is above `threshold`."""
    return _core.softplus(input, beta, threshold)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x cut off at min_val and max_val."""
    return _result(input, _core.hardtanh(_source(input, inplace), min_val, max_val), inplace)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place."""
    return hardtanh(input, min_val, max_val, True)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6."""
    return _result(input, _core.hardsigmoid(_source(input, inplace)), inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * hardsigmoid(x)."""
    return _result(input, _core.hardswish(_source(input, inplace)), inplace)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, and 0 where |x| <= lambd."""
    return _core.where(_core.le(_core.abs(input), lambd), 0.0, input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved by lambd towards 0, at most to 0. Raises: RuntimeError for a negative lambd."""
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambd must be non-negative, got {lambd}")
    return _core.where(input > lambd, input - lambd, _core.where(input < -lambd, input + lambd, input * 0))


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - _core.tanh(input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return _core.softsign(input)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), without overflow."""
    return _core.logsigmoid(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x above `threshold`, `value` elsewhere."""
    x = _source(input, inplace)
    return _result(input, _core.where(_core.le(x, threshold), value, x), inplace)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place."""
    return input.copy_(_core.where(_core.le(_source(input, True), threshold), value, input))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a * sigmoid(b), a and b being the halves of `dim`. Raises: RuntimeError where its size is odd.

    Source: Dauphin et al., "Language Modeling with Gated Convolutional Networks", arXiv:1612.08083.
    """
    return _core.glu(input, dim)


def swiglu(input: Tensor, other: Tensor | None = None, dim: int = -1) -> Tensor:
    """silu(a) * b, in one kernel each way: of `input` and `other`, or of the halves of dimension `dim` of `input`.

    Shapes: input and other (*), as the result; or input (*, 2 C, *), result (*, C, *).
    Raises: RuntimeError where other differs from input in shape or dtype, or the size of `dim` is odd.
    Source: Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202, equation 6.
    """
    return _core.swiglu(input, other, dim)


def geglu(input: Tensor, other: Tensor | None = None, dim: int = -1, approximate: str = "none") -> Tensor:
    """gelu(a) * b, in one kernel each way: of `input` and `other`, or of the halves of dimension `dim` of `input`.

    Shapes: input and other (*), as the result; or input (*, 2 C, *), result (*, C, *).
    Raises: RuntimeError where other differs from input in shape or dtype, the size of `dim` is odd, or `approximate` is
    neither "none" nor "tanh".
    Source: Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202, equation 6.
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"geglu: approximate must be 'none' or 'tanh', got '{approximate}'")
    return (_core.geglu if approximate == "none" else _core.geglu_tanh)(input, other, dim)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return _core.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return _core.tanh(input)


def _class_dim(dim: int | None, ndim: int) -> int:
    """The dimension that PyTorch takes where none is given."""
    return dim if dim is not None else 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """e^x over its sum along `dim`: probabilities."""
    x = input if dtype is None else input.to(dtype)
    return _core.softmax(x, _class_dim(dim, x.ndim))


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """softmax(-x)."""
    return softmax(-input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """log(softmax(x)) along `dim`, without overflow."""
    x = input if dtype is None else input.to(dtype)
    return _core.log_softmax(x, _class_dim(dim, x.ndim))


def gumbel_softmax(logits: Tensor, tau: Number = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A random one-hot choice by logits, relaxed: softmax((logits + Gumbel noise) / tau).

    `hard` gives the one-hot choice itself, with the relaxed one's gradient.
    Source: Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", arXiv:1611.01144.
    """
    uniform = _core.empty_like(logits.detach()).uniform_(0, 1)
    noise = -_core.log(-_core.log(_core.clamp(uniform, 1e-20, 1 - 6e-8)))
    soft = _core.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    chosen = _core.argmax(soft, dim, True)
    one_hot = _core.zeros_like(soft.detach()).scatter(dim, chosen, 1.0)
    return one_hot - soft.detach() + soft
