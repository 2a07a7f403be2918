"""Creation, copies, random numbers and activations beside PyTorch's: names, defaults, dtypes, layouts, errors."""

from __future__ import annotations

import inspect
import itertools
import math
from typing import Any

import numpy as np
import pytest

import dd2424
import dd2424.nn.functional as F

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

DTYPES = ["float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def agree(theirs: Any, ours: Any) -> None:
    assert str(theirs.dtype)[6:] == ours.dtype.name
    assert tuple(theirs.shape) == tuple(ours.shape)
    np.testing.assert_array_equal(ours.double().numpy(), theirs.double().numpy())


CALLS = {
    "arange of ints": lambda m: m.arange(2, 9, 3),
    "arange of floats": lambda m: m.arange(0, 1, 0.25),
    "arange down": lambda m: m.arange(5, -1, -2),
    "arange as bfloat16": lambda m: m.arange(5, dtype=m.bfloat16),
    "full of an int": lambda m: m.full((2,), 3),
    "full of a bool": lambda m: m.full((2,), True),
    "full of a float": lambda m: m.full((2,), 1.5),
    "eye": lambda m: m.eye(2, 3),
    "tensor of ints": lambda m: m.tensor([1, 2]),
    "tensor of mixed": lambda m: m.tensor([1, 2.5, True]),
    "tensor of bools": lambda m: m.tensor([True]),
    "tensor of float64": lambda m: m.tensor(np.float64(2)),
    "empty tensor": lambda m: m.tensor([]),
    "scalar_tensor": lambda m: m.scalar_tensor(3),
    "as_tensor": lambda m: m.as_tensor([1.0, 2.0]),
    "zeros_like as int": lambda m: m.zeros_like(m.ones(2), dtype=m.int32),
    "linspace": lambda m: m.linspace(0, 1, 5),
    "linspace as int": lambda m: m.linspace(0, 10, 5, dtype=m.int64),
    "tril_indices": lambda m: m.tril_indices(3, 4, -1),
    "triu_indices": lambda m: m.triu_indices(3, 4, 1),
    "vander": lambda m: m.vander(m.tensor([1.0, 2.0, 3.0])),
    "new_full": lambda m: m.ones(2).new_full((2,), 3),
    "new_tensor": lambda m: m.ones(2, dtype=m.float64).new_tensor([1.5]),
    "half is IEEE": lambda m: m.tensor([65519.0, 65520.0, 1e-8]).half(),
    "frombuffer": lambda m: m.frombuffer(bytearray(b"abcd"), dtype=m.uint8),
    "empty_strided": lambda m: m.empty_strided((2, 3), (1, 2)).fill_(1),
}


@pytest.mark.parametrize("name", CALLS)
def test_creation(name: str) -> None:
    agree(CALLS[name](torch), CALLS[name](dd2424))


@pytest.mark.parametrize("source", DTYPES)
def test_conversions(source: str) -> None:
    """Within what the target holds, and for integers also beyond it."""
    data = [0, 1, 1, 0] if source == "bool" else [0, 1, 100, 7] if source == "uint8" else [0, 1, 100, -7]
    data += [0.5, -2.75] if "float" in source else [] if source in ("bool", "uint8") else [-100, 127]
    for target in DTYPES:
        if target == "uint8" and "float" in source:
            continue  # negative floats to unsigned integers are undefined in C
        agree(*(m.tensor(data, dtype=getattr(m, source)).to(getattr(m, target)) for m in (torch, dd2424)))


def test_integers_wrap_alike() -> None:
    for target in ("int8", "uint8", "int16", "int32"):
        agree(*(m.tensor([300, -300, 2**31, 2**40 + 3, -1]).to(getattr(m, target)) for m in (torch, dd2424)))


LAYOUTS = {
    "contiguous": lambda m: m.ones(2, 3, 4, 5), "reversed": lambda m: m.ones(5, 4, 3, 2).permute(3, 2, 1, 0),
    "channels last": lambda m: m.ones(2, 4, 5, 3).permute(0, 3, 1, 2), "expanded": lambda m: m.ones(3, 1).expand(3, 4),
    "sliced": lambda m: m.ones(4, 6)[:, ::2], "transposed": lambda m: m.ones(2, 4, 3).transpose(1, 2),
}  # fmt: skip
COPIES = {
    "clone": lambda m, x: x.clone(),
    "double": lambda m, x: x.double(),
    "contiguous": lambda m, x: x.contiguous(),
    "empty_like": lambda m, x: m.empty_like(x),
    "rand_like": lambda m, x: m.rand_like(x),
    "bernoulli": lambda m, x: m.bernoulli(x),
    "zeros_like": lambda m, x: m.zeros_like(x, dtype=m.int64),
    "randint_like": lambda m, x: m.randint_like(x, 5),
    "dropout": lambda m, x: m.nn.functional.dropout(x, 0.5),
    "softmax": lambda m, x: m.softmax(x, 0),
    "clone as rows": lambda m, x: x.clone(memory_format=m.contiguous_format),
    "full_like": lambda m, x: m.full_like(x, 2.0, memory_format=m.contiguous_format),
}


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(name: str, layout: str) -> None:
    theirs, ours = (COPIES[name](m, LAYOUTS[layout](m)) for m in (torch, dd2424))
    assert theirs.stride() == tuple(ours.stride())


def test_channels_last() -> None:
    for m in (torch, dd2424):
        x = m.arange(120.0).reshape(2, 3, 4, 5).contiguous(memory_format=m.channels_last)
        assert x.is_contiguous(memory_format=m.channels_last)
        assert tuple(x.stride()) == (60, 1, 15, 3)
        assert tuple((x + 1).stride()) == tuple(m.relu(x).stride()) == tuple(x.clone().stride()) == (60, 1, 15, 3)
        with pytest.raises(RuntimeError):
            m.ones(2).contiguous(memory_format=m.channels_last)


ERRORS = [
    lambda m: m.arange(0, 5, 0),
    lambda m: m.arange(5, 0),
    lambda m: m.zeros(-1),
    lambda m: m.tensor("abc"),
    lambda m: m.from_numpy([1]),
    lambda m: m.linspace(0, 1, -1),
    lambda m: m.full((2,), "a"),
    lambda m: m.tensor([1], requires_grad=True),
    lambda m: m.from_numpy(np.ones(3)[::-1]),
    lambda m: m.randperm(-1),
    lambda m: m.randint(5, 5, (2,)),
    lambda m: m.randint(0, 300, (2,), dtype=m.uint8),
    lambda m: m.randn_like(m.tensor([1])),
    lambda m: m.bernoulli(m.tensor([1.5])),
    lambda m: m.empty(2).normal_(0, -1),
    lambda m: m.empty(2).uniform_(2, 1),
    lambda m: m.multinomial(m.ones(2), 3),
    lambda m: m.multinomial(m.zeros(2), 1),
    lambda m: m.empty(2).geometric_(1),
    lambda m: m.nn.functional.dropout(m.ones(2), 1.5),
    lambda m: m.ones(2).copy_(m.ones(3)),
    lambda m: m.finfo(m.int64),
    lambda m: m.iinfo(m.float32),
    lambda m: m.set_default_dtype(m.int64),
    lambda m: m.nn.functional.glu(m.ones(3)),
    lambda m: m.nn.functional.softshrink(m.ones(1), -1),
    lambda m: m.nn.functional.softmax(m.ones(2), 1),
    lambda m: m.nn.functional.prelu(m.ones(2, 3), m.ones(2)),
    lambda m: m.nn.functional.gelu(m.ones(1), approximate="erf"),
    lambda m: m.empty(2).exponential_(0),
    lambda m: m.ones(2, requires_grad=True).zero_(),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_error_classes(number: int) -> None:
    with pytest.raises(Exception) as theirs:
        ERRORS[number](torch)
    with pytest.raises(theirs.type):
        ERRORS[number](dd2424)


ACTIVATIONS = [
    "relu",
    "relu_",
    "relu6",
    "leaky_relu",
    "leaky_relu_",
    "prelu",
    "rrelu",
    "rrelu_",
    "elu",
    "elu_",
    "selu",
    "selu_",
    "celu",
    "celu_",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "hardtanh",
    "hardtanh_",
    "hardsigmoid",
    "hardswish",
    "hardshrink",
    "softshrink",
    "tanhshrink",
    "softsign",
    "logsigmoid",
    "threshold",
    "threshold_",
    "glu",
    "sigmoid",
    "tanh",
    "softmax",
    "softmin",
    "log_softmax",
    "gumbel_softmax",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_alpha_dropout",
]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_signatures_of_activations(name: str) -> None:
    """The same parameters with the same defaults, wherever PyTorch's are written in Python."""
    try:
        theirs = inspect.signature(getattr(torch.nn.functional, name))
    except ValueError:
        assert callable(getattr(F, name))
        return
    ours = inspect.signature(getattr(F, name))
    defaults = lambda signature: {p.name: p.default for p in signature.parameters.values()}
    assert list(theirs.parameters) == list(ours.parameters)
    for parameter, default in defaults(theirs).items():
        mine = defaults(ours)[parameter]
        assert mine == default or (isinstance(default, float) and math.isclose(mine, default)), parameter


@pytest.mark.parametrize(
    "name", ["softmax", "log_softmax", "softmin", "glu", "gelu", "softplus", "mish", "selu", "celu"]
)
def test_activations_agree(rng: np.random.Generator, name: str) -> None:
    for shape, arguments in itertools.product([(6,), (3, 4), (2, 4, 3)], [(), (0,)]):
        if arguments and "softm" not in name:
            continue
        if name == "glu":
            shape = (*shape[:-1], 4)
        x = rng.normal(size=shape) * 3
        arguments = arguments or ((1 if len(shape) == 2 else 0,) if "softm" in name else ())
        theirs = getattr(torch.nn.functional, name)(torch.from_numpy(x), *arguments)
        ours = getattr(F, name)(dd2424.from_numpy(x), *arguments)
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12, atol=1e-15)


# fmt: off
FUNCTIONS = [
    "tensor", "as_tensor", "asarray", "from_numpy", "frombuffer", "from_dlpack", "scalar_tensor", "empty",
    "empty_strided", "zeros", "ones", "full", "empty_like", "zeros_like", "ones_like", "full_like", "arange",
    "range", "linspace", "logspace", "eye", "tril_indices", "triu_indices", "vander", "rand", "randn",
    "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli", "multinomial",
    "manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state", "default_generator", "Generator",
    "dropout", "alpha_dropout", "finfo", "iinfo", "promote_types", "result_type", "get_default_dtype",
    "set_default_dtype", "clone",
]
METHODS = [
    "new_tensor", "new_zeros", "new_ones", "new_full", "new_empty", "clone", "contiguous", "to", "type",
    "type_as", "float", "double", "half", "bfloat16", "long", "int", "short", "char", "byte", "bool", "copy_",
    "fill_", "zero_", "uniform_", "normal_", "bernoulli_", "exponential_", "cauchy_", "log_normal_",
    "geometric_", "random_", "bernoulli", "multinomial", "detach", "detach_", "numpy", "tolist", "item",
]
# fmt: on


def test_names() -> None:
    assert [n for n in FUNCTIONS if hasattr(torch, n) and not hasattr(dd2424, n)] == []
    assert [n for n in METHODS if hasattr(torch.Tensor, n) and not hasattr(dd2424.Tensor, n)] == []
    generator = ["manual_seed", "initial_seed", "seed", "get_state", "set_state"]
    assert [n for n in generator if not hasattr(dd2424.Generator, n)] == []
