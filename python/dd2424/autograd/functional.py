"""Jacobians and Hessians of functions of tensors, whole or times a vector.

`inputs` and what `func` returns are a tensor or a tuple of tensors, and results have the same form. With `create_graph`
results can be differentiated again. A derivative of what does not depend on an input is zero, or an error with
`strict`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor
from dd2424._grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = tuple[Tensor, ...]


class _Function:
    """func on tensors of its own, so that no gradient of the caller's is touched."""

    def __init__(self, name: str, func: Callable[..., Any], inputs: Any, create_graph: bool, strict: bool) -> None:
        self.name, self.create_graph, self.strict = name, create_graph, strict
        self.inputs, self.many_inputs = self._tuple("inputs", inputs)
        self.inputs = tuple(
            x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in self.inputs
        )
        self.outputs, self.many_outputs = self._tuple("the result of func", func(*self.inputs))
        for i, y in enumerate(self.outputs):
            self.check_used(y.requires_grad, f"output {i}")

    def _tuple(self, what: str, given: Any) -> tuple[Tensors, bool]:
        many = isinstance(given, tuple | list)
        members: Tensors = tuple(given) if many else (given,)
        for member in members:
            if not isinstance(member, Tensor):
                raise TypeError(
                    f"{self.name}: {what} must be a tensor or a tuple of tensors, got {type(member).__name__}"
                )
        return members, many

    def check_used(self, is_used: bool, what: str) -> None:
        if self.strict and not is_used:
            raise RuntimeError(f"{self.name}: {what} must depend on the inputs, got one that does not")

    def check_scalar(self) -> None:
        if len(self.outputs) != 1 or self.outputs[0].numel() != 1:
            shapes = [tuple(y.shape) for y in self.outputs]
            raise RuntimeError(f"{self.name}: func must return one tensor of one element, got shapes {shapes}")

    def vector(self, v: Any, like: Tensors, what: str) -> Tensors:
        """v beside these tensors; 1 by default where there is one number."""
        if v is None:
            if len(like) != 1 or like[0].numel() != 1:
                raise RuntimeError(f"{self.name}: v must be given where {what} is not one number, got None")
            return (_core.ones(like[0].shape, dtype=like[0].dtype, device=like[0].device),)
        vectors, _ = self._tuple("v", v)
        expected, shapes = ([tuple(t.shape) for t in tensors] for tensors in (like, vectors))
        if expected != shapes:
            raise RuntimeError(f"{self.name}: v must have the shapes of {what}, {expected}, got {shapes}")
        return vectors if self.create_graph else tuple(t.detach() for t in vectors)

    def gradients(
        self, outputs: Sequence[Tensor], inputs: Tensors, grads: Sequence[Tensor] | None = None, keep: bool = False
    ) -> Tensors:
        """Those of sum(outputs * grads), zero where nothing leads to an input; `keep`: they will be differentiated."""
        reached = [i for i, y in enumerate(outputs) if y.requires_grad]
        found: Sequence[Tensor | None] = (None,) * len(inputs)
        if reached:
            create = keep or self.create_graph
            weights = None if grads is None else [grads[i] for i in reached]
            found = _core.grad([outputs[i] for i in reached], inputs, weights, True, create, True, False)
        for i, gradient in enumerate(found):
            self.check_used(gradient is not None, f"the derivative by input {i}")
        return tuple(
            _core.zeros(x.shape, dtype=x.dtype, device=x.device) if g is None else g
            for g, x in zip(found, inputs, strict=True)
        )

    def result(self, tensors: Tensors, many: bool) -> Any:
        kept = tensors if self.create_graph else tuple(t.detach() for t in tensors)
        return kept if many else kept[0]


@enable_grad()
def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """func(*inputs), and v^T J: the gradient of sum(v * func(*inputs)).

    Shapes: v as the outputs, 1 by default for one number; v^T J as the inputs.
    """
    f = _Function("vjp", func, inputs, create_graph, strict)
    product = f.gradients(f.outputs, f.inputs, f.vector(v, f.outputs, "the output"))
    return f.result(f.outputs, f.many_outputs), f.result(product, f.many_inputs)


@enable_grad()
def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """func(*inputs), and J v: how the outputs change as the inputs move along v.

    u^T J is linear in u, and its gradient along v is J v: two walks backwards.
    Shapes: v as the inputs, 1 by default for one number; J v as the outputs.
    """
    f = _Function("jvp", func, inputs, create_graph, strict)
    vectors = f.vector(v, f.inputs, "the input")
    u = tuple(_core.zeros(y.shape, dtype=y.dtype, device=y.device).requires_grad_() for y in f.outputs)
    rows = f.gradients(f.outputs, f.inputs, u, keep=True)
    product = f.gradients(rows, u, vectors)
    return f.result(f.outputs, f.many_outputs), f.result(product, f.many_outputs)


@enable_grad()
def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """func(*inputs), one number, and v^T H with its matrix H of second derivatives.

    Shapes: v and v^T H as the inputs; v is 1 by default for one number.
    """
    return _hessian_product("vhp", func, inputs, v, create_graph, strict)


@enable_grad()
def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """func(*inputs), one number, and H v, which is v^T H: second derivatives commute.

    Shapes: v and H v as the inputs; v is 1 by default for one number.
    """
    return _hessian_product("hvp", func, inputs, v, create_graph, strict)


def _hessian_product(
    name: str, func: Callable[..., Any], inputs: Any, v: Any, create_graph: bool, strict: bool
) -> tuple[Any, Any]:
    f = _Function(name, func, inputs, create_graph, strict)
    f.check_scalar()
    vectors = f.vector(v, f.inputs, "the input")
    product = f.gradients(f.gradients(f.outputs, f.inputs, keep=True), f.inputs, vectors)
    return f.result(f.outputs, f.many_outputs), f.result(product, f.many_inputs)


def _check_strategy(name: str, strategy: str) -> None:
    if strategy != "reverse-mode":
        raise NotImplementedError(f'{name}: the strategy must be "reverse-mode", got {strategy!r}')


@enable_grad()
def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """All derivatives of the outputs by the inputs, a walk backwards for each element of the outputs.

    Shapes: (*output, *input); a tuple of them by input where inputs are a tuple, of these by output where outputs are.
    `vectorize` changes nothing. Raises: NotImplementedError for another strategy.
    """
    _check_strategy("jacobian", strategy)
    f = _Function("jacobian", func, inputs, create_graph, strict)
    blocks = tuple(_rows(f, y) for y in f.outputs)
    formed = tuple(f.result(block, f.many_inputs) for block in blocks)
    return formed if f.many_outputs else formed[0]


def _rows(f: _Function, y: Tensor) -> Tensors:
    """The derivatives of every element of one output, by input."""
    rows = [f.gradients([element], f.inputs) for element in y.reshape((-1,)).unbind()]
    if not rows:
        return tuple(_core.zeros((*y.shape, *x.shape), dtype=x.dtype, device=x.device) for x in f.inputs)
    return tuple(
        _core.stack([row[i] for row in rows]).reshape((*y.shape, *x.shape)) for i, x in enumerate(f.inputs)
    )  # fmt: skip


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """All second derivatives of a function whose result is one number: the Jacobian of its gradient.

    Shapes: (*input, *input); a tuple of tuples of (*input i, *input j) where inputs are a tuple.
    `vectorize` changes nothing. Raises: RuntimeError where the result has more elements; NotImplementedError for
    another strategy.
    """
    _check_strategy("hessian", outer_jacobian_strategy)

    def gradient(*own: Tensor) -> Any:
        f = _Function("hessian", func, own if many else own[0], True, strict)
        f.check_scalar()
        return f.result(f.gradients(f.outputs, f.inputs), many)

    many = isinstance(inputs, tuple | list)
    return jacobian(gradient, inputs, create_graph, strict)
