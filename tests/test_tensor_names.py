"""Names: those that PyTorch has and we lack say so; small functions; testing.assert_close."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import Tensor, testing

LATER = ["to_sparse", "qscheme", "igamma", "stft"]


@pytest.mark.parametrize("name", LATER)
def test_a_missing_method_says_so(name: str) -> None:
    x = dd2424.ones(2)
    assert not hasattr(x, name)
    assert getattr(x, name, None) is None
    for owner in (x, Tensor, dd2424.nn.Parameter(x)):
        with pytest.raises(
            AttributeError, match=rf"Tensor: '{name}' is not implemented; the nearest name is 'Tensor\."
        ):
            getattr(owner, name)
        with pytest.raises(NotImplementedError):
            getattr(owner, name)
    with pytest.raises(AttributeError) as caught:
        x.no_such_name_anywhere  # noqa: B018
    assert not isinstance(caught.value, NotImplementedError)


@pytest.mark.parametrize("owner", ["", "nn", "linalg", "optim", "autograd", "testing"])
def test_a_missing_function_says_so(owner: str) -> None:
    module = getattr(dd2424, owner) if owner else dd2424
    assert not hasattr(module, "vmapp")
    with pytest.raises(
        NotImplementedError, match=rf"dd2424\.?{owner}.*: 'vmapp' is not implemented; the nearest name is"
    ):
        module.vmapp  # noqa: B018
    with pytest.raises(AttributeError):
        module.vmapp  # noqa: B018
    with pytest.raises(AttributeError):
        module.__no_dunder__  # noqa: B018


@pytest.mark.torch
def test_every_method_of_pytorch_is_here_or_says_so() -> None:
    torch = pytest.importorskip("torch")
    x = dd2424.ones(2, 2)
    for name in dir(torch.Tensor):
        if name.startswith("_") or hasattr(x, name):
            continue
        with pytest.raises(NotImplementedError):
            getattr(x, name)


def test_submodules_need_no_import_of_their_own() -> None:
    for path in ("nn.functional.relu", "utils.data.DataLoader", "optim.lr_scheduler.StepLR", "nn.init.zeros_",
                 "nn.utils.clip_grad_norm_", "autograd.Function", "linalg.inv", "testing.assert_close",
                 "cuda.is_available"):  # fmt: skip
        found: Any = dd2424
        for part in path.split("."):
            found = getattr(found, part)
        assert callable(found)
    assert "linalg" in dir(dd2424)


@pytest.mark.parametrize(("name", "dtype"), [
    ("FloatTensor", "float32"), ("DoubleTensor", "float64"), ("LongTensor", "int64"), ("IntTensor", "int32"),
    ("ByteTensor", "uint8"), ("BoolTensor", "bool"), ("HalfTensor", "float16"), ("BFloat16Tensor", "bfloat16"),
])  # fmt: skip
def test_typed_constructors(name: str, dtype: str) -> None:
    kind = getattr(dd2424, name)
    x = kind([[1, 0], [1, 1]])
    assert x.dtype is getattr(dd2424, dtype)
    assert x.tolist() == [[1, 0], [1, 1]]
    assert kind(2, 3).shape == (2, 3)
    assert kind(dd2424.Size([4])).shape == (4,)
    assert kind().shape == (0,)
    assert isinstance(x, kind)
    assert not isinstance(dd2424.ones(1).to(dd2424.int16), kind)
    assert x.type() == f"dd2424.{name}"
    assert dd2424.ones(2).type(kind).dtype is x.dtype


def test_small_functions() -> None:
    x = dd2424.tensor([[-1.0, 2.0], [3.0, 4.0]])
    assert x.clamp_min(0).tolist() == [[0, 2], [3, 4]]
    assert x.clamp_max(0).tolist() == [[-1, 0], [0, 0]]
    assert x.clone().clamp_min_(2).tolist() == [[2, 2], [3, 4]]
    assert x.adjoint().tolist() == x.mH.tolist() == [[-1, 3], [2, 4]]
    assert x.det().item() == pytest.approx(-10)
    assert dd2424.inverse(x).shape == (2, 2)
    u, s, v = dd2424.svd(x)
    np.testing.assert_allclose((u * s @ v.mT).numpy(), x.numpy(), atol=1e-6)
    assert x.sum_to_size(1, 2).tolist() == [[2, 6]]
    assert x.sum_to_size(2).tolist() == [2, 6]
    assert [p.tolist() for p in x.split_with_sizes([1, 1], 1)] == [[[-1], [3]], [[2], [4]]]
    assert x.clone().fill_diagonal_(9).tolist() == [[9, 2], [3, 9]]
    tall = dd2424.zeros(7, 2).fill_diagonal_(1, wrap=True)
    assert tall.sum(1).tolist() == [1, 1, 0, 1, 1, 0, 1]
    assert dd2424.is_floating_point(x)
    assert dd2424.is_signed(x)
    assert not dd2424.is_nonzero(dd2424.tensor(0))
    assert x.is_same_size(x.T)
    assert x.get_device() == -1
    assert dd2424.can_cast(dd2424.int64, dd2424.float32)
    assert not dd2424.can_cast(dd2424.float32, dd2424.int64)
    y = x.requires_grad_() * 2
    assert not y.retains_grad
    y.retain_grad()
    assert y.retains_grad


def test_compile_returns_its_argument() -> None:
    def function() -> int:
        return 3

    assert dd2424.compile(function) is function
    assert dd2424.compile(function, mode="max-autotune", fullgraph=True) is function

    @dd2424.compile(dynamic=True)
    def decorated() -> int:
        return 4

    assert decorated() == 4


@pytest.mark.torch
def test_limits_and_promotion() -> None:
    torch = pytest.importorskip("torch")
    floats, integers = ["float16", "bfloat16", "float32", "float64"], ["uint8", "int8", "int16", "int32", "int64"]
    for name in floats:
        ours, theirs = dd2424.finfo(getattr(dd2424, name)), torch.finfo(getattr(torch, name))
        for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution"):
            assert getattr(ours, field) == pytest.approx(getattr(theirs, field), rel=1e-3), (name, field)
    for name in integers:
        ours, theirs = dd2424.iinfo(getattr(dd2424, name)), torch.iinfo(getattr(torch, name))
        assert (ours.bits, ours.max, ours.min) == (theirs.bits, theirs.max, theirs.min)
    with pytest.raises(TypeError):
        dd2424.finfo(dd2424.int64)
    for a in (*floats, *integers, "bool"):
        for b in (*floats, *integers, "bool"):
            expected = torch.promote_types(getattr(torch, a), getattr(torch, b))
            assert str(dd2424.promote_types(getattr(dd2424, a), getattr(dd2424, b)))[7:] == str(expected)[6:], (a, b)
            assert dd2424.can_cast(getattr(dd2424, a), getattr(dd2424, b)) == torch.can_cast(
                getattr(torch, a), getattr(torch, b)
            ), (a, b)


# testing.assert_close

CLOSE: list[tuple[Any, Any]] = [
    (1.0, 1.0 + 1e-8), (dd2424.ones(2), dd2424.ones(2) + 5e-6), (3, 3), ([1.0, dd2424.ones(1)], [1.0, dd2424.ones(1)]),
    ({"a": 1}, {"a": 1}), (np.ones(2), np.ones(2)), (dd2424.tensor(float("inf")), dd2424.tensor(float("inf"))),
    (dd2424.ones(2, dtype=dd2424.bfloat16), dd2424.ones(2, dtype=dd2424.bfloat16) * 1.0078125),
]  # fmt: skip
FAR: list[tuple[Any, Any, str]] = [
    (1.0, 1.1, "Scalars are not close"),
    (dd2424.ones(2), dd2424.ones(2) * 1.1, r"Mismatched elements: 2 / 2 \(100.0%\)"),
    (dd2424.ones(2), dd2424.ones(3), "shapes differ"), (dd2424.ones(2), dd2424.ones(2).double(), "dtypes differ"),
    ([1.0], [1.0, 2.0], "sequences differ in length"), ({"a": 1}, {"b": 1}, "keys that only one mapping has"),
    ({"a": [1, 2]}, {"a": [1, 3]}, r"at item \['a'\] at item \[1\]"),
    (dd2424.tensor([1]), dd2424.tensor([2]), "Greatest"),
    (dd2424.tensor([float("nan")]), dd2424.tensor([float("nan")]), "not close"),
    (dd2424.tensor([float("inf")]), dd2424.tensor([-float("inf")]), "not close"),
]  # fmt: skip


def test_assert_close() -> None:
    for actual, expected in CLOSE:
        testing.assert_close(actual, expected)
    for actual, expected, message in FAR:
        with pytest.raises(AssertionError, match=message):
            testing.assert_close(actual, expected)
    nan = dd2424.tensor([float("nan"), 1.0])
    testing.assert_close(nan, nan, equal_nan=True)
    testing.assert_close(dd2424.ones(2), dd2424.ones(2).double(), check_dtype=False)
    testing.assert_close(dd2424.ones(2), dd2424.ones(2) + 0.1, rtol=0, atol=0.2)
    with pytest.raises(ValueError, match=r"rtol and atol must both be given or neither"):
        testing.assert_close(1.0, 1.0, rtol=0.1)
    with pytest.raises(TypeError, match=r"operands must be tensors, arrays or numbers, got str"):
        testing.assert_close("a", "a")
    with pytest.raises(AssertionError, match=r"mine"):
        testing.assert_close(1.0, 2.0, msg="mine")
    with pytest.raises(AssertionError, match="strides differ"):
        testing.assert_close(dd2424.ones(2, 2), dd2424.ones(2, 2).T, check_stride=True)
