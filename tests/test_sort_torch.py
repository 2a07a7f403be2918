"""Orders have PyTorch's arguments, dtypes, shapes, values, gradients and error classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

RNG = np.random.default_rng(3)
X = RNG.standard_normal((4, 6, 5))
HOLED = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
WHOLE = RNG.integers(0, 5, (4, 6, 5))
MASK = RNG.random((4, 6)) < 0.5
EDGES = np.array([-1.0, 0.0, 0.5, 0.5, 2.0])

# what is called with a module and tensors; the inputs
CASES: dict[str, tuple[Any, list[Any]]] = {
    "sort": (lambda lib, x: lib.sort(x, dim=1, descending=True), [X]),
    "sort nan": (lambda lib, x: lib.sort(x, stable=True), [HOLED]),
    "sort bool": (lambda lib, x: x.sort(stable=True), [MASK]),
    "sort int": (lambda lib, x: x.sort(dim=-2, descending=True, stable=True), [WHOLE]),
    "argsort": (lambda lib, x: lib.argsort(x, dim=0, stable=True), [WHOLE]),
    "msort": (lambda lib, x: lib.msort(x), [X]),
    "topk": (lambda lib, x: x.topk(3, dim=1), [X]),
    "topk least": (lambda lib, x: lib.topk(x, k=2, largest=False), [X]),
    "topk nan": (lambda lib, x: lib.topk(x, 2)[0], [HOLED]),
    "kthvalue": (lambda lib, x: lib.kthvalue(x, 2, dim=1, keepdim=True), [X]),
    "median": (lambda lib, x: lib.median(x), [X]),
    "median dim": (lambda lib, x: x.median(1), [X]),
    "median nan": (lambda lib, x: x.median(1)[0], [HOLED]),
    "nanmedian": (lambda lib, x: lib.nanmedian(x, dim=1, keepdim=True), [HOLED]),
    "mode": (lambda lib, x: lib.mode(x, 1)[0], [WHOLE]),
    "cummax": (lambda lib, x: lib.cummax(x, 1), [WHOLE]),
    "cummin nan": (lambda lib, x: lib.cummin(x, dim=0), [HOLED]),
    "searchsorted": (lambda lib, e, x: lib.searchsorted(e, x, side="right"), [EDGES, X]),
    "searchsorted rows": (lambda lib, e, x: lib.searchsorted(e, x, out_int32=True), [np.sort(X), X[..., :2].copy()]),
    "bucketize": (lambda lib, e, x: lib.bucketize(x, e, right=True), [EDGES, X]),
    "unique": (lambda lib, x: lib.unique(x, return_inverse=True, return_counts=True), [WHOLE]),
    "unique dim": (lambda lib, x: x.unique(dim=1), [WHOLE]),
    "unique_consecutive": (lambda lib, x: x.unique_consecutive(return_inverse=True, return_counts=True), [WHOLE]),
    "scalar": (lambda lib, x: (x.sort(0), x.topk(1), x.kthvalue(1), x.median(0)), [np.array(2.0)]),
    "empty": (lambda lib, x: (x.sort(1), x.topk(0, 1), x.unique(), x.detach().median()), [np.zeros((0, 3))]),
}


def flat(value: Any) -> list[Any]:
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str) -> None:
    call, arrays = CASES[name]
    results: dict[Any, list[Any]] = {}
    for lib in (dd2424, torch):
        tensors = [lib.tensor(a) for a in arrays]
        for t in tensors:
            t.requires_grad_(t.is_floating_point())
        found = flat(call(lib, *tensors))
        results[lib] = [t.detach().numpy() for t in found]
        differentiable = [t for t in found if t.requires_grad and t.numel()]
        if differentiable:
            sum((t.nan_to_num() ** 2).sum() for t in differentiable).backward()
            results[lib] += [t.grad.numpy() for t in tensors if t.grad is not None]
    for ours, theirs in zip(results[dd2424], results[torch], strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)


REFUSALS: list[Any] = [
    lambda lib, x: x.topk(9),
    lambda lib, x: x.topk(-1),
    lambda lib, x: x.kthvalue(0),
    lambda lib, x: x.kthvalue(9),
    lambda lib, x: x.sort(3),
    lambda lib, x: x.median(-4),
    lambda lib, x: lib.zeros(3, 0).median(1),
    lambda lib, x: lib.zeros(3, 0).mode(1),
    lambda lib, x: lib.searchsorted(x, x[:2]),
    lambda lib, x: lib.searchsorted(x[0, 0], x, side="middle"),
    lambda lib, x: lib.searchsorted(x[0, 0], x, side="left", right=True),
]


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_refusals(number: int) -> None:
    errors = []
    for lib in (dd2424, torch):
        with pytest.raises(Exception) as caught:
            REFUSALS[number](lib, lib.tensor(X))
        errors.append(caught.type)
    assert issubclass(errors[0], errors[1])


EMBEDDINGS: dict[str, Any] = {
    "plain": lambda F, i, w, g: F.embedding(i, w),
    "padding": lambda F, i, w, g: F.embedding(i, w, padding_idx=-2, scale_grad_by_freq=True),
    "bags": lambda F, i, w, g: F.embedding_bag(i, w, mode="sum"),
    "mean": lambda F, i, w, g: F.embedding_bag(i, w, padding_idx=1),
    "max": lambda F, i, w, g: F.embedding_bag(i, w, mode="max"),
    "weighted": lambda F, i, w, g: F.embedding_bag(i, w, mode="sum", per_sample_weights=g, padding_idx=2),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings(name: str) -> None:
    indices, table, given = RNG.integers(0, 7, (3, 4)), RNG.standard_normal((7, 5)), RNG.standard_normal((3, 4))
    results: dict[Any, Any] = {}
    for lib in (dd2424, torch):
        weight, factor = (lib.tensor(a, requires_grad=True) for a in (table, given))
        y = EMBEDDINGS[name](lib.nn.functional, lib.tensor(indices), weight, factor)
        (y * y).sum().backward()
        grads = [t.grad.numpy() for t in (weight, factor) if t.grad is not None]
        results[lib] = [y.detach().numpy(), *grads]
    for ours, theirs in zip(results[dd2424], results[torch], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
