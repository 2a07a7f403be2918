"""Views, joins and rearranged copies against PyTorch: values, dtypes, strides, whether it is a view, error classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dd2424

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

SHAPES = [(), (1,), (5,), (2, 3), (1, 4), (2, 3, 4), (4, 1, 3), (2, 3, 4, 5)]
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "dense": lambda x: x,
    "reversed": lambda x: x.permute(*range(x.ndim - 1, -1, -1)) if x.ndim else x,
    "cut": lambda x: x[..., ::2] if x.ndim else x,
}
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "reshape(-1)": lambda lib, x: x.reshape(-1),
    "reshape(2, -1)": lambda lib, x: x.reshape(2, -1),
    "reshape((1, -1))": lambda lib, x: x.reshape((1, -1)),
    "reshape(-1, -1)": lambda lib, x: x.reshape(-1, -1),
    "reshape(shape=)": lambda lib, x: lib.reshape(x, shape=(-1,)),
    "view(-1)": lambda lib, x: x.view(-1),
    "view(size=)": lambda lib, x: x.view(size=(-1,)),
    "view(int64)": lambda lib, x: x.view(lib.int64),
    "view(shape)": lambda lib, x: x.view(x.shape),
    "flatten": lambda lib, x: lib.flatten(x),
    "flatten(1)": lambda lib, x: lib.flatten(x, 1),
    "flatten(-2)": lambda lib, x: x.flatten(-2),
    "unflatten": lambda lib, x: x.unflatten(-1, (2, -1)),
    "ravel": lambda lib, x: lib.ravel(x),
    "squeeze": lambda lib, x: lib.squeeze(x),
    "squeeze(0)": lambda lib, x: x.squeeze(0),
    "squeeze((0, 1))": lambda lib, x: x.squeeze((0, 1)),
    "unsqueeze(1)": lambda lib, x: x.unsqueeze(1),
    "unsqueeze(-1)": lambda lib, x: x.unsqueeze(-1),
    "unsqueeze(9)": lambda lib, x: x.unsqueeze(9),
    "transpose": lambda lib, x: x.transpose(0, -1),
    "transpose(dim0=, dim1=)": lambda lib, x: x.transpose(dim0=1, dim1=2),
    "swapaxes": lambda lib, x: x.swapaxes(0, 1),
    "t": lambda lib, x: x.t(),
    "T": lambda lib, x: x.T if x.ndim == 2 else x,
    "mT": lambda lib, x: x.mT if x.ndim > 0 else x,
    "permute": lambda lib, x: x.permute(1, 0),
    "permute(dims=)": lambda lib, x: x.permute(dims=(-1, 0)),
    "permute of three": lambda lib, x: lib.permute(x, (2, 0, 1)),
    "movedim": lambda lib, x: x.movedim(0, -1),
    "movedim of two": lambda lib, x: lib.movedim(x, (0, 1), (1, 0)),
    "select": lambda lib, x: lib.select(x, -1, -1),
    "narrow": lambda lib, x: x.narrow(0, 0, 1),
    "narrow too far": lambda lib, x: lib.narrow(x, 0, 1, 5),
    "narrow from beyond": lambda lib, x: lib.narrow(x, 0, 9, 1),
    "unbind": lambda lib, x: lib.unbind(x, -1),
    "split": lambda lib, x: x.split(2),
    "split of sizes": lambda lib, x: lib.split(x, [1, 1]),
    "split(0)": lambda lib, x: lib.split(x, 0),
    "chunk": lambda lib, x: x.chunk(chunks=3, dim=-1),
    "chunk(0)": lambda lib, x: lib.chunk(x, 0),
    "tensor_split": lambda lib, x: x.tensor_split(3),
    "tensor_split at": lambda lib, x: lib.tensor_split(x, (1, -1), -1),
    "hsplit": lambda lib, x: lib.hsplit(x, 1),
    "vsplit": lambda lib, x: lib.vsplit(x, 2),
    "dsplit": lambda lib, x: lib.dsplit(x, 1),
    "cat": lambda lib, x: lib.cat([x, x]),
    "cat(dim=1)": lambda lib, x: lib.cat((x, x, x), dim=1),
    "cat with an empty one": lambda lib, x: lib.cat([lib.tensor([], dtype=x.dtype), x]),
    "cat of two dtypes": lambda lib, x: lib.cat([x, x.long()]),
    "cat of nothing": lambda lib, x: lib.cat([]),
    "stack": lambda lib, x: lib.stack([x, x], 1),
    "stack(-1)": lambda lib, x: lib.stack([x, x], -1),
    "stack(5)": lambda lib, x: lib.stack([x, x], 5),
    "hstack": lambda lib, x: lib.hstack([x, x]),
    "vstack": lambda lib, x: lib.vstack([x, x]),
    "dstack": lambda lib, x: lib.dstack([x, x]),
    "column_stack": lambda lib, x: lib.column_stack([x, x]),
    "expand": lambda lib, x: x.expand(3, *x.shape),
    "expand(-1, 4)": lambda lib, x: x.expand(-1, 4),
    "expand to nothing": lambda lib, x: x.unsqueeze(0).expand(0, *x.shape),
    "broadcast_to": lambda lib, x: lib.broadcast_to(x, (2, *x.shape)),
    "broadcast_tensors": lambda lib, x: lib.broadcast_tensors(x, lib.ones(1, 1, dtype=x.dtype))[1],
    "repeat": lambda lib, x: x.repeat(2, *[1] * x.ndim),
    "repeat too few": lambda lib, x: x.repeat(2),
    "tile": lambda lib, x: x.tile(2, 2),
    "repeat_interleave by tensor": lambda lib, x: lib.repeat_interleave(x, lib.arange(x.shape[0] if x.ndim else 1), 0),
    "flip": lambda lib, x: x.flip(0, 1),
    "flip(-1)": lambda lib, x: lib.flip(x, (-1,)),
    "flip twice the same": lambda lib, x: lib.flip(x, (0, 0)),
    "fliplr": lambda lib, x: lib.fliplr(x),
    "flipud": lambda lib, x: lib.flipud(x),
    "roll along": lambda lib, x: x.roll((1, -2), (0, 1)),
    "tril": lambda lib, x: lib.tril(x),
    "triu(1)": lambda lib, x: x.triu(1),
    "diag": lambda lib, x: lib.diag(x, 1),
    "diagonal": lambda lib, x: x.diagonal(1, -2, -1),
    "diagonal(-9)": lambda lib, x: x.diagonal(-9),
    "diag_embed": lambda lib, x: lib.diag_embed(x, 1, 0, -1) if x.ndim else x,
    "diagflat": lambda lib, x: lib.diagflat(x, -1),
    "atleast_2d": lambda lib, x: lib.atleast_2d(x),
    "atleast_3d": lambda lib, x: lib.atleast_3d(x),
    "unfold": lambda lib, x: x.unfold(-1, 2, 2),
    "as_strided": lambda lib, x: x.as_strided((2, 2), (1, 1)),
    "clone": lambda lib, x: x.clone(),
    "clone(contiguous_format)": lambda lib, x: x.clone(memory_format=lib.contiguous_format),
    "contiguous": lambda lib, x: x.contiguous(),
    "meshgrid": lambda lib, x: lib.meshgrid(x, x, indexing="ij"),
    "meshgrid xy": lambda lib, x: lib.meshgrid(x, x[:2] if x.ndim else x, indexing="xy"),
    "cartesian_prod": lambda lib, x: lib.cartesian_prod(x, x),
    "combinations": lambda lib, x: lib.combinations(x, 2),
    "block_diag": lambda lib, x: lib.block_diag(x, x),
    "size(dim=)": lambda lib, x: x.size(dim=-1),
    "size(-5)": lambda lib, x: x.size(-5),
    "stride(dim=)": lambda lib, x: x.stride(dim=0),
    "len": lambda lib, x: len(x),
    "iter": lambda lib, x: list(x),
    "tril_indices": lambda lib, x: lib.tril_indices(3, 4, 0),
    "triu_indices": lambda lib, x: lib.triu_indices(3, 4, 1),
}
COPIES_OF_VIEWS = {  # PyTorch's are no views of what it copied in between, or the other way about
    "diag", "tril_indices", "triu_indices", "block_diag", "cartesian_prod", "combinations", "dstack", "diagflat",
    "broadcast_tensors", "repeat_interleave by tensor", "column_stack", "iter",
}  # fmt: skip


def outcome(call: Callable[[Any, Any], Any], lib: Any, array: Any, layout: Callable[[Any], Any]) -> Any:
    try:
        result = call(lib, layout(lib.tensor(array)))
    except Exception as error:
        return error
    return list(result) if isinstance(result, tuple | list) else [result]


def assert_same(name: str, expected: Any, actual: Any) -> None:
    assert str(actual.dtype).rpartition(".")[2] == str(expected.dtype).rpartition(".")[2]
    np.testing.assert_array_equal(actual.numpy(), expected.numpy(), strict=True)
    if expected.numel() > 0:  # where there is one index, the stride means nothing
        strides = zip(expected.shape, expected.stride(), actual.stride(), strict=True)
        assert all(theirs == ours for size, theirs, ours in strides if size > 1), (expected.stride(), actual.stride())
    if name not in COPIES_OF_VIEWS:
        assert (actual._base is None) == (expected._base is None)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CALLS)
def test_shapes_as_in_pytorch(rng: np.random.Generator, name: str, layout: str) -> None:
    for shape in SHAPES:
        array = rng.standard_normal(shape)
        expected, actual = (outcome(CALLS[name], lib, array, LAYOUTS[layout]) for lib in (torch, dd2424))
        if isinstance(expected, Exception):
            assert isinstance(actual, type(expected)), f"{shape}: PyTorch raises {expected!r}, we give {actual!r}"
            continue
        assert not isinstance(actual, Exception), f"{shape}: {actual!r}"
        assert len(actual) == len(expected), shape
        for ours, theirs in zip(actual, expected, strict=True):
            if isinstance(theirs, torch.Tensor):
                assert_same(name, theirs, ours)
            else:
                assert ours == theirs, shape


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float16"])
def test_views_of_other_dtypes(rng: np.random.Generator, dtype: str) -> None:
    for shape, layout in [((2, 3), "dense"), ((2, 4, 6), "cut"), ((3, 4), "reversed"), ((5,), "dense")]:
        array = rng.standard_normal(shape)
        for source in ("float64", "uint8"):
            call = lambda lib, x: x.to(getattr(lib, source)).view(getattr(lib, dtype))  # noqa: B023
            with np.errstate(invalid="ignore"):
                expected, actual = (outcome(call, lib, np.abs(array), LAYOUTS[layout]) for lib in (torch, dd2424))
            if isinstance(expected, Exception):
                assert isinstance(actual, type(expected))
            else:
                np.testing.assert_array_equal(actual[0].numpy(), expected[0].numpy(), strict=True)
