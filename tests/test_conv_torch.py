"""Convolutions have PyTorch's arguments, reprs, state, values, gradients, memory formats and error classes."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")]

# fmt: off
LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Conv1d", (4, 6, 3), {}, (2, 4, 9)),
    ("Conv1d", (4, 6, 3), {"padding": "same", "dilation": 2}, (4, 9)),
    ("Conv2d", (4, 6, 3), {"stride": 2, "padding": 1}, (2, 4, 9, 8)),
    ("Conv2d", (4, 6, (3, 1)), {"padding": "valid", "bias": False}, (2, 4, 9, 8)),
    ("Conv2d", (4, 6, (2, 3)), {"padding": "same"}, (4, 9, 8)),
    ("Conv2d", (4, 8, 3), {"groups": 4, "padding": (0, 2), "dilation": (1, 2)}, (2, 4, 9, 8)),
    ("Conv3d", (2, 3, 2), {"stride": (1, 2, 1)}, (2, 2, 4, 5, 6)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1}, (2, 4, 9)),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 5, 6)),
    ("ConvTranspose2d", (4, 6, 3), {"dilation": 2, "output_padding": 1, "bias": False}, (4, 5, 6)),
    ("ConvTranspose3d", (2, 3, 2), {"stride": 2}, (1, 2, 3, 2, 3)),
]
NAMES = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]
# fmt: on
each_layer = pytest.mark.parametrize(
    ("name", "args", "options", "shape"), LAYERS, ids=lambda v: v if isinstance(v, str) else ""
)


@each_layer
def test_same_values_and_gradients(rng: np.random.Generator, name: str, args: Any, options: Any, shape: Any) -> None:
    theirs, ours = getattr(torch.nn, name)(*args, **options).double(), getattr(nn, name)(*args, **options).double()
    ours.load_state_dict({key: dd2424.from_numpy(value.numpy()) for key, value in theirs.state_dict().items()})
    x, seen = rng.standard_normal(shape), []
    for library, layer in ((dd2424, ours), (torch, theirs)):
        leaf = library.from_numpy(x.copy()).requires_grad_()
        y = layer(leaf)
        (y * y).sum().backward()
        results = [y.detach(), leaf.grad, *(p.grad for p in layer.parameters())]
        seen.append([t.numpy() for t in results])
    for mine, other in zip(*seen, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-12)


@each_layer
def test_same_repr_and_state(name: str, args: Any, options: Any, shape: Any) -> None:
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    mine, other = ours.state_dict(), theirs.state_dict()
    assert {k: tuple(v.shape) for k, v in mine.items()} == {k: tuple(v.shape) for k, v in other.items()}


@pytest.mark.parametrize("name", NAMES)
def test_initial_values_have_their_range(name: str) -> None:
    """The largest of many uniform numbers is near to the bound."""
    ours, theirs = (getattr(library.nn, name)(64, 256, 2, groups=4).state_dict() for library in (dd2424, torch))
    for key in ("weight", "bias"):
        assert abs(float(ours[key].abs().max()) / float(theirs[key].abs().max()) - 1) < 0.1


@pytest.mark.parametrize("name", [*NAMES, *(f"Lazy{name}" for name in NAMES)])
def test_same_arguments(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(library.nn, name)).parameters for library in (dd2424, torch))
    assert [(p.name, p.default, p.kind) for p in ours.values()] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]


@pytest.mark.parametrize("name", [f"Lazy{name}" for name in NAMES])
def test_lazy_layers_look_the_same(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = getattr(nn, name)(6, 3, groups=2), getattr(torch.nn, name)(6, 3, groups=2)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(nn.parameter.is_lazy(p) == torch.nn.parameter.is_lazy(q)
               for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))  # fmt: skip


FORMATS = ("contiguous", "channels_last", "transposed", "strided")


def tensor(library: Any, shape: tuple[int, ...], layout: str) -> Any:
    last = library.channels_last if len(shape) == 4 else library.channels_last_3d
    if layout == "channels_last":
        return library.ones(*shape).contiguous(memory_format=last)
    if layout == "transposed":
        return library.ones(*shape[::-1]).permute(*range(len(shape))[::-1])
    return library.ones(*shape[:-1], 2 * shape[-1])[..., ::2] if layout == "strided" else library.ones(*shape)


@pytest.mark.parametrize("layouts", [(x, w) for x in FORMATS for w in FORMATS], ids=" ".join)
@pytest.mark.parametrize(
    ("image", "filters"),
    [((2, 4, 5, 6), (3, 4, 3, 3)), ((2, 4, 5, 6), (3, 4, 1, 1)), ((2, 1, 5, 6), (3, 1, 2, 2)),
     ((2, 4, 1, 1), (3, 4, 1, 1)), ((2, 4, 3, 4, 5), (3, 4, 2, 2, 2))],
)  # fmt: skip
def test_results_lie_in_memory_as_theirs(image: Any, filters: Any, layouts: tuple[str, str]) -> None:
    strides = []
    for library in (dd2424, torch):
        x, weight = (tensor(library, s, layout) for s, layout in zip((image, filters), layouts, strict=True))
        conv = library.nn.functional.conv2d if len(image) == 4 else library.nn.functional.conv3d
        y = conv(x, weight)
        strides.append([tuple(y.stride()), y.is_contiguous()])
    assert strides[0] == strides[1]


@pytest.mark.parametrize(
    "name", ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
)
def test_functions_have_their_arguments(name: str) -> None:
    """PyTorch states them in the docstring: its functions are built-in."""
    given = (torch.nn.functional.__dict__[name].__doc__ or "").partition(f"{name}(")[2].partition(")")[0]
    theirs = [part.partition("=")[0].strip() for part in given.split(",")]
    ours = inspect.signature(getattr(nn.functional, name)).parameters.values()
    assert [p.name for p in ours if p.kind is not p.KEYWORD_ONLY] == theirs


@pytest.mark.parametrize(
    ("image", "filters", "options"),
    [
        ((2, 4, 5, 6), (8, 3, 3, 3), {}),
        ((4, 5), (8, 4, 3, 3), {}),
        ((2, 4, 5, 6), (8, 4, 9, 3), {}),
        ((2, 4, 5, 6), (8, 4, 3, 3), {"stride": 0}),
        ((2, 4, 5, 6), (8, 4, 3, 3), {"padding": -1}),
        ((2, 4, 5, 6), (8, 4, 3, 3), {"dilation": 0}),
        ((2, 4, 5, 6), (8, 4, 3, 3), {"padding": (1, 1, 1)}),
        ((2, 4, 5, 6), (8, 1, 3, 3), {"groups": 3}),
        ((2, 4, 5, 6), (8, 4, 3, 3), {"padding": "same", "stride": 2}),
        ((2, 4, 5, 6), (8, 4, 3), {}),
    ],
)
def test_same_error_classes(image: Any, filters: Any, options: Any) -> None:
    classes = []
    for library in (dd2424, torch):
        with pytest.raises(Exception) as refusal:
            library.nn.functional.conv2d(library.ones(*image), library.ones(*filters), **options)
        classes.append(refusal.type)
    assert classes[0] is classes[1]
