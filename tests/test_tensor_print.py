"""How tensors read, and set_printoptions; letter by letter what PyTorch prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dd2424

NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    yield
    dd2424.set_printoptions(profile="default")


@pytest.mark.parametrize(("data", "text"), [
    (3.5, "tensor(3.5000)"),
    (2.0, "tensor(2.)"),
    (7, "tensor(7)"),
    (True, "tensor(True)"),
    ([], "tensor([])"),
    ([[], []], "tensor([], size=(2, 0))"),
    ([1.0, 2.5], "tensor([1.0000, 2.5000])"),
    ([1.0, -2.0], "tensor([ 1., -2.])"),
    ([NAN, INF, -INF], "tensor([nan, inf, -inf])"),
    ([1.0, NAN], "tensor([1., nan])"),
    ([1e-8, 1.0], "tensor([1.0000e-08, 1.0000e+00])"),
    ([1e10], "tensor([1.0000e+10])"),
    ([1, -20, 300], "tensor([  1, -20, 300])"),
    ([[True, False]], "tensor([[ True, False]])"),
    ([[1, 2], [3, 4]], "tensor([[1, 2],\n        [3, 4]])"),
    ([[[1]], [[2]]], "tensor([[[1]],\n\n        [[2]]])"),
])  # fmt: skip
def test_texts(data: Any, text: str) -> None:
    assert repr(dd2424.tensor(data)) == text
    assert str(dd2424.tensor(data)) == text


def test_notes() -> None:
    x = dd2424.ones(2, requires_grad=True)
    assert repr(x) == "tensor([1., 1.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 2.], grad_fn=<MulBackward0>)"
    assert repr(dd2424.ones(2, dtype=dd2424.float64)) == "tensor([1., 1.], dtype=dd2424.float64)"
    assert repr(dd2424.zeros(0, dtype=dd2424.int64)) == "tensor([], dtype=dd2424.int64)"
    dd2424.set_default_dtype(dd2424.float64)
    assert repr(dd2424.ones(2)) == "tensor([1., 1.])"


def test_large_tensors_are_shortened() -> None:
    assert repr(dd2424.arange(2000)) == "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"
    lines = repr(dd2424.zeros(100, 100)).splitlines()
    assert len(lines) == 7
    assert lines[3] == "        ...,"
    assert "..." not in repr(dd2424.arange(1000))


def test_options() -> None:
    x = dd2424.tensor([1.23456, 100.0])
    dd2424.set_printoptions(precision=2)
    assert repr(x) == "tensor([  1.23, 100.00])"
    dd2424.set_printoptions(sci_mode=True)
    assert repr(x) == "tensor([1.23e+00, 1.00e+02])"
    dd2424.set_printoptions(profile="default")
    dd2424.set_printoptions(threshold=3, edgeitems=1)
    assert repr(dd2424.arange(5)) == "tensor([0,  ..., 4])"
    dd2424.set_printoptions(profile="full")
    assert "..." not in repr(dd2424.arange(5000))
    dd2424.set_printoptions(profile="default", linewidth=20)
    assert repr(dd2424.arange(6)) == "tensor([0, 1, 2, 3,\n        4, 5])"
    with pytest.raises(ValueError, match=r"set_printoptions: profile must be one of"):
        dd2424.set_printoptions(profile="long")


def test_formats() -> None:
    x = dd2424.tensor(2.5)
    assert f"{x:.2f}" == "2.50"
    assert f"{dd2424.tensor(7):03d}" == "007"
    assert f"{x}" == "tensor(2.5000)"
    with pytest.raises(TypeError):
        f"{dd2424.ones(2):.2f}"


CASES: list[Any] = [
    *[np.array(x) for x in (3.5, 2.0, 0.0, 1e-5, 1e9, NAN, INF, True, 7, -3)],
    *[np.array(x) for x in ([1.5, 2.25, NAN], [1e-5, 1.0], [1e10, 1.0], [0.0, 0.0], [-0.0, 1.0], [1e-8, 2e-8],
                            [100000.5, 2.0], [0.5, 1e3 + 0.5], [123456789.0], [1e8], [1.0, 1001.5], [INF, 1.5])],
    *[np.random.default_rng(0).standard_normal(s) for s in (
        (2, 3), (3, 4, 5), (2, 2, 2, 2), (1001,), (50, 50), (7, 200), (11, 11, 11), (0, 3), (2, 0, 3), (30,),
        (2, 1, 20))],
    np.random.default_rng(0).standard_normal((5, 5)) * 1e6,
    np.random.default_rng(0).standard_normal((5, 5)) * 1e-6,
    np.random.default_rng(0).integers(-1000, 1000, (40, 40)),
    np.random.default_rng(0).integers(0, 2, (5, 30)).astype(bool),
    np.arange(2000).reshape(2, 1000),
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "int64", "uint8", "bool"])
def test_texts_are_pytorchs(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    for array in CASES:
        if dtype in ("int64", "uint8") and not np.isfinite(array).all():
            continue
        with np.errstate(all="ignore"):
            ours, theirs = (lib.tensor(array).to(getattr(lib, dtype)) for lib in (dd2424, torch))
        for gradient in (False, True) if dtype.startswith(("float", "bfloat")) else (False,):
            expected = repr(theirs.requires_grad_(gradient)).replace("torch.", "dd2424.")
            actual = repr(ours.requires_grad_(gradient))
            if "dtype" in expected:  # our longer name may be moved to a line of its own
                expected, actual = (text.replace("\n       dtype", " dtype").replace(",\n       req", ", req")
                                    for text in (expected, actual))  # fmt: skip
            assert actual == expected
