"""Matrix products: every shape, layout, dtype and ISA level against float64; refusals; gradients."""

from __future__ import annotations

import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate, bits, same_for_any_threads
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from reference import gemm as reference

# (m, n, k): tails of every tile, vectors and rows, skinny ones, dots, several blocks of k and of columns, split k
SIZES = [
    (1, 1, 1), (1, 1, 7), (2, 3, 5), (7, 1, 33), (1, 33, 9), (13, 31, 17), (16, 64, 16), (33, 65, 31), (12, 32, 100),
    (100, 10, 257), (65, 130, 67), (128, 129, 513), (5, 3, 4097), (3, 200, 5), (200, 3, 5), (1, 4097, 3),
    (24, 40, 4200), (1, 150, 33), (150, 1, 40), (1, 10000, 5), (300, 1, 4200),
]  # fmt: skip
LARGE = [(257, 270, 600), (150, 290, 601), (130, 300, 2100), (40, 4100, 33), (300, 64, 1100)]
DTYPES = ["float32", "float64", "bfloat16"]
LAYOUTS = ["rows", "columns", "strided rows", "strided columns", "both strided", "backwards in memory"]


def array(rng: np.random.Generator, *shape: int, dtype: str = "float32") -> Any:
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return rng.standard_normal(shape).astype(kind)


def laid_out(x: Any, layout: str) -> Tensor:
    """A tensor of the same elements, otherwise in memory."""
    rows, columns = x.shape[-2:]
    if layout == "rows":
        return dd2424.tensor(x)
    if layout == "columns":
        return dd2424.tensor(np.ascontiguousarray(np.swapaxes(x, -1, -2))).mT
    steps = {"strided rows": (3, 1), "both strided": (2, 3), "strided columns": (1, 2)}.get(layout, (1, 1))
    space = np.full((*x.shape[:-2], rows * steps[0], columns * steps[1]), np.nan, x.dtype)
    space[..., :: steps[0], :: steps[1]] = x
    t = dd2424.tensor(space)[..., :: steps[0], :: steps[1]]
    if layout == "strided columns":
        space = np.full((*x.shape[:-2], columns, rows + 3), np.nan, x.dtype)
        space[..., :rows] = np.swapaxes(x, -1, -2)
        t = dd2424.tensor(space)[..., :rows].mT
    return t


def roundings(dtype: str, k: int) -> float:
    """Of the sum of absolute products: a blocked sum of k terms, and the rounding of the result."""
    return 2 + k**0.5 / 4 if dtype != "bfloat16" else 1


class Product:
    """The exact product of two arrays, and what its rounding errors are measured by."""

    def __init__(self, a: Any, b: Any, dtype: str) -> None:
        self.exact, self.roundings = reference.product(a, b), roundings(dtype, a.shape[-1])
        # bfloat16 is summed in float32 and rounded once
        self.scale = reference.scale(a, b) * (2.0**-12 if dtype == "bfloat16" else 1)

    def check(self, c: Tensor) -> None:
        assert_accurate(c, self.exact, self.roundings, self.scale)


def assert_product(c: Tensor, a: Any, b: Any, dtype: str) -> None:
    Product(a, b, dtype).check(c)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size(isa: str, rng: np.random.Generator, size: tuple[int, int, int], dtype: str) -> None:
    m, n, k = size
    a, b = array(rng, m, k, dtype=dtype), array(rng, k, n, dtype=dtype)
    product = Product(a, b, dtype)
    for left, right in itertools.product(("rows", "columns"), repeat=2):
        product.check(laid_out(a, left) @ laid_out(b, right))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", LARGE, ids=str)
def test_large_sizes(isa: str, rng: np.random.Generator, size: tuple[int, int, int], dtype: str) -> None:
    m, n, k = size
    a, b = array(rng, m, k, dtype=dtype), array(rng, k, n, dtype=dtype)
    assert_product(laid_out(a, "columns") @ laid_out(b, "rows"), a, b, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("k", "offset"), [(34, 0), (34, 1), (35, 1), (2052, 3)])
def test_rows_are_read_in_place(isa: str, rng: np.random.Generator, k: int, offset: int, dtype: str) -> None:
    """Rows cut out of NaN, at addresses and distances that are multiples of the element's size alone."""
    a, b = array(rng, 101, k, dtype=dtype), array(rng, k, 270, dtype=dtype)
    around_a, around_b = dd2424.full((102, k + 5), math.nan), dd2424.full((k + 1, 275), math.nan)
    left, right = (x.to(getattr(dd2424, dtype)) for x in (around_a, around_b))
    left[:101, offset : offset + k], right[:k, offset : offset + 270] = laid_out(a, "rows"), laid_out(b, "rows")
    assert_product(left[:101, offset : offset + k] @ right[:k, offset : offset + 270], a, b, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("left", LAYOUTS[:5])
@pytest.mark.parametrize("right", LAYOUTS[:5])
def test_every_layout(isa: str, rng: np.random.Generator, left: str, right: str, dtype: str) -> None:
    for m, n, k in ((33, 70, 29), (5, 4, 130), (150, 3, 20)):
        a, b = array(rng, m, k, dtype=dtype), array(rng, k, n, dtype=dtype)
        assert_product(laid_out(a, left) @ laid_out(b, right), a, b, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_strides_of_one_format_give_the_same_bits(isa: str, rng: np.random.Generator, dtype: str) -> None:
    """Only the format - rows or columns - chooses an order of summation, never how far apart they lie."""
    for m, n, k in ((33, 70, 129), (100, 10, 300), (8, 8, 5000)):
        a, b = array(rng, m, k, dtype=dtype), array(rng, k, n, dtype=dtype)
        expected = bits(laid_out(a, "rows") @ laid_out(b, "rows"))
        assert bits(laid_out(a, "strided rows") @ laid_out(b, "rows")) == expected
        assert bits(laid_out(a, "rows") @ laid_out(b, "strided rows")) == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [
    (100, 50, 1024), (257, 129, 100), (130, 300, 1100), (24, 24, 16384), (1, 500, 500), (3, 5, 50_000),
])  # fmt: skip
def test_same_bits_for_any_threads(isa: str, rng: np.random.Generator, size: tuple[int, int, int], dtype: str) -> None:
    m, n, k = size
    a, b = (dd2424.tensor(array(rng, *shape, dtype=dtype)) for shape in ((m, k), (k, n)))
    same_for_any_threads(lambda: (a @ b, a.mT.contiguous().mT @ b))


BATCHES = [((4,), (4,)), ((1,), (3,)), ((2, 1), (3,)), ((2, 3), ()), ((), (5,)), ((0,), (1,)), ((2, 0), (2, 1))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batches", BATCHES, ids=str)
def test_batches_broadcast(rng: np.random.Generator, batches: Any, dtype: str) -> None:
    for m, n, k in ((7, 9, 11), (1, 3, 2)):
        a, b = array(rng, *batches[0], m, k, dtype=dtype), array(rng, *batches[1], k, n, dtype=dtype)
        for left, right in (("rows", "rows"), ("columns", "both strided")):
            assert_product(laid_out(a, left) @ laid_out(b, right), a, b, dtype)


def test_batches_in_any_order_and_expanded(rng: np.random.Generator) -> None:
    a, b = array(rng, 5, 3, 4, 6), array(rng, 6, 8)
    x = dd2424.tensor(a).permute(1, 0, 2, 3)
    assert_product(x @ dd2424.tensor(b).expand(3, 1, 6, 8), a.transpose(1, 0, 2, 3), b, "float32")
    many, one = dd2424.tensor(array(rng, 64, 40, 40)), dd2424.tensor(array(rng, 40, 40)).mT
    same_for_any_threads(lambda: many @ one.expand(64, 40, 40))


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)),
                                    ((0,), (0,)), ((2, 0), (0, 3)), ((0, 3), (3, 2)), ((2, 0), (0,))],
                         ids=str)  # fmt: skip
def test_vectors_and_nothing(rng: np.random.Generator, shapes: Any) -> None:
    a, b = (array(rng, *shape, dtype="float64") for shape in shapes)
    c = dd2424.tensor(a) @ dd2424.tensor(b)
    np.testing.assert_allclose(c.numpy(), a @ b, rtol=1e-14)
    assert c.shape == (a @ b).shape


def test_nan_and_infinity_pass_through(isa: str) -> None:
    a, b = dd2424.ones(20, 40), dd2424.ones(40, 70)
    a[3, 7], b[11, 5] = float("nan"), float("inf")
    c = (a @ b).numpy()
    assert np.isnan(c[3]).all()
    assert np.isposinf(np.delete(c[:, 5], 3)).all()
    assert (np.delete(np.delete(c, 3, 0), 5, 1) == 40).all()


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8"])
def test_integers(rng: np.random.Generator, dtype: str) -> None:
    a, b = rng.integers(0, 9, (2, 5, 7)), rng.integers(0, 9, (7, 3))
    c = dd2424.tensor(a).to(getattr(dd2424, dtype)) @ dd2424.tensor(b).to(getattr(dd2424, dtype))
    assert c.dtype is getattr(dd2424, dtype)
    np.testing.assert_array_equal(c.numpy(), (a @ b).astype(dtype))


# linear, and its epilogues


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", reference.EPILOGUES)
@pytest.mark.parametrize("shape", [(3, 5, 7), (33, 65, 20), (100, 10, 3072), (17, 3, 0), (1, 70, 9)], ids=str)
def test_linear(isa: str, rng: np.random.Generator, shape: Any, activation: str, dtype: str) -> None:
    m, n, k = shape
    x, weight, bias = array(rng, m, k, dtype=dtype), array(rng, n, k, dtype=dtype), array(rng, n, dtype=dtype)
    factor = 1 / max(k, 1) ** 0.5
    weight = (weight * np.asarray(factor, weight.dtype)).astype(weight.dtype)
    scale = reference.scale(x, weight.T) + np.abs(bias.astype(np.float64)) + 1
    for given in (bias, None):
        y = dd2424.functional.linear(*[None if a is None else dd2424.tensor(a) for a in (x, weight, given)], activation)
        assert_accurate(y, reference.linear(x, weight, given, activation), roundings("float32", k) + 1, scale)


@pytest.mark.parametrize("activation", reference.EPILOGUES)
def test_linear_gradients(activation: str) -> None:
    x, weight, bias = (dd2424.randn(*s, dtype=dd2424.float64, requires_grad=True) for s in ((2, 3, 5), (4, 5), (4,)))
    function = lambda x, w, b: dd2424.functional.linear(x, w, b, activation)
    assert gradcheck(function, (x, weight, bias))
    assert gradgradcheck(function, (x, weight, bias))


@pytest.mark.parametrize("shapes", [((3, 4), (4, 2)), ((4,), (4,)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3)),
                                    ((2, 1, 3, 4), (3, 4, 2)), ((3, 0), (0, 2))], ids=str)  # fmt: skip
def test_matmul_gradients(shapes: Any) -> None:
    a, b = (dd2424.randn(*shape, dtype=dd2424.float64, requires_grad=True) for shape in shapes)
    assert gradcheck(dd2424.matmul, (a, b))
    assert gradgradcheck(dd2424.matmul, (a, b))


def test_only_the_wanted_gradient_is_computed() -> None:
    x, weight = dd2424.randn(5, 4), dd2424.randn(3, 4, requires_grad=True)
    y = dd2424.functional.linear(x, weight).sum()
    before = dd2424.kernel_count()
    y.backward()
    assert dd2424.kernel_count() - before <= 2  # dy made of ones, dweight


REFUSALS = {
    "inner": (lambda x: x @ x, RuntimeError, r"matmul: inner sizes must agree, got \(2, 3\) and \(2, 3\)"),
    "dtypes": (lambda x: x @ x.mT.double(), RuntimeError, "matmul: operands must have the same dtype"),
    "scalar": (lambda x: x @ x[0, 0], RuntimeError, "matmul: operands must have at least one dimension"),
    "batches": (lambda x: x.expand(2, 2, 3) @ x.mT.expand(3, 3, 2), RuntimeError, "matmul: shapes must broadcast"),
    "vectors": (lambda x: x[0] @ x[:, 0], RuntimeError, "matmul: inner sizes must agree"),
    "mm": (lambda x: dd2424.mm(x, x[0]), RuntimeError, "mm: mat2 must have 2 dimensions, got shape"),
    "bmm": (lambda x: dd2424.bmm(x, x), RuntimeError, "bmm: input must have 3 dimensions"),
    "bmm batch": (
        lambda x: dd2424.bmm(x[None], x.mT.expand(2, 3, 2)),
        RuntimeError,
        "bmm: mat2 must have the batch size 1 of input, got 2",
    ),
    "mv": (lambda x: dd2424.mv(x, x), RuntimeError, "mv: vec must have 1 dimension"),
    "dot": (lambda x: dd2424.dot(x, x), RuntimeError, "dot: input must have 1 dimension"),
    "number": (lambda x: x @ 2, TypeError, "unsupported operand"),
    "linear": (lambda x: dd2424.functional.linear(x, x.mT), RuntimeError, "linear: input must end in 2 features"),
    "weight": (lambda x: dd2424.functional.linear(x, x[0]), RuntimeError, "linear: weight must be"),
    "bias": (lambda x: dd2424.functional.linear(x, x, x[0]), RuntimeError, r"linear: bias must be \(2,\)"),
    "activation": (
        lambda x: dd2424.functional.linear(x, x, None, "elu"),
        ValueError,
        "linear: activation must be none",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    call, error, message = REFUSALS[name]
    with pytest.raises(error, match=message):
        call(dd2424.ones(2, 3))
