"""Indexing and embedding on a GPU, real or emulated, against the processor's kernels."""

from __future__ import annotations

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424.autograd import gradcheck, gradgradcheck
from dd2424.nn import functional as F
from on_gpu import FLOATS, INTEGERS, as_float, assert_alike, both, needs_gpu

pytestmark = needs_gpu
EVERY = [*FLOATS, *INTEGERS, "bool"]


def numbers(rng, shape, dtype):
    return both(rng.integers(0, 2 if dtype == "bool" else 50, shape), dtype)


@pytest.mark.parametrize("dtype", EVERY)
def test_index_select_and_gather(rng, dtype):
    for shape, dim in [((7,), 0), ((6, 5), 0), ((6, 5), 1), ((3, 4, 8), 1), ((4, 2, 3), 2), ((5, 16), 0)]:
        here, gpu = numbers(rng, shape, dtype)
        index = both(rng.integers(0, shape[dim], 9), "int32")
        assert_alike(dd2424.index_select(gpu, dim, index[1]), dd2424.index_select(here, dim, index[0]))
        wide = both(rng.integers(0, shape[dim], shape), "int64")
        assert_alike(dd2424.gather(gpu, dim, wide[1]), dd2424.gather(here, dim, wide[0]))
        assert_alike(dd2424.take_along_dim(gpu, wide[1], dim), dd2424.take_along_dim(here, wide[0], dim))


def test_rows_on_any_border_of_memory(rng):
    here, gpu = both(rng.normal(size=(9, 8)))
    index = both([3, 0, 7, 7], "int64")
    for start in range(4):  # 4, 8, 12 and 16 bytes from where 16 are loaded at once
        views = [x.reshape((-1,))[start : start + 64].reshape((8, 8)) for x in (here, gpu)]
        assert_alike(dd2424.index_select(views[1], 0, index[1]), dd2424.index_select(views[0], 0, index[0]))
        assert_alike(views[1][index[1]], views[0][index[0]])
        assert_alike(views[1][views[1][:, 0] > 0], views[0][views[0][:, 0] > 0])


@pytest.mark.parametrize("dtype", EVERY)
def test_advanced_indexing(rng, dtype):
    here, gpu = numbers(rng, (6, 5, 4), dtype)
    rows, columns, mask = [2, 0, -1], [[1], [4]], np.arange(30).reshape(6, 5) % 3 == 0
    for k in (lambda t: t(rows), lambda t: (t(rows), t(columns)), lambda t: (slice(None), t(columns), t(rows)),
              lambda t: (t(rows), slice(1, 4), t(rows)), lambda t: (..., t(rows)), lambda t: (t(rows), None, 2),
              lambda t: (t(mask, "bool"),), lambda t: (slice(1, 5), t(mask[0], "bool")),
              lambda t: t(np.ones((6, 5, 4)), "bool"), lambda t: (t([5, 0]), t(mask[0], "bool"))):  # fmt: skip
        results = [x[k(lambda v, dtype="int64", i=i: both(v, dtype)[i])] for i, x in enumerate((here, gpu))]
        assert_alike(results[1], results[0])
    assert_alike(gpu[[0, 3]], here[[0, 3]])
    assert_alike(gpu[np.array([1, 2]), dd2424.tensor([0, 4])], here[np.array([1, 2]), dd2424.tensor([0, 4])])
    assert_alike(gpu.transpose(0, 2)[both(rows, "int64")[1]], here.transpose(0, 2)[both(rows, "int64")[0]])


@pytest.mark.parametrize("dtype", EVERY)
def test_written_places(rng, dtype):
    """The last of equal places stays, as on the processor."""
    a, x = numbers(rng, (6, 5, 4), dtype)
    v, w = numbers(rng, (5, 5, 4), dtype)
    index = both([3, 1, 3, 0, 3], "int64")
    for t, values, i in ((a, v, index[0]), (x, w, index[1])):
        t[i] = values
        t[:, 2, i % 4] = values[0, 0, 0]
        t[t[:, :, 0] > 20] = 1
        t.transpose(0, 1)[i % 5] = values[:, :1, :].expand((5, 6, 4))
        t.index_put_([i, i % 5], values[:, 0])
    assert_alike(x, a)
    places = both(rng.integers(0, 3, (6, 5, 4)), "int64")
    assert_alike(dd2424.scatter(x, 0, places[1], x), dd2424.scatter(a, 0, places[0], a))
    assert_alike(dd2424.scatter(x, 2, places[1], 1), dd2424.scatter(a, 2, places[0], 1))


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_sums_of_places(rng, dtype):
    """The same bits as the processor, which adds in the same order; bfloat16 is rounded once, not at each step."""
    x, y = both(rng.normal(size=(6, 5)) * 9, dtype), both(rng.normal(size=(40, 5)) * 9, dtype)
    index, many = both(rng.integers(0, 6, 40), "int64"), both(rng.integers(0, 6, (40, 5)), "int64")
    for function in (lambda a, b, i, m: dd2424.index_add(a, 0, i, b), lambda a, b, i, m: a.index_add(0, i, b, alpha=3),
                     lambda a, b, i, m: dd2424.index_add(a.t(), 1, i, b.t()),
                     lambda a, b, i, m: dd2424.scatter_add(a, 0, m, b),
                     lambda a, b, i, m: a.clone().index_put_([i], b, accumulate=True),
                     lambda a, b, i, m: a.clone().index_put_([i % 6, i % 5], b[:, 0], accumulate=True)):  # fmt: skip
        results = [function(*each) for each in zip(x, y, index, many, strict=True)]
        if dtype == "bfloat16":
            assert_accurate(as_float(results[1]), as_float(results[0]).numpy(), 2**16 * 16, scale=100)
        else:
            assert_alike(results[1], results[0])


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce(rng, reduce):
    for dtype in ("float64", "float32", "int64", "int8"):
        x, y = both(rng.integers(1, 4, (4, 5)), dtype), both(rng.integers(1, 4, (9, 5)), dtype)
        index = both(rng.integers(0, 4, (9, 5)), "int64")
        for whole in (True, False):
            results = [dd2424.scatter_reduce(a, 0, i, b, reduce, include_self=whole)
                       for a, b, i in zip(x, y, index, strict=True)]  # fmt: skip
            assert_alike(results[1], results[0])


def test_a_long_stretch_is_summed_in_runs(rng):
    """More items at one place than one thread adds, among them more than a block sorts; the same bits again."""
    n = 2600
    x, index = rng.normal(size=(n, 3)), np.where(np.arange(n) % 3, 7, rng.integers(0, 40, n))
    start, gpu, places = (both(each, kind)[1] for each, kind in ((np.zeros((40, 3)), "float32"), (x, "float32"),
                                                               (index, "int64")))  # fmt: skip
    exact, scale = np.zeros((40, 3)), np.zeros((40, 3))
    np.add.at(exact, index, x.astype(np.float32).astype(np.float64))
    np.add.at(scale, index, np.abs(x))
    total = dd2424.index_add(start, 0, places, gpu)
    assert_accurate(total.cpu(), exact, 8, scale)
    assert dd2424.index_add(start, 0, places, gpu).tolist() == total.tolist()
    last = start.clone()
    last[places] = gpu
    expected = both(np.zeros((40, 3)))[0]
    expected[both(index, "int64")[0]] = both(x)[0]
    assert_alike(last, expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "options",
    [{}, {"padding_idx": 2}, {"scale_grad_by_freq": True}, {"padding_idx": -1, "scale_grad_by_freq": True},
     {"max_norm": 1.0}],
    ids=str,
)  # fmt: skip
def test_embedding(rng, dtype, options):
    tables = [t.requires_grad_() for t in both(rng.normal(size=(6, 8)), dtype)]
    index = both([[2, 0, 2], [5, 5, 1]], "int64")
    results = [F.embedding(i, t, **options) for i, t in zip(index, tables, strict=True)]
    assert_alike(results[1], results[0], 4)
    dy = both(rng.normal(size=(2, 3, 8)), dtype)
    for y, g in zip(results, dy, strict=True):
        y.backward(g)
    assert_alike(tables[1].grad, tables[0].grad, 4, scale=2)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(rng, mode):
    tables = [t.requires_grad_() for t in both(rng.normal(size=(6, 4)))]
    index, offsets = both([2, 0, 2, 5, 5, 1, 3], "int64"), both([0, 3, 3, 5], "int64")
    results = [F.embedding_bag(i, t, o, mode=mode, padding_idx=5)
               for i, t, o in zip(index, tables, offsets, strict=True)]  # fmt: skip
    assert_alike(results[1], results[0], 4)
    for y in results:
        y.sum().backward()
    assert_alike(tables[1].grad, tables[0].grad, 4, scale=1)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3000,), (9, 1000), (3, 4, 5), (20000,)], ids=str)
def test_masks(rng, shape):
    here, gpu = both(rng.integers(0, 3, shape) == 0, "bool")
    assert_alike(dd2424.nonzero(gpu), dd2424.nonzero(here))
    for column, expected in zip(gpu.nonzero(as_tuple=True), here.nonzero(as_tuple=True), strict=True):
        assert_alike(column, expected)
    x = both(rng.normal(size=shape))
    assert_alike(dd2424.masked_select(x[1], gpu), dd2424.masked_select(x[0], here))
    assert_alike(dd2424.masked_fill(x[1], gpu, 2.0), dd2424.masked_fill(x[0], here, 2.0))
    if len(shape) > 1:
        assert_alike(x[1][gpu[:, 0] if len(shape) == 2 else gpu[:, 0, 0]],
                     x[0][here[:, 0] if len(shape) == 2 else here[:, 0, 0]])  # fmt: skip


def test_gradients():
    x = dd2424.randn(4, 3, dtype=dd2424.float64, device="cuda", requires_grad=True)
    y = dd2424.randn(5, 3, dtype=dd2424.float64, device="cuda", requires_grad=True)
    index, wide = dd2424.tensor([3, 0, 3, 1, 0], device="cuda"), dd2424.tensor([[0, 2], [1, 1]], device="cuda")

    def put(x, y):
        z = x * 1
        z[index[:2]] = y[:2]
        return z

    for function in (lambda x, y: x[index] * y, lambda x, y: dd2424.index_add(x, 0, index, y), put,
                     lambda x, y: dd2424.gather(x, 1, wide) * y[0, :2],
                     lambda x, y: dd2424.scatter_add(x, 1, wide, y[:2, :2]), lambda x, y: x[x > 0] * y[0, 0],
                     lambda x, y: F.embedding(index, x, padding_idx=2) * y):  # fmt: skip
        assert gradcheck(function, (x, y))
        assert gradgradcheck(function, (x, y))


def test_indices_outside_are_refused_as_on_the_processor(rng):
    here, gpu = both(rng.normal(size=(4, 3)))
    for bad in ([0, 4], [-5, 1], [0, -1]):
        for function in (lambda x, i: dd2424.index_select(x, 0, i), lambda x, i: x[i], F.embedding,
                         lambda x, i: dd2424.gather(x, 0, i.unsqueeze(1)),
                         lambda x, i: dd2424.index_add(x, 0, i, x[:2]),
                         lambda x, i: dd2424.scatter(x, 0, i.unsqueeze(1), 1.0)):  # fmt: skip
            results = []
            for x, i in zip((here, gpu), both(bad, "int64"), strict=True):
                try:
                    results.append((function(i, x) if function is F.embedding else function(x, i)).tolist())
                except (IndexError, RuntimeError) as refused:
                    results.append((type(refused), str(refused)))
            assert results[0] == results[1]
    with pytest.raises(RuntimeError, match="one device"):
        dd2424.index_select(gpu, 0, dd2424.tensor([0]))


def test_batches_of_bytes(rng):
    images = both(rng.integers(0, 256, (9, 3, 5, 4)), "uint8")
    index, odd = both([8, 0, 3, 3], "int64"), both(rng.integers(0, 256, (9, 7)), "uint8")
    mean, rate = both(rng.normal(size=3)), both(rng.normal(size=3))
    results = [dd2424._core.gather_normalize(*each) for each in zip(images, index, mean, rate, strict=True)]
    assert_alike(results[1], results[0], 1)
    one = both([3.0]), both([0.5])
    results = [dd2424._core.gather_normalize(*each) for each in zip(odd, index, *one, strict=True)]
    assert_alike(results[1], results[0], 1)
