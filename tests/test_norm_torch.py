"""Normalisation layers have PyTorch's arguments, reprs, state, values and gradients."""

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
CASES: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("BatchNorm1d", (3,), {}, (6, 3)),
    ("BatchNorm1d", (3,), {"momentum": None, "eps": 0.1}, (6, 3, 4)),
    ("BatchNorm1d", (3,), {"affine": False}, (6, 3)),
    ("BatchNorm1d", (3,), {"bias": False}, (6, 3)),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, (6, 3, 2, 4)),
    ("BatchNorm3d", (3,), {}, (2, 3, 2, 2, 3)),
    ("InstanceNorm1d", (3,), {"affine": True}, (3, 5)),
    ("InstanceNorm1d", (3,), {"track_running_stats": True}, (2, 3, 5)),
    ("InstanceNorm2d", (3,), {}, (2, 3, 4, 5)),
    ("InstanceNorm3d", (3,), {}, (2, 3, 4, 2, 3)),
    ("LayerNorm", (5,), {}, (4, 3, 5)),
    ("LayerNorm", ([3, 5],), {"bias": False}, (4, 3, 5)),
    ("LayerNorm", ((5,),), {"elementwise_affine": False}, (5,)),
    ("RMSNorm", (5,), {}, (4, 5)),
    ("RMSNorm", ([3, 5],), {"eps": 0.1, "elementwise_affine": False}, (4, 3, 5)),
    ("GroupNorm", (2, 4), {}, (3, 4, 5)),
    ("GroupNorm", (4, 4), {"affine": False}, (3, 4)),
    ("LocalResponseNorm", (3,), {"alpha": 0.5}, (2, 6, 4)),
    ("LocalResponseNorm", (4,), {"k": 2.0}, (2, 6, 4, 2)),
]
SIGNATURES = ["SyncBatchNorm"] + [f"Lazy{kind}Norm{d}d" for kind in ("Batch", "Instance") for d in (1, 2, 3)]
# fmt: on
each_case = pytest.mark.parametrize(
    ("name", "args", "options", "shape"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)


def build(library: Any, name: str, args: Any, options: Any) -> Any:
    return getattr(library.nn, name)(*args, **options).double()


@each_case
def test_same_values_and_gradients(rng: np.random.Generator, name: str, args: Any, options: Any, shape: Any) -> None:
    batches, dy = [rng.standard_normal(shape) for _ in range(3)], rng.standard_normal(shape)
    seen = []
    for library in (dd2424, torch):
        layer, results = build(library, name, args, options), []
        for mode in (True, True, False):
            x = library.from_numpy(batches[len(results) // 2].copy()).requires_grad_()
            y = layer.train(mode)(x)
            y.backward(library.from_numpy(dy.copy()))
            results += [y.detach().numpy(), x.grad.numpy()]
        results += [value.numpy() for value in layer.state_dict().values()]
        results += [parameter.grad.numpy() for parameter in layer.parameters()]
        seen.append(results)
    for ours, theirs in zip(*seen, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@each_case
def test_same_repr_and_state(name: str, args: Any, options: Any, shape: Any) -> None:
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for mine, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert str(mine.dtype).split(".")[-1] == str(other.dtype).split(".")[-1]
        np.testing.assert_array_equal(mine.numpy(), other.numpy())


@pytest.mark.parametrize("name", sorted({case[0] for case in CASES} | set(SIGNATURES)))
def test_same_arguments(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(library.nn, name)).parameters for library in (dd2424, torch))
    assert [(p.name, p.default, p.kind) for p in ours.values()] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]


@pytest.mark.parametrize("name", [name for name in SIGNATURES if name.startswith("Lazy")])
def test_lazy_layers_look_the_same(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = getattr(nn, name)(), getattr(torch.nn, name)()
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.has_uninitialized_params() == theirs.has_uninitialized_params()


@pytest.mark.parametrize(
    "name", ["batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize"]
)
def test_functions_have_the_same_arguments(name: str) -> None:
    ours = {p.name: p.default for p in inspect.signature(getattr(nn.functional, name)).parameters.values()}
    theirs = {p.name: p.default for p in inspect.signature(getattr(torch.nn.functional, name)).parameters.values()}
    extra = {"batch_norm": {"relu", "residual"}}.get(name, set())  # what is fused is ours
    assert {k: v for k, v in ours.items() if k not in extra} == {k: v for k, v in theirs.items() if k != "out"}
