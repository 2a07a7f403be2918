"""Views, joins and rearranged copies: against NumPy, their gradients, what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import same_for_any_threads
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from reference import shape as reference

DTYPES = ["float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def numbers(rng: np.random.Generator, *shape: int, dtype: str = "float64") -> Tensor:
    return dd2424.tensor(rng.integers(0, 100, shape)).to(getattr(dd2424, dtype))


def assert_equals(actual: Tensor, expected: Any) -> None:
    np.testing.assert_array_equal(actual.detach().numpy(), expected, strict=True)


# views share memory


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "view": lambda x: x.view(4, 3, 2),
    "permute": lambda x: x.permute(2, 0, 1),
    "transpose": lambda x: x.transpose(0, 2),
    "expand": lambda x: x.unsqueeze(0).expand(5, -1, -1, -1),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1),
    "select": lambda x: x.select(1, -1),
    "slice": lambda x: x[:, 1:, ::2],
    "narrow": lambda x: x.narrow(2, 1, 2),
    "diagonal": lambda x: x.diagonal(1, 0, 2),
    "as_strided": lambda x: x.as_strided((2, 3), (5, 2), 1),
    "as_strided over itself": lambda x: x.as_strided((4, 3), (2, 1), 1),
    "unfold": lambda x: x.unfold(2, 2, 1),
    "movedim": lambda x: x.movedim(0, -1),
    "unflatten": lambda x: x.unflatten(2, (2, 2)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_shares_memory_and_its_gradient_is_the_transpose(rng: np.random.Generator, name: str) -> None:
    x = numbers(rng, 2, 3, 4)
    y = VIEWS[name](x)
    assert y._base is x
    place = (0,) * y.ndim
    before = y[place].item()
    x += 1
    assert y[place].item() == before + 1
    assert y._version == x._version == 1
    leaf = dd2424.randn(2, 3, 4, dtype=dd2424.float64, requires_grad=True)
    assert gradcheck(VIEWS[name], leaf)
    assert gradgradcheck(VIEWS[name], leaf)


@pytest.mark.parametrize("name", VIEWS)
def test_views_of_views_speak_of_the_first_base(rng: np.random.Generator, name: str) -> None:
    x = numbers(rng, 2, 3, 4)
    assert VIEWS[name](x)[..., :1]._base is x


COPIES: dict[str, Callable[[Tensor], Tensor]] = {
    "reshape": lambda x: x.transpose(0, 1).reshape(6, 4),
    "cat": lambda x: dd2424.cat([x, x[:, :1], x * 2], 1),
    "stack": lambda x: dd2424.stack([x, x + 1], -1),
    "flip": lambda x: x.flip(0, 2),
    "roll": lambda x: x.roll((1, -1), (0, 2)),
    "rot90": lambda x: dd2424.rot90(x, 3, (0, 2)),
    "repeat": lambda x: x.repeat(2, 1, 3, 1),
    "tile": lambda x: x.tile(2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "repeat_interleave by counts": lambda x: x.repeat_interleave(dd2424.tensor([2, 0, 3]), 1),
    "tril": lambda x: x.tril(1),
    "triu": lambda x: x.triu(-1),
    "diag_embed": lambda x: x.diag_embed(-1, 0, 2),
    "clone": lambda x: x.mT.clone(),
    "block_diag": lambda x: dd2424.block_diag(x[0], x[1, :1]),
    "hstack": lambda x: dd2424.hstack([x, x]),
    "dstack": lambda x: dd2424.dstack([x, x]),
    "combinations": lambda x: dd2424.combinations(x[0, 0], 2),
    "cartesian_prod": lambda x: dd2424.cartesian_prod(x[0, 0], x[1, 0]),
    "meshgrid": lambda x: dd2424.meshgrid(x[0, 0], x[1, 0], indexing="xy")[0],
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_differentiable_twice(name: str) -> None:
    leaf = dd2424.randn(2, 3, 4, dtype=dd2424.float64, requires_grad=True)
    assert gradcheck(COPIES[name], leaf)
    assert gradgradcheck(COPIES[name], leaf)


@pytest.mark.parametrize("name", ["reshape", "cat", "stack", "flip", "roll", "repeat", "clone"])
def test_copies_are_the_same_for_any_threads(rng: np.random.Generator, name: str) -> None:
    x = numbers(rng, 2, 3, 40_000).expand(2, 3, 40_000)
    run = {**COPIES, "reshape": lambda x: x.transpose(0, 2).reshape(-1)}[name]
    same_for_any_threads(lambda: run(x))


# values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cat_matches_numpy(isa: str, rng: np.random.Generator, dtype: str, dim: int) -> None:
    parts = [numbers(rng, *[size if d == dim % 3 else 5 for d in range(3)], dtype=dtype) for size in (1, 33, 0, 6)]
    parts.insert(1, dd2424.tensor([], dtype=parts[0].dtype))
    parts.append(parts[1 - 1].transpose(0, 1).transpose(0, 1))
    assert_equals(dd2424.cat(parts, dim), reference.cat([part.numpy() for part in parts], dim))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dims", [(0,), (-1,), (0, 1), (2, 0), ()])
def test_flip_matches_numpy(isa: str, rng: np.random.Generator, dtype: str, dims: tuple[int, ...]) -> None:
    x = numbers(rng, 5, 37, 70, dtype=dtype)
    for layout in (x, x.permute(2, 0, 1), x[::2, 1:, 3:]):
        assert_equals(layout.flip(dims), reference.flip(layout.numpy(), dims))


@pytest.mark.parametrize("shift", [0, 1, -2, 5, 12])
def test_roll_matches_numpy(rng: np.random.Generator, shift: int) -> None:
    x = numbers(rng, 3, 5)
    for dim in (0, 1):
        assert_equals(x.roll(shift, dim), reference.roll(x.numpy(), shift, dim))
    assert_equals(x.roll(shift), reference.roll(x.numpy().reshape(-1), shift, 0).reshape(3, 5))


@pytest.mark.parametrize(("size", "step"), [(1, 1), (3, 1), (2, 3), (7, 2)])
def test_unfold_matches_numpy(rng: np.random.Generator, size: int, step: int) -> None:
    x = numbers(rng, 7, 2, 7)
    for dim in (0, 2):
        assert_equals(x.unfold(dim, size, step), reference.unfold(x.numpy(), dim, size, step))


def test_block_diag_matches_numpy(rng: np.random.Generator) -> None:
    blocks = [numbers(rng, *shape) for shape in ((2, 3), (1, 1), (0, 2), (3, 1))]
    assert_equals(dd2424.block_diag(*blocks), reference.block_diag([block.numpy() for block in blocks]))


@pytest.mark.parametrize("shape", [(67, 129), (5, 64, 33), (2, 3, 4, 5), (1, 257), (257, 1), (0, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int16", "bool"])
def test_any_order_of_dimensions_is_made_dense(
    isa: str, rng: np.random.Generator, shape: tuple[int, ...], dtype: str
) -> None:
    x = numbers(rng, *shape, dtype=dtype)
    for _ in range(3):
        order = rng.permutation(len(shape)).tolist()
        y = x.permute(order)
        assert_equals(y.contiguous(), y.numpy())
        assert y.contiguous().is_contiguous()
        assert_equals(y.clone(), y.numpy())
        assert_equals(y.reshape(-1), y.numpy().reshape(-1))


# refusals

REFUSALS: dict[str, tuple[Callable[[Tensor], Any], type[Exception], str]] = {
    "view": (lambda x: x.mT.view(-1), RuntimeError, r"view: shape must fit the memory.*use reshape\(\)"),
    "view size": (lambda x: x.view(5), RuntimeError, r"view: shape must hold 6 elements, got \(5,\)"),
    "two unknown": (lambda x: x.reshape(-1, -1), RuntimeError, "reshape: shape must have at most one -1"),
    "negative": (lambda x: x.reshape(-2, 3), RuntimeError, "reshape: shape must have no negative size"),
    "text": (lambda x: x.reshape("a"), TypeError, "reshape: sizes must be integers"),
    "keyword": (lambda x: x.reshape(sizes=(6,)), TypeError, "reshape: got an unexpected keyword argument 'sizes'"),
    "permute": (lambda x: x.permute(0), RuntimeError, "permute: dims must name each of the 2 dimensions once"),
    "permute twice": (lambda x: x.permute(0, 0), RuntimeError, "permute: dims must name each dimension once"),
    "transpose": (lambda x: x.transpose(0, 2), IndexError, "transpose: dim must be from -2 to 1, got 2"),
    "expand": (lambda x: x.expand(3, 3), RuntimeError, r"expand: shape must fit the input of shape \(2, 3\)"),
    "expand fewer": (lambda x: x.expand(3), RuntimeError, "expand: shape must have at least 2 dimensions"),
    "select": (lambda x: x.select(0, 2), IndexError, "select: index must be from -2 to 1"),
    "narrow": (lambda x: x.narrow(1, 2, 2), RuntimeError, "narrow: start and length must lie within dimension 1"),
    "as_strided": (lambda x: x.as_strided((9,), (1,)), RuntimeError, "as_strided: size, stride and offset must stay"),
    "as_strided back": (lambda x: x.as_strided((2,), (-1,), 1), RuntimeError, "must not be negative"),
    "unfold": (lambda x: x.unfold(0, 3, 1), RuntimeError, "unfold: size must be at most 2"),
    "split": (lambda x: x.split([1, 2]), RuntimeError, "split: sizes must add up to 2"),
    "cat": (lambda x: dd2424.cat([x, x.mT]), RuntimeError, r"cat: tensors must have the same shape but in dimension 0"),
    "cat none": (lambda x: dd2424.cat([]), ValueError, "cat: tensors must not be an empty list"),
    "cat scalar": (lambda x: dd2424.cat([x[0, 0]]), RuntimeError, "cat: tensors must have at least one dimension"),
    "stack": (lambda x: dd2424.stack([x, x.mT]), RuntimeError, "stack: tensors must have equal shapes"),
    "flip": (lambda x: x.flip(0, 0), RuntimeError, "flip: dims must name each dimension once"),
    "unflatten": (lambda x: x.unflatten(1, (2, 2)), RuntimeError, "unflatten: sizes must multiply to 3"),
    "movedim": (lambda x: x.movedim((0, 1), 0), RuntimeError, "movedim: destination must have 2 dimensions"),
    "too many": (lambda x: x.reshape((1,) * 65 + (6,)), RuntimeError, "tensor: at most"),
    "huge": (lambda x: dd2424.empty(2**40, 2**40), RuntimeError, "empty: shape is too large"),
    "view dtype": (lambda x: x.mT.view(dd2424.int32), RuntimeError, "view: a dtype of another size needs"),
    "memory_format": (lambda x: x.clone(memory_format="x"), TypeError, "clone: memory_format must be"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(rng: np.random.Generator, name: str) -> None:
    call, error, message = REFUSALS[name]
    with pytest.raises(error, match=message):
        call(numbers(rng, 2, 3))
