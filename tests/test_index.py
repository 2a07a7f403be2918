"""Indexing and assignment: every mixture of keys against NumPy, gradients, refusals."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import same_for_any_threads
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from reference import index as reference

SHAPE = (3, 4, 2, 5)
MASK = np.array([[True, False, True, True], [False] * 4, [True, True, False, False]])
# One dimension each; the last ones take two and none.
KEYS: dict[str, Any] = {
    "integer": 1,
    "negative": -1,
    "NumPy integer": np.int64(0),
    "slice": slice(1, None),
    "step": slice(None, None, 2),
    "all": slice(None),
    "empty slice": slice(2, 1),
    "array": np.array([1, 0, -1]),
    "one": np.array([1]),
    "matrix": np.array([[0, 1, 1], [1, 0, 0]]),
    "scalar array": np.array(1),
    "none of them": np.array([], np.int64),
    "list": [0, 1, 0],
    "mask": "mask",
    "None": None,
    "Ellipsis": Ellipsis,
}


def tensor_key(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(tensor_key(part) for part in key)
    return dd2424.tensor(key) if isinstance(key, np.ndarray) else key


def masked(parts: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """With masks of the size of what they index, three elements of them true (or as many as there are)."""
    key, dim = [], 0
    for part in parts:
        if isinstance(part, str):
            size = shape[dim]
            part = np.arange(size) < min(3, size)
        key.append(part)
        dim += part is not None and part is not Ellipsis
    return tuple(key)


def expected_result(array: np.ndarray, key: Any) -> Any:
    try:
        view, rest = reference.resolve(array, key)
        return view[rest]
    except IndexError as error:
        return error


@pytest.mark.parametrize("first", KEYS)
@pytest.mark.parametrize("second", KEYS)
def test_mixtures_of_three_keys_match_numpy(rng: np.random.Generator, first: str, second: str) -> None:
    array = rng.standard_normal(SHAPE)
    for third in ("integer", "slice", "array", "matrix", "scalar array", "list", "mask", "None", "Ellipsis"):
        names = (first, second, third)
        if names.count("Ellipsis") > 1 or ("Ellipsis" in names and "mask" in names[names.index("Ellipsis") :]):
            continue
        key = masked(tuple(KEYS[name] for name in names), SHAPE)
        check_key(array, key)


def check_key(array: np.ndarray, key: Any) -> None:
    expected = expected_result(array, key)
    x = dd2424.tensor(array)
    for ours in (key, tensor_key(key)) if any(isinstance(part, np.ndarray) for part in key) else (key,):
        if isinstance(expected, IndexError):
            with pytest.raises(IndexError):
                x[ours]
            continue
        assert np.array_equal(x[ours].numpy(), expected)
        check_assignment(array, key, ours, np.shape(expected))


def check_assignment(array: np.ndarray, key: Any, ours: Any, shape: tuple[int, ...]) -> None:
    x, expected = dd2424.tensor(array), array.copy()
    view, rest = reference.resolve(expected, key)
    values = [7.5] if repeats(key) else [7.5, np.arange(float(np.prod(shape))).reshape(shape)]
    for value in values:
        x[ours] = dd2424.tensor(value)
        view[rest] = value
        assert np.array_equal(x.numpy(), expected)


def repeats(key: Any) -> bool:
    """Where one element is written twice the last one stays here; NumPy leaves it open."""
    return any(isinstance(part, list) or (isinstance(part, np.ndarray) and part.size > 1) for part in key)


@pytest.mark.parametrize("dims", [1, 2, 3, 4])
def test_masks_over_several_dimensions(rng: np.random.Generator, dims: int) -> None:
    array = rng.standard_normal(SHAPE)
    for at in range(4 - dims + 1):
        mask = rng.random(SHAPE[at : at + dims]) < 0.4
        for before, after in itertools.product([slice(None), 0, np.array([0])], [(), (None,), (Ellipsis,)]):
            check_key(array, (*[before] * at, mask, *after))
    check_key(array, (np.zeros(SHAPE[:dims], bool),))
    check_key(array, (np.ones(SHAPE[:dims], bool),))


def test_masks_without_dimensions_keep_all_or_nothing(rng: np.random.Generator) -> None:
    array = rng.standard_normal((2, 3))
    for mask in (True, False, np.array(True), np.array(False)):
        np.testing.assert_array_equal(dd2424.tensor(array)[tensor_key(mask)].numpy(), array[mask])
        x = dd2424.tensor(array)
        x[tensor_key(mask)] = 1.0
        np.testing.assert_array_equal(x.numpy(), np.where(mask, 1.0, array))


@pytest.mark.parametrize("keep", [True, False])
def test_index_put_by_a_mask_without_dimensions(rng: np.random.Generator, keep: bool) -> None:
    mask, array = dd2424.tensor(keep), rng.standard_normal((2, 3))
    for indices, place in (((mask,), np.s_[:]), ((dd2424.tensor([1]), mask), np.s_[1]),
                           ((mask, dd2424.tensor([True, False])), np.s_[0])):  # fmt: skip
        x, expected = dd2424.tensor(array), array.copy()
        if keep:
            expected[place] = 5
        assert x.index_put_(indices, dd2424.tensor(5.0, dtype=dd2424.float64)) is x
        np.testing.assert_array_equal(x.numpy(), expected)
    value = dd2424.ones((), requires_grad=True)
    x = dd2424.zeros(3).index_put_((mask,), value)
    x.sum().backward()
    assert x.tolist() == [float(keep)] * 3
    assert value.grad.item() == 3 * keep


@pytest.mark.parametrize(
    "dtype", ["float32", "bfloat16", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
@pytest.mark.parametrize("layout", ["dense", "reversed", "strided"])
def test_every_dtype_and_layout(isa: str, rng: np.random.Generator, dtype: str, layout: str) -> None:
    x = dd2424.tensor(rng.integers(0, 2 if dtype == "bool" else 100, (6, 7, 33))).to(getattr(dd2424, dtype))
    x = {"dense": x, "reversed": x.permute(2, 1, 0), "strided": x[::2, :, 1:]}[layout]
    array, rows = x.numpy().copy(), np.array([[0, 2], [1, 0]])
    for key in ((rows,), (slice(None), rows, slice(None)), (rows, rows), (Ellipsis, rows), (rows, slice(1, 3), rows)):
        np.testing.assert_array_equal(x[tensor_key(key)].numpy(), array[key], strict=True)
        written, expected = x.clone(), array.copy()
        written[tensor_key(key)] = 1
        expected[key] = 1
        np.testing.assert_array_equal(written.numpy(), expected, strict=True)


@pytest.mark.parametrize("kind", ["int64", "int32", "int16", "int8", "uint8 mask", "bool mask"])
def test_dtypes_of_an_index(rng: np.random.Generator, kind: str) -> None:
    array, mask = rng.standard_normal((4, 3)), np.array([True, False, True, True])
    if kind.endswith("mask"):
        key = dd2424.tensor(mask).to(getattr(dd2424, kind.split()[0]))
        np.testing.assert_array_equal(dd2424.tensor(array)[key].numpy(), array[mask])
    else:
        key = dd2424.tensor([3, 0, -1]).to(getattr(dd2424, kind))
        np.testing.assert_array_equal(dd2424.tensor(array)[key].numpy(), array[[3, 0, -1]])


@pytest.mark.parametrize("dtype", [dd2424.bool, dd2424.uint8], ids=str)
@pytest.mark.parametrize("on", [0, 1, 2])
@pytest.mark.parametrize("shape", [(2, 3), ()], ids=str)
def test_a_mask_without_dimensions_keeps_all_or_nothing(dtype: dd2424.dtype, on: int, shape: tuple[int, ...]) -> None:
    array, mask, switch = np.arange(6.0)[: math.prod(shape)].reshape(shape), dd2424.tensor(on, dtype=dtype), on > 0
    for before, after in [
        ((), ()),
        ((None,), ()),
        ((...,), ()),
        ((), (...,)),
        ((0,), ()),
        ((), (1,)),
        ((slice(1),), ()),
    ]:
        if not shape and (before + after) not in ((), (None,), (...,)):
            continue
        np.testing.assert_array_equal(
            dd2424.tensor(array)[(*before, mask, *after)].numpy(), array[(*before, np.array(switch), *after)]
        )
    x, expected = dd2424.tensor(array), array.copy()
    x[mask] = 9.0
    expected[np.array(switch)] = 9.0
    np.testing.assert_array_equal(x.numpy(), expected)


def test_integers_slices_and_none_make_views() -> None:
    x = dd2424.zeros(3, 4)
    for key in (0, slice(1, 3), None, Ellipsis, (), (0, slice(None, None, 2)), dd2424.tensor(1), np.int64(2)):
        assert x[key]._base is x, key
    for key in ([0, 1], dd2424.tensor([0]), x == 0, True):
        assert x[key]._base is None, key


def test_assignment_through_a_chain_of_views() -> None:
    x = dd2424.zeros(4, 6)
    x[1:][:, ::2][1] = dd2424.tensor([1.0, 2.0, 3.0])
    assert x[2].tolist() == [1, 0, 2, 0, 3, 0]
    x[:, 0][[0, 3]] = 9
    assert x[:, 0].tolist() == [9, 0, 1, 9]


def test_assignment_converts_and_broadcasts() -> None:
    x = dd2424.zeros(2, 3, dtype=dd2424.int32)
    x[:, 1:] = dd2424.tensor([[1.9], [-1.9]])
    assert x.tolist() == [[0, 1, 1], [0, -1, -1]]
    x[0] = dd2424.ones(1, 1, 3)
    assert x[0].tolist() == [1, 1, 1]
    x[dd2424.tensor([True, False])] = dd2424.tensor(5.0)
    assert x.tolist() == [[5, 5, 5], [0, -1, -1]]


def test_the_last_of_equal_indices_stays() -> None:
    x = dd2424.zeros(3)
    x[dd2424.tensor([1, 1, 1])] = dd2424.tensor([1.0, 2.0, 3.0])
    assert x.tolist() == [0, 3, 0]


def test_a_source_that_shares_memory_is_read_first() -> None:
    x = dd2424.arange(6.0)
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3, 4]
    x[dd2424.tensor([5, 4, 3])] = x[3:]
    assert x.tolist() == [0, 0, 1, 4, 3, 2]


def test_an_index_that_shares_memory_is_read_first() -> None:
    x = dd2424.tensor([1, 2, 0])
    x[x] = 10**15
    assert x.tolist() == [10**15] * 3
    y = dd2424.tensor([1, 0, 2, 3])
    y[y[:3]] = dd2424.tensor([7, 8, 9])
    assert y.tolist() == [8, 7, 9, 3]
    z = dd2424.tensor([1, 0, 2])
    z.index_put_((z,), dd2424.tensor([10, 20, 30]), accumulate=True)
    assert z.tolist() == [21, 10, 32]
    square = dd2424.tensor([[1, 0], [0, 1]])
    square[square[0], square[1]] = dd2424.tensor([5, 6])
    assert square.tolist() == [[1, 6], [5, 1]]


GRADIENTS = {
    "array": (np.array([0, 2, 0]),),
    "two arrays": (np.array([0, 2, 0]), np.array([1, 1, 1])),
    "array after slice": (slice(None), np.array([[0, 1], [1, 0]])),
    "apart": (np.array([0, 1]), slice(None), np.array([1, 0])),
    "mask": (np.array([True, False, True]),),
    "mask and integer": (0, np.array([True, True, False, False])),
    "none": (np.array([], np.int64),),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_indexing_and_assignment(name: str) -> None:
    key = tensor_key(GRADIENTS[name])
    x = dd2424.randn(3, 4, 2, dtype=dd2424.float64, requires_grad=True)
    value = dd2424.randn(x[key].shape, dtype=dd2424.float64, requires_grad=True)

    def assigned(x: Tensor, value: Tensor) -> Tensor:
        y = x * 1
        y[key] = value
        return y

    def accumulated(x: Tensor, value: Tensor) -> Tensor:
        places = [None if isinstance(part, slice) else part for part in key]
        return (x * 1).index_put_(places, value, accumulate=True)

    assert gradcheck(lambda x: x[key], x)
    assert gradgradcheck(lambda x: x[key], x)
    if name not in ("array", "two arrays", "array after slice"):  # which write some elements twice
        assert gradcheck(assigned, (x, value))
        assert gradgradcheck(assigned, (x, value))
    if name != "mask and integer":
        assert gradcheck(accumulated, (x, value))
        assert gradgradcheck(accumulated, (x, value))


WRITES_TO_AN_INDEX = {
    "in place": lambda index: index.fill_(10**12),
    "through data": lambda index: index.data.fill_(10**12),
    "through NumPy": lambda index: index.numpy().fill(10**12),
}


@pytest.mark.parametrize("name", WRITES_TO_AN_INDEX)
def test_an_index_may_be_written_before_backward(name: str) -> None:
    index = dd2424.tensor([0, 1])
    x, values, dy = (dd2424.ones(n, requires_grad=True) for n in (4, 2, 2))
    y = (x * 2)[index]
    z = x * 3
    z[index] = values
    (dx,) = dd2424.autograd.grad(y, [x], [dy], create_graph=True)
    WRITES_TO_AN_INDEX[name](index)
    (ddy,) = dd2424.autograd.grad(dx, [dy], [dd2424.arange(1.0, 5)])
    assert ddy.tolist() == [2, 4]
    (y.sum() + (z * dd2424.arange(1.0, 5)).sum()).backward()
    assert x.grad.tolist() == [2, 2, 9, 12]
    assert values.grad.tolist() == [1, 2]


def test_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    x = dd2424.tensor(rng.standard_normal((500, 300), np.float32))
    rows = dd2424.tensor(rng.integers(0, 500, 100_000))
    columns = dd2424.tensor(rng.integers(0, 300, 100_000))
    values = dd2424.tensor(rng.standard_normal(100_000, np.float32))
    same_for_any_threads(lambda: x[rows, columns])
    same_for_any_threads(lambda: x.clone().index_put_((rows, columns), values, accumulate=True))
    same_for_any_threads(lambda: x.clone().index_put_((rows, columns), values))


REFUSALS = {
    "too many": ((0, 0, 0), r"index: too many indices.* for a tensor of shape \(3, 4\)"),
    "out of range": (3, r"select: index must be from -3 to 2 in dimension 0 of shape \(3, 4\), got 3"),
    "array out of range": (np.array([0, 3]), "index: index must be from -3 to 2, got 3"),
    "array too negative": (np.array([0, -4]), "index: index must be from -3 to 2, got -4"),
    "mask of another shape": (np.array([True, False]), r"index: a mask must have the shape of what it indexes"),
    "two ellipses": ((Ellipsis, Ellipsis), "index: only one Ellipsis is possible"),
    "do not broadcast": ((np.array([0, 1, 2]), np.array([0, 1])), "index: index tensors must broadcast together"),
    "floating": (np.array([0.5]), "index: index must have an integer dtype, got dd2424.float64"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    key, message = REFUSALS[name]
    x = dd2424.zeros(3, 4)
    with pytest.raises(IndexError, match=message):
        x[tensor_key(key)]
    with pytest.raises(IndexError, match=message):
        x[tensor_key(key)] = 1.0
    assert x.sum().item() == 0


def test_other_refusals() -> None:
    x = dd2424.zeros(3, 4)
    with pytest.raises(ValueError, match=r"slice: step must be positive, got -1"):
        x[::-1]
    with pytest.raises(TypeError, match=r"del: elements of a tensor can't be deleted"):
        del x[0]
    with pytest.raises(RuntimeError, match=r"index_put_: values must broadcast to"):
        x[[0, 1]] = dd2424.zeros(3)
    with pytest.raises(RuntimeError, match=r"the tensor written in place must have one place in memory per element"):
        x[0].expand(5, 4)[[0]] = 1.0
    for key in (1.5, "a", object()):
        with pytest.raises((TypeError, IndexError)):
            x[key]
