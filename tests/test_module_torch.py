"""Modules have PyTorch's methods, arguments, reprs and checkpoint keys."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

# fmt: off
LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Linear", (3, 4), {}), ("Linear", (3, 4), {"bias": False}), ("Bilinear", (2, 3, 4), {}), ("Identity", (), {}),
    ("LazyLinear", (4,), {}), ("LazyLinear", (4,), {"bias": False}),
    ("Flatten", (), {}), ("Flatten", (0, 1), {}), ("Unflatten", (1, (2, 3)), {}),
    ("Dropout", (), {}), ("Dropout", (0.2, True), {}), ("Dropout1d", (), {}), ("Dropout2d", (0.1,), {}),
    ("Dropout3d", (), {}), ("AlphaDropout", (), {}), ("FeatureAlphaDropout", (), {}),
    ("Embedding", (5, 3), {}), ("Embedding", (5, 3), {"padding_idx": -1, "max_norm": 1.0, "norm_type": 1.0}),
    ("EmbeddingBag", (5, 3), {}), ("EmbeddingBag", (5, 3), {"mode": "sum", "padding_idx": 2, "max_norm": 1.0}),
    ("CosineSimilarity", (), {}), ("PairwiseDistance", (), {}),
    ("ReLU", (), {}), ("ReLU", (True,), {}), ("ReLU6", (), {}), ("LeakyReLU", (), {}), ("LeakyReLU", (0.2, True), {}),
    ("ELU", (), {}), ("SELU", (), {}), ("CELU", (), {}), ("GELU", (), {}), ("GELU", ("tanh",), {}), ("SiLU", (), {}),
    ("Mish", (), {}), ("Softplus", (), {}), ("Softsign", (), {}), ("Tanh", (), {}), ("Sigmoid", (), {}),
    ("LogSigmoid", (), {}), ("Hardtanh", (), {}), ("Hardtanh", (-2.0, 2.0, True), {}), ("Hardsigmoid", (), {}),
    ("Hardswish", (), {}), ("Hardshrink", (), {}), ("Softshrink", (), {}), ("Tanhshrink", (), {}),
    ("Threshold", (0.1, 20.0), {}), ("GLU", (), {}), ("RReLU", (), {}), ("PReLU", (), {}), ("PReLU", (3,), {}),
    ("Softmax", (1,), {}), ("Softmin", (1,), {}), ("LogSoftmax", (1,), {}), ("Softmax2d", (), {}),
    ("Module", (), {}), ("Sequential", (), {}), ("ModuleList", (), {}), ("ModuleDict", (), {}),
    ("ParameterList", (), {}), ("ParameterDict", (), {}),
]
# fmt: on


def build(library: Any, name: str, args: Any, options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(library.nn, name)(*args, **options)


@pytest.mark.parametrize(("name", "args", "options"), LAYERS)
def test_same_repr_and_keys(name: str, args: Any, options: Any) -> None:
    ours, theirs = build(dd2424, name, args, options), build(torch, name, args, options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    if not ours.has_uninitialized_params() if hasattr(ours, "has_uninitialized_params") else True:
        shapes = [tuple(value.shape) for value in theirs.state_dict().values() if not name.startswith("Lazy")]
        assert [tuple(value.shape) for value in ours.state_dict().values()] == shapes
    assert [p.requires_grad for p in ours.parameters()] == [p.requires_grad for p in theirs.parameters()]


@pytest.mark.parametrize("name", sorted({case[0] for case in LAYERS}))
def test_same_arguments(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(library.nn, name).__init__).parameters for library in (dd2424, torch))
    variadic = inspect.Parameter.VAR_POSITIONAL
    if any(p.kind == variadic for p in theirs.values()):
        return  # what takes anything has none of its own
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_modules_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    rare = {"T_destination", "call_super_init", "dump_patches", "ipu", "mtia", "xpu", "to_empty", "set_submodule"}
    assert public(torch.nn.Module) - public(nn.Module) - rare == set()


# fmt: off
METHODS = [
    "named_parameters", "parameters", "named_modules", "named_buffers", "state_dict", "load_state_dict", "zero_grad",
    "train", "requires_grad_", "register_buffer", "register_parameter", "register_forward_hook", "add_module", "apply",
    "register_forward_pre_hook", "register_full_backward_hook", "get_submodule", "get_parameter",
]
# fmt: on


@pytest.mark.parametrize("method", METHODS)
def test_methods_have_the_same_arguments(method: str) -> None:
    ours, theirs = (inspect.signature(getattr(library.nn.Module, method)).parameters for library in (dd2424, torch))
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    wanted = {p.name: p.default for p in theirs.values() if p.kind in (positional, inspect.Parameter.KEYWORD_ONLY)}
    assert {p.name: p.default for p in ours.values()} == wanted


def network(library: Any) -> Any:
    nn = library.nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
            self.heads = nn.ModuleDict({"a": nn.Linear(4, 1), "b": nn.Sequential(nn.ReLU(), nn.Linear(4, 1))})
            self.scales = nn.ParameterList([library.ones(1), library.ones(2)])
            self.biases = nn.ParameterDict({"x": library.zeros(3)})
            self.shared = self.layers[0]
            self.register_buffer("table", library.zeros(2))
            self.norm = nn.BatchNorm1d(4)

    return Block()


def test_a_network_looks_the_same() -> None:
    ours, theirs = network(dd2424), network(torch)
    assert repr(ours).replace("dd2424", "torch") == repr(theirs).replace("torch.FloatTensor", "torch.float32")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for method in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        mine, other = ([name for name, _ in getattr(net, method)()] for net in (ours, theirs))
        assert mine == other, method


def test_loading_refuses_the_same_state_for_the_same_entries() -> None:
    for library in (dd2424, torch):
        net = network(library)
        state = net.state_dict()
        del state["layers.0.bias"]
        state["more"], state["scales.0"] = library.zeros(1), library.zeros(7)
        with pytest.raises(RuntimeError) as error:
            net.load_state_dict(state)
        for entry in ("layers.0.bias", "more", "scales.0"):
            assert entry in str(error.value), (library, entry)


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (lambda nn, m: setattr(m, "weight", 3), TypeError),
        (lambda nn, m: m.register_parameter("a.b", None), KeyError),
        (lambda nn, m: m.register_buffer("weight", None), KeyError),
        (lambda nn, m: m.add_module("x", 3), TypeError),
        (lambda nn, m: m.get_submodule("x"), AttributeError),
        (lambda nn, m: m.missing, AttributeError),
        (lambda nn, m: m.train("yes"), ValueError),
        (lambda nn, m: m.load_state_dict(3), TypeError),
        (lambda nn, m: nn.Sequential(m)[2], IndexError),
        (lambda nn, m: nn.ModuleList([m])[5], IndexError),
        (lambda nn, m: nn.ModuleDict({"a": m})["b"], KeyError),
        (lambda nn, m: nn.Dropout(2.0), ValueError),
        (lambda nn, m: nn.Embedding(3, 2)(m.weight), RuntimeError),
        (lambda nn, m: nn.Module()(1), NotImplementedError),
    ],
)
def test_same_error_class(action: Any, error: type[Exception]) -> None:
    for library in (torch, dd2424):
        with pytest.raises(error):
            action(library.nn, library.nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["Linear", "Bilinear", "Embedding", "PReLU"])
def test_initial_values_are_spread_alike(name: str) -> None:
    args = {"Linear": (300, 200), "Bilinear": (30, 20, 100), "Embedding": (300, 100), "PReLU": (4,)}[name]
    for ours, theirs in zip(
        build(dd2424, name, args, {}).parameters(), build(torch, name, args, {}).parameters(), strict=True
    ):
        mine, other = ours.detach().numpy(), theirs.detach().numpy()
        np.testing.assert_allclose(mine.std(), other.std(), rtol=0.15, atol=1e-6)
        np.testing.assert_allclose(np.abs(mine).max(), np.abs(other).max(), rtol=0.25)
