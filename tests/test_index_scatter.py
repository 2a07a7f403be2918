"""gather, scatter and their kin against loops, gradients, order and threads, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, same_for_any_threads
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from reference import index as reference

REDUCE = ["sum", "prod", "mean", "amax", "amin"]
SHAPES = [((4,), (7,)), ((4, 5), (3, 5)), ((4, 5), (2, 3)), ((2, 3, 4), (2, 3, 4)), ((3, 2), (0, 2)), ((3, 2), (3, 0))]


def data(rng: np.random.Generator, shape: Any, index_shape: Any, dim: int, dtype: Any = np.float64) -> Any:
    """x, index, src; index_shape is cut to what fits beside x."""
    dim %= len(shape)
    sizes = [n if d == dim else min(n, shape[d]) for d, n in enumerate(index_shape)]
    index = rng.integers(0, shape[dim], sizes)
    return (rng.standard_normal(shape) * 9).astype(dtype), index, (rng.standard_normal(sizes) * 9).astype(dtype)


@pytest.mark.parametrize(("shape", "index_shape"), SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool"])
def test_gather_and_scatter_match_loops(rng: np.random.Generator, shape: Any, index_shape: Any, dtype: str) -> None:
    for dim in range(-1, len(shape)):
        x, index, src = data(rng, shape, index_shape, dim)
        x, src = np.abs(x).astype(dtype), np.abs(src).astype(dtype)
        t, i, s = map(dd2424.tensor, (x, index, src))
        axis = dim % len(shape)
        np.testing.assert_array_equal(t.gather(dim, i).numpy(), reference.gather(x, axis, index), strict=True)
        expected = reference.scatter(x, axis, index, src)
        np.testing.assert_array_equal(t.scatter(dim, i, s).numpy(), expected, strict=True)
        np.testing.assert_array_equal(t.clone().scatter_(dim, i, s).numpy(), expected, strict=True)
        expected = reference.scatter(x, axis, index, np.ones_like(src))
        np.testing.assert_array_equal(t.scatter(dim, i, value=1).numpy(), expected, strict=True)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", REDUCE)
@pytest.mark.parametrize(("shape", "index_shape"), SHAPES, ids=str)
def test_scatter_reduce_matches_loops(
    rng: np.random.Generator, shape: Any, index_shape: Any, reduce: str, include_self: bool
) -> None:
    for dim in range(len(shape)):
        x, index, src = data(rng, shape, index_shape, dim)
        expected = reference.scatter_reduce(x, dim, index, src, reduce, include_self)
        t, i, s = map(dd2424.tensor, (x, index, src))
        y = t.scatter_reduce(dim, i, s, reduce, include_self=include_self)
        assert_accurate(y, expected, 8, 20.0)
        assert t.scatter_reduce_(dim, i, s, reduce, include_self=include_self) is t
        np.testing.assert_array_equal(t.numpy(), y.numpy())


@pytest.mark.parametrize("reduce", ["add", "multiply"])
def test_scatter_with_reduce(rng: np.random.Generator, reduce: str) -> None:
    x, index, src = data(rng, (4, 5), (3, 5), 0)
    name = {"add": "sum", "multiply": "prod"}[reduce]
    t, i = dd2424.tensor(x), dd2424.tensor(index)
    assert_accurate(t.scatter(0, i, dd2424.tensor(src), reduce=reduce),
                    reference.scatter_reduce(x, 0, index, src, name, True), 8, 20.0)  # fmt: skip
    assert_accurate(t.scatter(0, i, 2.0, reduce=reduce),
                    reference.scatter_reduce(x, 0, index, np.full(src.shape, 2.0), name, True), 8, 20.0)  # fmt: skip


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_index_select_add_copy_fill(rng: np.random.Generator, dim: int) -> None:
    x = rng.standard_normal((4, 5))
    index = rng.integers(0, 4, 6)
    source = rng.standard_normal((6, 5) if dim == 0 else (4, 6))
    t, i, s = map(dd2424.tensor, (x, index, source))
    np.testing.assert_array_equal(t.index_select(dim, i).numpy(), np.take(x, index, axis=dim))
    assert_accurate(t.index_add(dim, i, s, alpha=2.0), reference.index_add(x, dim, index, source, 2.0), 4, 20.0)
    assert_accurate(t.clone().index_add_(dim, i, s), reference.index_add(x, dim, index, source, 1.0), 4, 20.0)
    unique = np.array([3, 0])
    part = source[:2] if dim == 0 else source[:, :2]
    expected = x.copy()
    expected[(slice(None),) * (dim % 2) + (unique,)] = part
    np.testing.assert_array_equal(t.index_copy(dim, dd2424.tensor(unique), dd2424.tensor(part)).numpy(), expected)
    expected[(slice(None),) * (dim % 2) + (unique,)] = -1
    np.testing.assert_array_equal(t.index_fill(dim, dd2424.tensor(unique), -1).numpy(), expected)


MASKS: dict[str, Any] = {
    "masked_fill": (lambda x, m: x.masked_fill(m, 2.5), lambda x, m: np.where(m, 2.5, x)),
    "masked_select": (lambda x, m: x.masked_select(m), lambda x, m: x[np.broadcast_to(m, x.shape)]),
    "where": (lambda x, m: dd2424.where(m, x, -1.0), lambda x, m: np.where(m, x, -1.0)),
    "nonzero": (lambda x, m: m.nonzero(), lambda x, m: np.argwhere(m)),
    "argwhere": (lambda x, m: dd2424.argwhere(m), lambda x, m: np.argwhere(m)),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("shape", [(4, 5), (5,), (1, 5), (4, 1)], ids=str)
def test_masks(rng: np.random.Generator, name: str, shape: Any) -> None:
    ours, expected = MASKS[name]
    x, mask = rng.standard_normal((4, 5)), rng.random(shape) < 0.5
    np.testing.assert_array_equal(ours(dd2424.tensor(x), dd2424.tensor(mask)).numpy(), expected(x, mask))


DIFFERENTIABLE: dict[str, Any] = {
    "gather": lambda x, s, i: x.gather(0, i),
    "scatter": lambda x, s, i: x.scatter(0, dd2424.tensor([[3, 0, 1], [1, 2, 0]]), s),
    "scatter_add": lambda x, s, i: x.scatter_add(0, i, s),
    **{f"scatter_reduce {r}": lambda x, s, i, r=r: x.scatter_reduce(0, i, s, r) for r in REDUCE},
    **{f"{r} afresh": lambda x, s, i, r=r: x.scatter_reduce(0, i, s, r, include_self=False) for r in REDUCE},
    "index_reduce": lambda x, s, i: x.index_reduce(0, dd2424.tensor([1, 1]), s, "amax"),
    "index_select": lambda x, s, i: x.index_select(1, dd2424.tensor([2, 2, 0])),
    "index_add": lambda x, s, i: x.index_add(0, dd2424.tensor([1, 1]), s, alpha=3.0),
    "index_copy": lambda x, s, i: x.index_copy(0, dd2424.tensor([1, 3]), s),
    "index_fill": lambda x, s, i: x.index_fill(1, dd2424.tensor([1]), 2.0),
    "take": lambda x, s, i: x.take(dd2424.tensor([[0, 3], [3, -1]])),
    "put": lambda x, s, i: x.put(dd2424.tensor([1, 1]), s[0, :2], accumulate=True),
    "take_along_dim": lambda x, s, i: x.take_along_dim(dd2424.tensor([[1], [0], [2], [2]]), 1),
    "masked_select": lambda x, s, i: x.masked_select(dd2424.tensor([True, False, True])),
    "masked_scatter": lambda x, s, i: x.masked_scatter(dd2424.tensor([True, False, False]), s),
    "select_scatter": lambda x, s, i: x.select_scatter(s[0], 0, 2),
    "slice_scatter": lambda x, s, i: x.slice_scatter(s, 0, 0, 4, 2),
    "diagonal_scatter": lambda x, s, i: x.diagonal_scatter(s[1]),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients(rng: np.random.Generator, name: str) -> None:
    index = dd2424.tensor([[1, 0, 3], [1, 2, 0]])
    x, s = (dd2424.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((4, 3), (2, 3)))
    function = lambda x, s: DIFFERENTIABLE[name](x, s, index)
    assert gradcheck(function, (x, s))
    assert gradgradcheck(function, (x, s), atol=1e-4)


def test_products_of_zeros_have_the_gradient_of_the_others() -> None:
    x = dd2424.tensor([2.0, 0.0, 0.0], dtype=dd2424.float64, requires_grad=True)
    s = dd2424.tensor([0.0, 3.0, 5.0, 0.0], dtype=dd2424.float64, requires_grad=True)
    index = dd2424.tensor([0, 0, 1, 2])
    x.scatter_reduce(0, index, s, "prod").sum().backward()
    assert x.grad.tolist() == [0, 5, 0]
    assert s.grad.tolist() == [6, 0, 0, 0]


def test_equal_winners_share_the_gradient() -> None:
    x = dd2424.tensor([1.0, 5.0], requires_grad=True)
    s = dd2424.tensor([1.0, 1.0, 2.0], requires_grad=True)
    x.scatter_reduce(0, dd2424.tensor([0, 0, 1]), s, "amax").sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [1 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(s.grad.numpy(), [1 / 3, 1 / 3, 0], rtol=1e-6)


@pytest.mark.parametrize("name", ["gather", "scatter", "scatter_add", "index_add", "index_select"])
def test_same_bits_for_any_threads(isa: str, rng: np.random.Generator, name: str) -> None:
    x = dd2424.tensor(rng.standard_normal((300, 70), np.float32))
    index = dd2424.tensor(rng.integers(0, 300, (3000, 70)))
    source = dd2424.tensor(rng.standard_normal((3000, 70), np.float32))
    calls: dict[str, Any] = {
        "gather": lambda: x.gather(0, index), "scatter": lambda: x.scatter(0, index, source),
        "scatter_add": lambda: x.scatter_add(0, index, source),
        "index_add": lambda: x.index_add(0, index[:, 0].contiguous(), source),
        "index_select": lambda: x.index_select(0, index[:, 0].contiguous()),
    }  # fmt: skip
    same_for_any_threads(calls[name])


@pytest.mark.parametrize("width", [1, 5, 16, 200])
def test_index_add_of_many_rows(isa: str, rng: np.random.Generator, width: int) -> None:
    x, source = rng.standard_normal((500, width)), rng.standard_normal((9000, width))
    index = rng.integers(0, 500, 9000)
    t, i, s = map(dd2424.tensor, (x, index, source))
    found = same_for_any_threads(lambda: t.index_add(0, i, s))
    assert_accurate(found, reference.index_add(x, 0, index, source, 1.0), 64, 20.0)


@pytest.mark.parametrize("reduce", ["prod", "amax", "amin"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
def test_scatter_reduce_of_many(isa: str, rng: np.random.Generator, reduce: str, dtype: str) -> None:
    x, src = (rng.integers(0, 9, shape).astype(dtype) for shape in ((200, 70), (900, 70)))
    src[::7] = 1
    index = rng.integers(0, 200, (900, 70))
    t, i, s = map(dd2424.tensor, (x, index, src))
    for own in (True, False):
        found = same_for_any_threads(lambda: t.scatter_reduce(0, i, s, reduce, include_self=own))  # noqa: B023
        expected = x.copy()
        if not own:
            start = {"prod": 1, "amax": 0, "amin": 9}[reduce]
            expected[index, np.arange(70)] = start
        with np.errstate(over="ignore"):
            ufunc = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}[reduce]
            ufunc.at(expected, (index, np.arange(70)), src)
        np.testing.assert_array_equal(found.numpy(), expected)


ONES, FAR = dd2424.ones(2, 3), dd2424.tensor([[0, 5, 0]])
REFUSALS: dict[str, tuple[Any, type[Exception], str]] = {
    "gather range": (lambda: ONES.gather(0, FAR), RuntimeError, "gather: index must be from 0 to 1, got 5"),
    "gather negative": (lambda: ONES.gather(0, -FAR), RuntimeError, "gather: index must be from 0 to 1, got -5"),
    "gather dtype": (lambda: ONES.gather(0, ONES), RuntimeError, "gather: index must be int64 or int32, got"),
    "gather dims": (lambda: ONES.gather(0, FAR[0]), RuntimeError, "gather: index must have as many dimensions"),
    "gather size": (
        lambda: ONES.gather(0, dd2424.zeros(1, 4).long()),
        RuntimeError,
        "gather: index must not be larger",
    ),
    "scatter range": (lambda: ONES.scatter(0, FAR, ONES), RuntimeError, "scatter: index must be from 0 to 1, got 5"),
    "scatter dtype": (lambda: ONES.scatter(0, FAR * 0, ONES.double()), RuntimeError, "scatter: src must have dtype"),
    "scatter src": (lambda: ONES.scatter(0, FAR * 0, ONES[:, :2]), RuntimeError, "scatter: src must be at least as"),
    "scatter none": (lambda: ONES.scatter(0, FAR * 0), TypeError, "scatter: src or value must be given"),
    "scatter reduce": (lambda: ONES.scatter(0, FAR * 0, 1.0, reduce="max"), RuntimeError, "scatter: reduce must be"),
    "scatter_reduce": (lambda: ONES.scatter_reduce(0, FAR, ONES, "max"), RuntimeError, "scatter_reduce: reduce must"),
    "index_reduce": (lambda: ONES.index_reduce(0, FAR[0], ONES, "sum"), RuntimeError, "index_reduce: reduce must be"),
    "index_select": (lambda: ONES.index_select(0, FAR[0]), IndexError, "index_select: index must be from 0 to 1"),
    "index_add": (lambda: ONES.index_add(0, FAR[0] * 0, ONES), RuntimeError, "index_add: source must have shape"),
    "take": (lambda: ONES.take(dd2424.tensor([6])), IndexError, "index: index must be from -6 to 5, got 6"),
    "take_along_dim": (lambda: ONES.take_along_dim(FAR[0], 0), RuntimeError, "take_along_dim: indices must have 2"),
    "select_scatter": (lambda: ONES.select_scatter(ONES, 0, 0), RuntimeError, "select_scatter: src must have shape"),
    "unravel_index": (lambda: dd2424.unravel_index(FAR, (2, 2)), ValueError, "unravel_index: indices must be in"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    call, error, message = REFUSALS[name]
    with pytest.raises(error, match=message):
        call()


def test_in_place_forms_return_self() -> None:
    x = dd2424.zeros(3, 4)
    index = dd2424.zeros(1, 4, dtype=dd2424.int64)
    writes: list[Any] = [
        lambda t: t.scatter_(0, index, 1.0), lambda t: t.scatter_add_(0, index, dd2424.ones(1, 4)),
        lambda t: t.index_add_(0, index[0, :1], dd2424.ones(1, 4)), lambda t: t.index_fill_(0, index[0, :1], 3.0),
        lambda t: t.masked_fill_(t == 0, 1.0), lambda t: t.put_(index[0, :1], dd2424.ones(1)),
        lambda t: t.index_put_((index[0, :1],), dd2424.ones(4)), lambda t: t.masked_scatter_(t > 0, t * 2),
        lambda t: t.index_copy_(0, index[0, :1], dd2424.ones(1, 4)),
    ]  # fmt: skip
    for write in writes:
        assert write(x) is x
    assert isinstance(x, Tensor)


def test_index_add_in_place_takes_what_overlaps_it_as_it_was():
    x = dd2424.arange(6.0).reshape(3, 2)
    lower = x[1:]
    version = x._version
    assert lower.index_add_(0, dd2424.tensor([0, 1]), x[:2]) is lower
    assert x.tolist() == [[0.0, 1.0], [2.0, 4.0], [6.0, 8.0]]
    assert x._version > version
    places = dd2424.tensor([0, 0, 2])
    assert places.index_add_(0, places, dd2424.tensor([1, 1, 1])).tolist() == [2, 0, 3]


@pytest.mark.parametrize("shape", [(2, 5, 1, 32, 33), (5, 1024), (2, 64, 1025), (2, 65, 1024), (3, 4, 1023)])
def test_gradient_of_one_of_few_at_many_places(rng: np.random.Generator, shape: Any) -> None:
    dim = 1 if len(shape) > 2 else 0
    index = rng.integers(0, shape[dim], tuple(1 if d == dim else n for d, n in enumerate(shape)))
    dy = rng.standard_normal(index.shape).astype(np.float32)
    x = dd2424.zeros(shape, requires_grad=True)
    x.gather(dim, dd2424.tensor(index)).backward(dd2424.tensor(dy))
    expected = np.zeros(shape, np.float32)
    np.put_along_axis(expected, index, dy, dim)
    np.testing.assert_array_equal(x.grad.numpy(), expected, strict=True)


def test_second_gradient_of_one_of_few_at_many_places(rng: np.random.Generator) -> None:
    x = dd2424.tensor(rng.standard_normal((2, 1024)), requires_grad=True)
    index = dd2424.tensor(rng.integers(0, 2, (1, 1024)))
    (dx,) = dd2424.autograd.grad((x.gather(0, index) ** 3).sum(), x, create_graph=True)
    (second,) = dd2424.autograd.grad(dx.sum(), x)
    chosen = dd2424.zeros(2, 1024, dtype=dd2424.float64).scatter(0, index, value=1.0)
    np.testing.assert_array_equal(second.numpy(), (6 * x.detach() * chosen).numpy())
