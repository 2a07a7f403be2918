"""Reductions beside PyTorch's: dtypes, shapes, layouts, error classes."""

# ruff: noqa: B023  (a function made in a loop runs before the loop goes on)
from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest

import dd2424

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

DTYPES = ["float32", "float64", "bfloat16", "int64", "int32", "uint8", "bool"]
SHAPES: list[tuple[int, ...]] = [(), (5,), (3, 4), (2, 3, 4), (0,), (3, 0)]
NAMES = [
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "max",
    "min",
    "argmax",
    "argmin",
    "any",
    "all",
    "var",
    "std",
    "var_mean",
    "std_mean",
    "nansum",
    "nanmean",
    "norm",
    "count_nonzero",
    "logsumexp",
    "cumsum",
    "cumprod",
    "logcumsumexp",
    "softmax",
    "log_softmax",
]
KEEPS_DIMS = {"cumsum", "cumprod", "logcumsumexp", "softmax", "log_softmax", "count_nonzero"}
NEEDS_DIM = {"cumsum", "cumprod", "logcumsumexp", "softmax", "log_softmax", "logsumexp"}
ONE_DIM = NEEDS_DIM - {"logsumexp"} | {"max", "min", "argmax", "argmin", "prod"}


def outcome(run: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = run()
        except Exception as error:
            return error
    return list(result) if isinstance(result, tuple) else [result]


def compare(theirs: Any, ours: Any) -> None:
    """What PyTorch has no kernel for, we may compute; what it refuses, we refuse with its class of error."""
    if isinstance(theirs, Exception):
        assert not isinstance(ours, Exception) or isinstance(ours, RuntimeError | type(theirs) | IndexError)
        return
    assert not isinstance(ours, Exception), ours
    for a, b in zip(theirs, ours, strict=True):
        assert str(a.dtype)[6:] == b.dtype.name
        assert tuple(a.shape) == tuple(b.shape)
        assert a.numel() == 0 or a.stride() == tuple(b.stride())
        loose = 2e-2 if a.dtype == torch.bfloat16 else 1e-5
        np.testing.assert_allclose(b.double().numpy(), a.double().numpy(), rtol=loose, atol=loose)


def pair(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> list[tuple[Any, Any]]:
    x = rng.integers(0, 2 if dtype == "bool" else 5, shape) if "float" not in dtype else rng.integers(-8, 9, shape) / 4
    made = [(m, m.tensor(x.tolist(), dtype=getattr(m, dtype)).reshape(shape)) for m in (torch, dd2424)]
    return [made, [(m, t.transpose(0, -1)) for m, t in made]] if len(shape) > 1 else [made]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_over_dimensions(rng: np.random.Generator, name: str, dtype: str) -> None:
    if name.endswith("softmax") and "float" not in dtype:
        dtype = "float32"  # PyTorch takes integers only where they are none
    for shape in SHAPES:
        for made in pair(rng, dtype, shape):
            calls: list[dict[str, Any]] = [{"dim": d} for d in (0, -1, 1, 5)]
            calls += [] if name in NEEDS_DIM else [{}]
            calls += [] if name in ONE_DIM else [{"dim": (0, 1)}, {"dim": (0, -1)}]
            calls += [] if name in KEEPS_DIMS else [{"dim": 0, "keepdim": True}]
            for options in calls:
                compare(*(outcome(lambda m=m, t=t: getattr(m, name)(t, **options)) for m, t in made))


@pytest.mark.parametrize("name", NAMES)
def test_special_values(name: str) -> None:
    for data in ([math.nan, 1, 2], [math.inf, 1, 2], [-math.inf, -math.inf], [math.inf, -math.inf]):
        if name in ("var_mean", "std_mean"):
            continue  # the mean beside a variance is NaN there where it is infinite
        compare(*(outcome(lambda m=m: getattr(m, name)(m.tensor(data), dim=0)) for m in (torch, dd2424)))


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "cumsum", "cumprod", "nansum"])
def test_dtype_argument(name: str) -> None:
    for source, target in itertools.product(("int32", "float32", "bool"), ("float64", "int64", "float32")):
        if name == "mean" and target == "int64":
            continue
        arguments = (0,) if name.startswith("cum") else ()
        compare(
            *(
                outcome(
                    lambda m=m: getattr(m, name)(
                        m.ones(3, dtype=getattr(m, source)),
                        *arguments,
                        dtype=getattr(m, target),
                    )
                )
                for m in (torch, dd2424)
            )
        )


@pytest.mark.parametrize("ord", [0, 0.5, 1, 2, 3, math.inf, -math.inf, "fro"])
def test_norms(rng: np.random.Generator, ord: Any) -> None:
    for (_, a), (_, b) in zip(*[iter(pair(rng, "float64", (3, 4))[0])] * 2):
        for dim in (None, 0, 1, (0, 1)):
            compare(outcome(lambda: torch.norm(a, ord, dim)), outcome(lambda: dd2424.norm(b, ord, dim)))


def test_covariance(rng: np.random.Generator) -> None:
    for shape in ((), (1,), (5,), (3, 7), (3, 1)):
        (_, a), (_, b) = pair(rng, "float64", shape)[0]
        compare(outcome(lambda: torch.cov(a)), outcome(lambda: dd2424.cov(b)))
        compare(outcome(lambda: torch.cov(a, correction=0)), outcome(lambda: dd2424.cov(b, correction=0)))
    (_, a), (_, b) = pair(rng, "float64", (3, 7))[0]
    compare(outcome(lambda: torch.corrcoef(a)), outcome(lambda: dd2424.corrcoef(b)))


def test_gradients(rng: np.random.Generator) -> None:
    """Where several elements are equal, or zero, PyTorch's choice is ours."""
    cases = [
        ("amax", [1.0, 3, 3]),
        ("max", [1.0, 3, 3]),
        ("std", [2.0, 2, 2]),
        ("norm", [0.0, 0, 0]),
        ("prod", [0.0, 2, 3]),
        ("prod", [0.0, 0, 3]),
        ("cumprod", [2.0, 0, 3]),
        ("logsumexp", [-math.inf, 0, 1]),
        ("min", [2.0, 1, 1]),
        ("var", [4.0, 4, 4]),
        ("nansum", [math.nan, 1, 2]),
    ]
    for name, data in cases:
        slopes = []
        for m in (torch, dd2424):
            x = m.tensor(data, dtype=m.float64, requires_grad=True)
            result = getattr(x, name)(0) if name in ("cumprod", "logsumexp") else getattr(x, name)()
            result.sum().backward()
            slopes.append(x.grad.numpy())
        np.testing.assert_allclose(slopes[1], slopes[0], err_msg=name)


def test_names() -> None:
    names = [
        *NAMES,
        "median",
        "nanmedian",
        "mode",
        "quantile",
        "cummax",
        "cummin",
        "aminmax",
        "dist",
        "diff",
        "renorm",
        "cov",
        "corrcoef",
        "trapezoid",
        "trapz",
        "cumulative_trapezoid",
        "kthvalue",
        "histc",
        "bincount",
        "unique",
    ]
    for owner in ("", "Tensor"):
        theirs, ours = (getattr(m, owner) if owner else m for m in (torch, dd2424))
        assert [n for n in names if hasattr(theirs, n) and not hasattr(ours, n)] == []
