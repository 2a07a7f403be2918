"""einsum: contracted from left to right, two operands at a time, each pair as one batched matrix product."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dd2424 import _core
from dd2424._core import Tensor

__all__ = ["einsum"]
_SPARE = "αβγδεζηθικλμνξοπρστυφχψω"  # labels of the dimensions that "..." stands for, the last one first


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sum of products named by Einstein's rule: a label for each dimension, equal labels run together, labels missing
    after "->" are summed. Without "->", labels that occur once are kept, in alphabetical order.

    Raises: RuntimeError for an equation that does not fit the operands.
    """
    tensors = list(operands[0]) if len(operands) == 1 and not isinstance(operands[0], Tensor) else list(operands)
    inputs, output = _parse(equation.replace(" ", ""), tensors)
    pairs = [_diagonals(labels, x) for labels, x in zip(inputs, tensors, strict=True)]
    labels, result = _without(*pairs[0], output + "".join(other for other, _ in pairs[1:]))
    for place, (other, x) in enumerate(pairs[1:], 2):
        wanted = output + "".join(later for later, _ in pairs[place:])
        labels, result = _product(labels, result, *_without(other, x, wanted + labels), wanted)
    return result.permute([labels.index(label) for label in output])


def _parse(equation: str, tensors: list[Tensor]) -> tuple[list[str], str]:
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise RuntimeError(f'einsum: equation must name {len(tensors)} operands, got "{equation}"')
    widest = 0
    inputs = []
    for term, x in zip(terms, tensors, strict=True):
        spare = x.ndim - len(term.replace("...", ""))
        if spare < 0 or (spare and "..." not in term):
            raise RuntimeError(
                f'einsum: operand must have a dimension for each label of "{term}", got {tuple(x.shape)}'
            )
        widest = max(widest, spare)
        inputs.append(term.replace("...", _SPARE[:spare][::-1]))
    dots = _SPARE[:widest][::-1]
    if arrow:
        output = right.replace("...", dots)
    else:
        counts = Counter("".join(terms).replace(".", ""))
        output = dots + "".join(sorted(label for label, count in counts.items() if count == 1))
    if len(set(output)) < len(output) or not set(output) <= set("".join(inputs)):
        raise RuntimeError(f'einsum: output must name labels of the inputs once each, got "{right}"')
    return inputs, output


def _diagonals(labels: str, x: Tensor) -> tuple[str, Tensor]:
    """A label that occurs twice in one operand runs along its diagonal."""
    for label in set(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = _core.diagonal(x, 0, first, second)
            labels = labels[:first] + labels[first + 1 : second] + labels[second + 1 :] + label
    return labels, x


def _without(labels: str, x: Tensor, wanted: str) -> tuple[str, Tensor]:
    """Sum over the labels that nobody else wants."""
    summed = [d for d, label in enumerate(labels) if label not in wanted]
    if not summed:
        return labels, x
    return "".join(label for label in labels if label in wanted), _core.sum(x, summed)


def _product(a_labels: str, a: Tensor, b_labels: str, b: Tensor, wanted: str) -> tuple[str, Tensor]:
    sizes: dict[str, int] = {}
    for labels, x in ((a_labels, a), (b_labels, b)):
        for label, size in zip(labels, x.shape, strict=True):
            if sizes.get(label, 1) != 1 and size not in (1, sizes[label]):
                raise RuntimeError(f'einsum: "{label}" must have one size, got {sizes[label]} and {size}')
            sizes[label] = max(sizes.get(label, 1), size) if size else 0
    shared = [label for label in a_labels if label in b_labels]
    batch = [label for label in shared if label in wanted]
    summed = [label for label in shared if label not in wanted]
    rows = [label for label in a_labels if label not in shared]
    columns = [label for label in b_labels if label not in shared]
    left = _arranged(a_labels, a, sizes, batch, rows, summed)
    right = _arranged(b_labels, b, sizes, batch, summed, columns)
    kept = batch + rows + columns
    return "".join(kept), _core.bmm(left, right).reshape([sizes[label] for label in kept])


def _arranged(labels: str, x: Tensor, sizes: dict[str, int], *groups: list[str]) -> Tensor:
    """x with each group of labels as one dimension; a dimension of size 1 is repeated to its label's size."""
    order = [label for group in groups for label in group]
    full = x.permute([labels.index(label) for label in order]).expand([sizes[label] for label in order])
    shape = []
    for group in groups:
        count = 1
        for label in group:
            count *= sizes[label]
        shape.append(count)
    return full.reshape(shape)
