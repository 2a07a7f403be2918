"""Kernels of a GPU, real or emulated, against the processor's: the same values, gradients, and bits when run again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import Tensor
from dd2424.autograd import gradcheck, gradgradcheck
from on_gpu import FLOATS, INTEGERS, as_float, assert_alike, both, needs_gpu

pytestmark = needs_gpu
SHAPES = [(), (0, 3), (1,), (7,), (33, 5), (3, 4, 5), (257, 130)]
# What the two C libraries may round otherwise, in roundings of the type.
UNARY = {
    "neg": 0, "abs": 0, "sign": 0, "square": 0, "relu": 0, "floor": 0, "ceil": 0, "round": 0, "trunc": 0, "frac": 0,
    "reciprocal": 1, "sqrt": 1, "rsqrt": 2, "exp": 4, "exp2": 4, "expm1": 4, "log": 4, "log2": 4, "log10": 4,
    "log1p": 4, "sin": 4, "cos": 4, "tan": 4, "asin": 4, "acos": 4, "atan": 4, "sinh": 4, "cosh": 4, "tanh": 4,
    "asinh": 4, "acosh": 4, "atanh": 4, "erf": 4, "erfc": 8, "erfinv": 8, "lgamma": 8, "digamma": 8, "sigmoid": 4,
}  # fmt: skip
ACTIVATIONS = ["leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "hardtanh", "hardsigmoid", "hardswish", "mish",
               "softsign", "logsigmoid"]  # fmt: skip


def domain(name: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if name in ("sqrt", "rsqrt", "log", "log2", "log10", "reciprocal", "lgamma", "digamma"):
        return np.abs(x) + 0.1
    if name in ("asin", "acos", "atanh", "erfinv"):
        return np.tanh(x)
    return np.abs(x) + 1.01 if name == "acosh" else x


@pytest.mark.parametrize("name", list(UNARY))
@pytest.mark.parametrize("dtype", FLOATS)
def test_unary(rng, name, dtype):
    scale = 1.0 if name == "digamma" else 1e-3  # its terms cancel about its zero
    for shape in SHAPES:
        here, gpu = both(domain(name, rng.normal(size=shape)), dtype)
        assert_alike(getattr(dd2424, name)(gpu), getattr(dd2424, name)(here), 2 * UNARY[name], scale)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_activations_and_their_slopes(rng, name, dtype):
    function = getattr(dd2424.nn.functional, name)
    x = np.concatenate([4 * rng.normal(size=300), [0.0, -0.0, 3.0, -3.0, 80.0, -80.0, np.inf, -np.inf, np.nan]])
    here, gpu = both(x, dtype)
    here.requires_grad_(), gpu.requires_grad_()
    y, z = function(here), function(gpu)
    assert_alike(z, y, 16, scale=1e-2)
    y.sum().backward(), z.sum().backward()
    assert_alike(gpu.grad, here.grad, 16, scale=1e-1)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "maximum", "minimum", "fmax", "fmin", "fmod", "remainder",
                                  "div", "pow", "atan2", "hypot", "copysign", "xlogy", "floor_divide"])  # fmt: skip
@pytest.mark.parametrize("dtype", FLOATS)
def test_binary(rng, name, dtype):
    for left, right in [((5, 7), (5, 7)), ((5, 1), (7,)), ((), (4, 3)), ((130, 33), (33,)), ((2, 0), (1,))]:
        (a, x), (b, y) = both(np.abs(rng.normal(size=left)), dtype), both(rng.normal(size=right) + 3, dtype)
        assert_alike(getattr(dd2424, name)(x, y), getattr(dd2424, name)(a, b), 4, scale=1e-2)
        assert_alike(getattr(dd2424, name)(x, 2.5), getattr(dd2424, name)(a, 2.5), 4, scale=1e-2)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "maximum", "minimum", "fmod", "remainder", "floor_divide", "pow",
                                  "bitwise_and", "bitwise_or", "bitwise_xor"])  # fmt: skip
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers(rng, name, dtype):
    (a, x), (b, y) = both(rng.integers(0, 9, (40, 9)), dtype), both(rng.integers(1, 4, 9), dtype)
    if dtype != "uint8" and name != "pow":
        a, x = a - 4, x - 4
    assert_alike(getattr(dd2424, name)(x, y), getattr(dd2424, name)(a, b))


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor"])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool"])
def test_comparisons_and_where(rng, name, dtype):
    (a, x), (b, y) = both(rng.integers(0, 3, (33, 5)), dtype), both(rng.integers(0, 3, 5), dtype)
    assert_alike(getattr(dd2424, name)(x, y), getattr(dd2424, name)(a, b))
    assert_alike(dd2424.where(x == y, x, y), dd2424.where(a == b, a, b))
    assert_alike(x.logical_not(), a.logical_not())


def test_tests_of_floats():
    here, gpu = both([0.0, np.nan, np.inf, -np.inf, 1e-40])
    for name in ("isnan", "isinf", "isfinite"):
        assert_alike(getattr(dd2424, name)(gpu), getattr(dd2424, name)(here))


@pytest.mark.parametrize("to", [*FLOATS, *INTEGERS, "float16", "bool"])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "float16", "bool"])
def test_conversions(rng, dtype, to):
    here, gpu = both(rng.integers(0, 100, (9, 31)) * 1.37, dtype)
    assert gpu.t().to(getattr(dd2424, to)).tolist() == here.t().to(getattr(dd2424, to)).tolist()


def test_every_half_converts():
    bits = np.arange(1 << 16, dtype=np.uint16)
    for narrow in (bits.view(np.float16), bits.astype(np.int16).view(np.float16)[::-1].copy()):
        here, gpu = both(narrow, "float16")
        np.testing.assert_array_equal(gpu.float().cpu().numpy(), here.float().numpy())
        with np.errstate(invalid="ignore"):  # of NaN
            near = np.nextafter(narrow.astype(np.float32), np.float32(1))
        np.testing.assert_array_equal(both(near)[1].half().cpu().numpy(), both(near)[0].half().numpy())


REDUCTIONS = ["sum", "mean", "prod", "amax", "amin", "var", "std", "argmax", "argmin", "any", "all"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("shape", [(1,), (7, 5), (3, 17, 33), (129, 65), (2, 5000), (70_000,), (40, 2000)], ids=str)
def test_reductions(rng, name, shape):
    x = rng.uniform(0.9, 1.1, shape) if name == "prod" and shape != (70_000,) else rng.normal(size=shape)
    here, gpu = both(x)
    for dim in [None, 0, -1] if len(shape) > 1 else [None]:
        arguments = {} if dim is None else {"dim": dim}
        if dim is None and name in ("var", "std"):
            arguments = {"dim": tuple(range(len(shape)))}
        expected = getattr(dd2424, name)(here.double(), **arguments)
        expected = expected.float() if expected.is_floating_point() else expected
        scale = np.abs(x).sum(axis=dim) / (1 if name == "sum" else x.size if dim is None else shape[dim])
        limit = {"prod": 200, "var": 8, "std": 8}.get(name, 4) if expected.is_floating_point() else 0
        assert_alike(getattr(dd2424, name)(gpu, **arguments), expected, limit, scale)


@pytest.mark.parametrize("name", ["sum", "prod", "amax", "amin", "argmax", "any", "cumsum"])
@pytest.mark.parametrize("dtype", [*INTEGERS, "bool", "bfloat16", "float64"])
def test_reductions_of_every_type(rng, name, dtype):
    here, gpu = both(rng.integers(0, 3, (40, 9)), dtype)
    for dim in (0, 1):
        assert_alike(getattr(dd2424, name)(gpu, dim=dim), getattr(dd2424, name)(here, dim=dim), 1)


@pytest.mark.parametrize("name", ["sum", "amin", "argmax", "all", "var", "cumsum"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "int64", "int8"])
def test_reductions_read_packs_where_they_can(rng, name, dtype):
    """Wide reads, and the same of arrays that stand askew in memory or have several dimensions to reduce."""
    if name == "var" and dtype not in FLOATS:
        return
    x = rng.integers(-1, 3, (6, 16, 72))
    for start, dims in ((0, (0, 1, 2)), (1, (0, 2))):
        here, gpu = (t[start:, :, start:] for t in both(x, dtype))
        for dim in (*dims, *([] if name in ("argmax", "cumsum") else [(0, 2), (1, 2), (0, 1)])):
            arguments = (dim,) if name != "var" else (dim if isinstance(dim, tuple) else (dim,),)
            expected = getattr(dd2424, name)(here, *arguments)
            assert_alike(getattr(dd2424, name)(gpu, *arguments), expected, 8 if name == "var" else 1)


@pytest.mark.parametrize("shape", [(3, 700), (2, 4100), (17_000,), (300, 6), (4, 130, 9), (20_000, 2), (2100, 36)],
                         ids=str)  # fmt: skip
def test_long_lines_are_cut(rng, shape):
    """Reductions in chunks, running sums by tiles and in chunks; integers are exact in any order."""
    x = rng.integers(-2, 3, shape)
    here, gpu = both(x, "float32")
    for dim in range(len(shape)):
        for name in ("sum", "cumsum", "argmin"):
            assert_alike(getattr(dd2424, name)(gpu, dim), getattr(dd2424, name)(here, dim))
    signs = both(np.where(x > 0, 1, -1), "int64")
    assert_alike(signs[1].cumprod(0), signs[0].cumprod(0))
    brief = both(x[..., :40] % 2, "bfloat16")
    assert_alike(brief[1].cumsum(-1), brief[0].cumsum(-1))


def test_a_variance_about_a_large_offset(rng):
    x = rng.normal(size=(3, 3000)) + 1e4
    gpu = both(x)[1]
    exact = gpu.cpu().numpy().astype(np.float64)
    for arranged in (gpu, gpu.t().contiguous().t()):
        assert_accurate(arranged.var((1,)).cpu(), exact.var(1, ddof=1), 16)
    assert_accurate(gpu.var((0, 1)).cpu(), exact.var(ddof=1), 16)


@pytest.mark.parametrize("dtype", FLOATS)
def test_norms_and_their_slopes(rng, dtype):
    for shape, dims in (((33, 5), (0, 1)), ((2, 3, 800), (2, (0, 1), (0, 2))), ((4000, 3), (0,))):
        here, gpu = (x.requires_grad_() for x in both(rng.normal(size=shape), dtype))
        for dim in (*dims, None):
            results = [dd2424.linalg.vector_norm(x, 2, dim) for x in (here, gpu)]
            assert_alike(results[1], results[0], 8)
            for y in results:
                y.sum().backward()
    assert_alike(gpu.grad, here.grad, 16, scale=0.1)
    assert_alike(dd2424.tril(gpu, 1), dd2424.tril(here, 1))
    assert_alike(dd2424.triu(gpu, -1), dd2424.triu(here, -1))


def test_reductions_know_nan_ties_and_nothing(rng):
    x = rng.integers(0, 3, (60, 50)).astype(np.float32)
    x[3, 7] = x[9, 7] = np.nan
    here, gpu = both(x)
    for name in ("argmax", "argmin", "amax", "amin", "cumsum", "cumprod"):
        for dim in (0, 1):
            assert_alike(getattr(dd2424, name)(gpu, dim=dim), getattr(dd2424, name)(here, dim=dim))
    empty, gone = both(np.zeros((3, 0)))
    for name in ("sum", "prod", "mean", "any", "all"):
        np.testing.assert_array_equal(getattr(gone, name)(dim=1).cpu().numpy(), getattr(empty, name)(dim=1).numpy())


@pytest.mark.parametrize("name", ["sum", "mean", "var", "prod", "argmax"])
def test_a_reduction_has_the_same_bits_again_and_in_other_strides(rng, name):
    x = both(rng.uniform(0.9, 1.1, (130, 70, 3)))[1]
    wide = dd2424.zeros(130, 70, 3, 2, device="cuda")[..., 1]
    wide.copy_(x)
    for dim in range(3):
        first = getattr(dd2424, name)(x, dim=dim).cpu()
        assert getattr(dd2424, name)(x, dim=dim).cpu().tolist() == first.tolist()
        assert getattr(dd2424, name)(wide, dim=dim).cpu().tolist() == first.tolist()


@pytest.mark.parametrize("name", ["uniform_", "normal_", "exponential_", "bernoulli_", "cauchy_", "log_normal_",
                                  "geometric_"])  # fmt: skip
@pytest.mark.parametrize("dtype", FLOATS)
def test_draws_are_the_processors(name, dtype):
    arguments = (0.3,) if name in ("bernoulli_", "geometric_") else ()
    exact = name == "bernoulli_" or (dtype != "float64" and name in ("uniform_", "normal_", "exponential_"))
    for shape in [(1,), (5,), (1000,), (33, 7)]:
        here, gpu = both(np.zeros(shape), dtype)
        state = dd2424.get_rng_state()
        getattr(here, name)(*arguments)
        dd2424.set_rng_state(state)
        getattr(gpu, name)(*arguments)
        assert_alike(gpu, here, 0 if exact or name == "uniform_" else 16)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", ["dropout", "dropout2d", "alpha_dropout"])
def test_dropout_has_the_processors_mask(rng, dtype, function):
    here, gpu = both(rng.normal(size=(3, 5, 7, 9)), dtype)
    here.requires_grad_(), gpu.requires_grad_()
    results = []
    for x in (here, gpu):
        dd2424.manual_seed(5)
        y = getattr(dd2424.nn.functional, function)(x, 0.4)
        y.backward(dd2424.ones_like(y))
        results.append(y)
    assert_alike(results[1], results[0])
    assert_alike(gpu.grad, here.grad)


def test_gradients():
    x = dd2424.randn(3, 4, dtype=dd2424.float64, device="cuda", requires_grad=True)
    w = (dd2424.rand(4, dtype=dd2424.float64, device="cuda") + 0.5).requires_grad_()

    def function(x: Tensor, w: Tensor) -> Tensor:
        return ((x * w).tanh() / w + x.exp().mean(1, keepdim=True)).var(0) + dd2424.where(w > 1, w, w * w)

    assert gradcheck(function, (x, w))
    assert gradgradcheck(function, (x, w))


def test_views_are_written_through(rng):
    a = rng.normal(size=(6, 8)).astype(np.float32)
    here, gpu = both(a)
    for x in (here, gpu):
        x[1:4, ::2].mul_(3).add_(x[2:5, 1::2])
        x.t()[3] = 7
        x[0].copy_(x[5].double())
    assert_alike(gpu, here)


PRODUCTS = [(1, 1, 1), (5, 7, 3), (64, 64, 16), (65, 130, 33), (3, 200, 0), (130, 1, 70), (1, 90, 64)]


@pytest.mark.parametrize(("m", "n", "k"), PRODUCTS, ids=str)
@pytest.mark.parametrize("dtype", FLOATS)
def test_products(rng, m, n, k, dtype):
    """Of every transposition, alike whatever the strides; against float64."""
    a, b = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    x, y = both(a, dtype)[1], both(b, dtype)[1]
    exact = as_float(x).numpy().astype(np.float64) @ as_float(y).numpy().astype(np.float64)
    scale = np.abs(a) @ np.abs(b) + 1e-30
    first = x @ y
    assert first.is_cuda
    limit = 2**16 if dtype == "bfloat16" else 2 + k / 8
    assert_accurate(as_float(first), exact, limit, scale)
    for left in (x, x.t().contiguous().t()):
        for right in (y, y.t().contiguous().t(), dd2424.stack([y, y], -1)[..., 1]):
            assert (left @ right).cpu().tolist() == first.cpu().tolist()


def test_batches_of_products(rng):
    for left, right in [((3, 5, 4), (3, 4, 6)), ((2, 1, 5, 4), (3, 4, 6)), ((5, 4), (7, 4, 2)), ((4,), (3, 4, 2))]:
        a, b = rng.normal(size=left), rng.normal(size=right)
        assert_accurate((both(a, "float64")[1] @ both(b, "float64")[1]).cpu(), a @ b, 8, scale=10)
    c, a, b = (both(rng.normal(size=(5, 5)), "float64") for _ in range(3))
    assert_alike(dd2424.addmm(c[1], a[1], b[1], beta=0.5, alpha=2), dd2424.addmm(c[0], a[0], b[0], beta=0.5, alpha=2),
                 4, scale=10)  # fmt: skip
    tall = both(rng.normal(size=(600, 20)))
    assert_alike(tall[1] @ tall[1].t(), tall[0] @ tall[0].t(), 8, scale=20)


@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "tanh", "sigmoid", "silu"])
def test_linear_with_an_activation(rng, activation):
    arguments = [both(rng.normal(size=shape), "float64") for shape in ((9, 5), (70, 5), (70,))]
    for pair in arguments:
        for each in pair:
            each.requires_grad_()
    if activation == "none":
        expected, result = (dd2424.nn.functional.linear(*each) for each in zip(*arguments, strict=True))
    else:
        expected, result = (
            getattr(dd2424.nn.functional, activation)(dd2424.nn.functional.linear(*each))
            for each in zip(*arguments, strict=True)
        )
    assert_alike(result, expected, 8, scale=5)
    expected.sum().backward()
    result.sum().backward()
    for here, gpu in arguments:
        assert_alike(gpu.grad, here.grad, 8, scale=20)


def test_a_network_learns_what_it_learns_on_the_processor(rng):
    dd2424.manual_seed(0)
    nn = dd2424.nn
    here = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Dropout(0.2), nn.Linear(20, 3)).double()
    gpu = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Dropout(0.2), nn.Linear(20, 3)).double().cuda()
    gpu.load_state_dict(here.state_dict())
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 3))
    losses = []
    for model, device in ((here, "cpu"), (gpu, "cuda")):
        dd2424.manual_seed(1)
        inputs, targets = dd2424.tensor(x, device=device), dd2424.tensor(y, device=device)
        for _ in range(5):
            loss = ((model(inputs) - targets) ** 2).mean()
            model.zero_grad()
            loss.backward()
            with dd2424.no_grad():
                for parameter in model.parameters():
                    parameter.sub_(parameter.grad, alpha=0.5)
        losses.append(loss.item())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)
    for a, b in zip(gpu.parameters(), here.parameters(), strict=True):
        assert_alike(a, b, 1000, scale=1)
