"""Derivatives of functions by their arguments, which nest: grad(grad(f))."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import enable_grad
from dd2424.autograd import functional
from dd2424.func.tree import flatten, map_tensors

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "vjp"]

Argnums = int | tuple[int, ...]


class _Depth(threading.local):
    value = 0


_depth = _Depth()


class _Recording:
    """A transform at work. What it finds is recorded where another is around it, or where an argument wants that."""

    def __init__(self, *arguments: Any) -> None:
        wanted = any(isinstance(x, Tensor) and x.requires_grad for x in flatten(arguments)[0])
        self.keeps = wanted or _depth.value > 0
        self._grad = enable_grad()

    def __enter__(self) -> _Recording:
        self._grad.__enter__()
        _depth.value += 1
        return self

    def __exit__(self, *error: Any) -> None:
        _depth.value -= 1
        self._grad.__exit__(*error)

    def own(self, tree: Any) -> Any:
        """The tensors again, as roots of this transform's own derivatives."""
        return map_tensors(lambda x: x.view_as(x) if x.requires_grad else x.detach().requires_grad_(), tree)

    def result(self, tree: Any) -> Any:
        return tree if self.keeps else map_tensors(lambda x: x.detach(), tree)

    def gradients(self, outputs: list[Tensor], tree: Any, grads: list[Tensor] | None, again: bool = False) -> Any:
        """Those of sum(outputs * grads) by the tensors of a tree, zero where nothing leads to one."""
        leaves, rebuild = flatten(tree)
        reached = [i for i, y in enumerate(outputs) if y.requires_grad]
        found: Any = [None] * len(leaves)
        if reached:
            weights = None if grads is None else [grads[i] for i in reached]
            kept = self.keeps or again
            found = _core.grad([outputs[i] for i in reached], leaves, weights, kept or again, self.keeps, True, False)
        pairs = zip(found, leaves, strict=True)
        return self.result(
            rebuild([_core.zeros(x.shape, dtype=x.dtype, device=x.device) if g is None else g for g, x in pairs])
        )


def _chosen(name: str, argnums: Argnums, args: tuple[Any, ...]) -> list[int]:
    wanted = [argnums] if isinstance(argnums, int) else list(argnums)
    if not wanted or any(not -len(args) <= number < len(args) for number in wanted):
        raise RuntimeError(
            f"{name}: argnums must name arguments among the {len(args)} given by position, got {argnums}"
        )
    for number in wanted:
        for leaf in flatten(args[number])[0]:
            if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
                got = leaf.dtype if isinstance(leaf, Tensor) else type(leaf).__name__
                raise RuntimeError(f"{name}: argument {number} must hold floating-point tensors, got {got}")
    return [number % len(args) for number in wanted]


def _with_aux(name: str, result: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(f"{name}: with has_aux, func must return (output, aux), got {type(result).__name__}")
    return result


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives (gradient, value), of `func`, whose result is one number.

    By the argument, or the tuple of arguments, at `argnums`: tensors, or tuples, lists and dictionaries of them, whose
    form the gradient has. With `has_aux`, func returns (number, anything) and the value is that pair. Tensors that func
    finds elsewhere than in its arguments are constants, but for a transform around this one.
    Raises: RuntimeError where the result is not one number, or an argument has no floating-point tensor.
    """

    @functools.wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen("grad", argnums, args)
        with _Recording(args, kwargs) as recording:
            own = recording.own([args[number] for number in chosen])
            given = list(args)
            for number, value in zip(chosen, own, strict=True):
                given[number] = value
            value, aux = _with_aux("grad", func(*given, **kwargs), has_aux)
            if not isinstance(value, Tensor) or value.numel() != 1:
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise RuntimeError(f"grad: func must return a tensor of one number, got {got}")
            found = recording.gradients([value], own, None)
            value, aux = recording.result(value), recording.result(aux)
        gradient = found[0] if isinstance(argnums, int) else tuple(found)
        return gradient, ((value, aux) if has_aux else value)

    return derived


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of `func`, whose result is one number: see `grad_and_value`.

    With `has_aux` it gives (gradient, aux).
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return derived


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """func(*primals), and the function that gives the gradients of sum(v * output) by the primals; then aux, if any.

    The function takes v in the form of the output and gives a tuple by primal, or what it has for the only one. It may
    be called again.
    """
    _chosen("vjp", tuple(range(len(primals))), primals)
    with _Recording(primals) as recording:
        own = recording.own(list(primals))
        output, aux = _with_aux("vjp", func(*own), has_aux)
    outputs, rebuild = flatten(output)

    def pull_back(v: Any) -> Any:
        vectors = flatten(v)[0]
        if [tuple(x.shape) for x in vectors] != [tuple(y.shape) for y in outputs]:
            raise RuntimeError(f"vjp: v must have the shapes of the output, {[tuple(y.shape) for y in outputs]}, got "
                               f"{[tuple(x.shape) for x in vectors]}")  # fmt: skip
        with recording:
            found = recording.gradients(outputs, own, vectors, again=True)
        return tuple(found) if len(found) > 1 else found[0]

    result = recording.result(rebuild(outputs))
    return (result, pull_back, recording.result(aux)) if has_aux else (result, pull_back)


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, has_aux: bool = False) -> tuple[Any, ...]:
    """func(*primals), and how it changes as the primals move along the tangents; then aux, if any.

    v^T J is linear in v, and its gradient along the tangents is J t: two walks backwards.
    Shapes: primals and tangents are tuples of the same form. Raises: RuntimeError where they are not.
    """
    points, vectors = flatten(primals)[0], flatten(tangents)[0]
    if not isinstance(primals, tuple) or [tuple(x.shape) for x in points] != [tuple(t.shape) for t in vectors]:
        raise RuntimeError("jvp: primals and tangents must be tuples of tensors of the same shapes, got "
                           f"{[tuple(x.shape) for x in points]} and {[tuple(t.shape) for t in vectors]}")  # fmt: skip
    _chosen("jvp", tuple(range(len(primals))), primals)
    with _Recording(primals, tangents) as recording:
        own = recording.own(primals)
        output, aux = _with_aux("jvp", func(*own), has_aux)
        outputs, rebuild = flatten(output)
        v = [_core.zeros(y.shape, dtype=y.dtype, device=y.device).requires_grad_() for y in outputs]
        inner = _Recording(v)
        with inner:
            rows = flatten(inner.gradients(outputs, own, v))[0]
        pairs = [(row, t) for row, t in zip(rows, vectors, strict=True) if row.requires_grad]
        change = recording.gradients([row for row, _ in pairs], v, [t for _, t in pairs])
    result = recording.result(output), rebuild(change)
    return (*result, recording.result(aux)) if has_aux else result


def jacrev(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives all derivatives of `func`, by a walk backwards for each element of its result.

    By tensors: the argument at `argnums`, or a tuple of them.
    Shapes: (*output, *input); tuples of them by output, and by input, where there are several.
    """

    @functools.wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen("jacrev", argnums, args)
        aux: list[Any] = []
        with _Recording(args, kwargs) as recording:

            def of_chosen(*own: Tensor) -> Any:
                given = list(args)
                for number, value in zip(chosen, own, strict=True):
                    given[number] = value
                output, extra = _with_aux("jacrev", func(*given, **kwargs), has_aux)
                aux[:] = [recording.result(extra)]
                return output

            inputs = args[chosen[0]] if isinstance(argnums, int) else tuple(args[number] for number in chosen)
            found = functional.jacobian(of_chosen, inputs, create_graph=recording.keeps)
        return (found, aux[0]) if has_aux else found

    return derived


jacfwd = jacrev  # the transpose of the reverse mode is as forward as we go


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives all second derivatives of `func`: the Jacobian of its Jacobian.

    Shapes: (*output, *input, *input).
    """
    return jacrev(jacrev(func, argnums), argnums)
