"""Are gradients right? Compared with central differences, element by element, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import enable_grad, no_grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient is wrong; the message says of which output with respect to which element of which input."""


def _outputs(result: Any) -> list[Tensor]:
    every = [result] if isinstance(result, Tensor) else list(result)
    return [y for y in every if isinstance(y, Tensor) and y.is_floating_point()]


def _upstream(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Uneven gradients to start from: with equal ones, errors that add up to nothing would pass."""
    made = []
    for number, y in enumerate(outputs):
        phase = np.arange(y.numel(), dtype=np.float64).reshape(tuple(y.shape))
        made.append(_core.from_numpy(np.asarray(1.0 + 0.5 * np.sin(1.7 * phase + number + 1.0))).to(y))
    return made


def _numerical(func: Callable[..., Any], inputs: tuple[Any, ...], x: Tensor, upstream: list[Tensor], eps: float) -> Any:
    """The gradient of sum(upstream * output) with respect to x, by output, by central differences."""

    def weighted() -> Any:
        with no_grad():
            outputs = _outputs(func(*inputs))
        return [(y.detach() * u).cpu().array.sum(dtype=np.float64) for y, u in zip(outputs, upstream, strict=True)]

    values = x.detach().cpu().array  # shares x's memory, but for a GPU's

    def put(place: tuple[int, ...], value: float) -> None:
        values[place] = value
        if x.is_cuda:
            x.data.copy_(_core.from_numpy(values))

    gradients = np.zeros((len(upstream), *values.shape))
    for place in np.ndindex(values.shape):
        before = values[place]
        step = eps * max(1.0, abs(float(before)))
        put(place, before + step)
        above, up = weighted(), float(values[place])
        put(place, before - step)
        below, down = weighted(), float(values[place])
        put(place, before)
        for number, (high, low) in enumerate(zip(above, below, strict=True)):
            at = (number, *place)
            gradients[at] = (high - low) / (up - down)
    return gradients


def _analytical(y: Tensor, x: Tensor, upstream: Tensor) -> Any:
    (gradient,) = _core.grad([y], [x], [upstream], retain_graph=True, allow_unused=True)
    if gradient is None:
        return np.zeros(tuple(x.shape))
    if gradient.shape != x.shape or gradient.dtype != x.dtype:
        raise GradcheckError(f"gradcheck: gradient must have input's shape {tuple(x.shape)} and dtype {x.dtype}, got "
                             f"{tuple(gradient.shape)} and {gradient.dtype}")  # fmt: skip
    return gradient.detach().cpu().array.astype(np.float64)


def _compare(label: str, analytical: Any, numerical: Any, atol: float, rtol: float) -> None:
    """Near zero the difference quotient itself is only as good as the largest gradient's rounding, hence `scale`."""
    scale = np.abs(numerical).max(initial=0.0)
    allowed = atol + rtol * np.abs(numerical) + 1e-9 * scale
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(analytical - numerical) <= allowed)
    if not wrong.any():
        return
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    raise GradcheckError(f"gradcheck: {label}, element {place}: backward gives {analytical[place]:.9g}, differences "
                         f"give {numerical[place]:.9g} ({int(wrong.sum())} of {wrong.size} differ)")  # fmt: skip


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
) -> bool:
    """Whether backward agrees with (f(x + h) - f(x - h)) / 2h for every element of every float64 input that requires
    a gradient, and gives the same bits when run twice.

    eps: h for |x| <= 1, growing with |x| beyond. Tolerances: |difference| <= atol + rtol * |numerical gradient|.
    Raises: GradcheckError naming output, input and element (False instead, without `raise_exception`); ValueError
    where no input requires a gradient or one is not float64 or overlaps itself.
    """
    arguments: tuple[Any, ...] = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [(i, x) for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: inputs must contain a tensor that requires a gradient, got none")
    for i, x in checked:
        if x.dtype != _core.float64:
            raise ValueError(f"gradcheck: input {i} must be float64, got {x.dtype}")
        if x.numel() and any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True)):
            raise ValueError(f"gradcheck: input {i} must not overlap itself, got strides {tuple(x.stride())}")
    try:
        _check(func, arguments, checked, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(
    func: Callable[..., Any],
    arguments: tuple[Any, ...],
    checked: list[tuple[int, Tensor]],
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
) -> None:
    with enable_grad():
        outputs = _outputs(func(*arguments))
    if not outputs:
        raise ValueError("gradcheck: func must return a floating-point tensor, got none")
    upstream = _upstream(outputs)
    for i, x in checked:
        numerical = _numerical(func, arguments, x, upstream, eps)
        for number, (y, u) in enumerate(zip(outputs, upstream, strict=True)):
            label = f"output {number}, input {i}"
            analytical = _analytical(y, x, u) if y.requires_grad else np.zeros(tuple(x.shape))
            _compare(label, analytical, numerical[number], atol, rtol)
            if y.requires_grad:
                again = _analytical(y, x, u)
                if not (np.abs(again - analytical) <= nondet_tol).all() and not math.isnan(float(again.sum())):
                    raise GradcheckError(f"gradcheck: {label}: backward is not deterministic")


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
) -> bool:
    """`gradcheck` of the gradient itself, with respect to the inputs and to the gradients it starts from."""
    arguments: tuple[Any, ...] = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    wanted = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    with enable_grad():
        outputs = [y for y in _outputs(func(*arguments)) if y.requires_grad]
    if grad_outputs is None:
        starts = [u.requires_grad_() for u in _upstream(outputs)]
    else:
        starts = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)

    def gradient(*values: Any) -> tuple[Tensor, ...]:
        given, upstream = values[: len(arguments)], values[len(arguments) :]
        with enable_grad():
            # Without a graph of their own the differences below would see constants.
            fresh = [x.detach().requires_grad_() if i in wanted and not x.requires_grad else x
                     for i, x in enumerate(given)]  # fmt: skip
            made = [y for y in _outputs(func(*fresh)) if y.requires_grad]
            return _core.grad(made, [fresh[i] for i in wanted], list(upstream), create_graph=True,
                              allow_unused=True, materialize_grads=True)  # fmt: skip

    return gradcheck(gradient, (*arguments, *starts), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
                     nondet_tol=nondet_tol)  # fmt: skip
