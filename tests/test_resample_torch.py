"""Padding, resizing and rearranging have PyTorch's arguments, reprs, values, gradients, strides and error classes."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import nn

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:Default grid_sample")]

# fmt: off
LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Upsample", (), {"scale_factor": 2}, (2, 3, 4, 5)),
    ("Upsample", (), {"size": 3, "mode": "bilinear"}, (2, 3, 4, 5)),
    ("Upsample", (), {"scale_factor": (2, 3), "mode": "bilinear", "align_corners": True}, (2, 3, 4, 5)),
    ("Upsample", (), {"scale_factor": 1.7, "mode": "linear"}, (2, 3, 9)),
    ("Upsample", (), {"scale_factor": 1.7, "mode": "trilinear", "recompute_scale_factor": True}, (2, 3, 4, 2, 3)),
    ("Upsample", ((7, 2),), {"mode": "bicubic"}, (2, 3, 4, 5)),
    ("Upsample", (6,), {"mode": "nearest-exact"}, (2, 3, 4, 5)),
    ("Upsample", (2,), {"mode": "area"}, (2, 3, 4, 5)),
    ("UpsamplingNearest2d", (), {"size": (3, 3)}, (2, 3, 4, 5)),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, (2, 3, 4, 5)),
    ("PixelShuffle", (2,), {}, (2, 8, 3, 4)),
    ("PixelUnshuffle", (2,), {}, (2, 3, 4, 6)),
    ("ChannelShuffle", (2,), {}, (2, 4, 3, 3)),
    ("Unfold", (2,), {"padding": (1, 1)}, (2, 3, 4, 5)),
    ("Fold", ((4, 5), 2), {}, (2, 12, 12)),
    *((f"{kind}Pad{d}d", (p, *([0.5] if kind == "Constant" else [])), {}, (2, 3, 4, 5, 6)[:d + 2])
      for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular") for d in (1, 2, 3)
      for p in (1, (1, 2) * d)),
]
# fmt: on
each_layer = pytest.mark.parametrize(
    ("name", "args", "options", "shape"), LAYERS, ids=lambda v: v if isinstance(v, str) else ""
)


def arguments(module: Any, name: str) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in inspect.signature(getattr(module, name)).parameters.values()]


@each_layer
def test_layers(rng: np.random.Generator, name: str, args: Any, options: Any, shape: Any) -> None:
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    signatures = [inspect.signature(getattr(library.nn, name)).parameters for library in (dd2424, torch)]
    assert [(p.name, p.default) for p in signatures[0].values()] == [
        (p.name, p.default) for p in signatures[1].values()
    ]
    x, results, dy = rng.standard_normal(shape), [], None
    for library, layer in ((dd2424, ours), (torch, theirs)):
        leaf = library.from_numpy(x.copy()).requires_grad_()
        y = layer(leaf)
        dy = rng.standard_normal(tuple(y.shape)) if dy is None else dy
        y.backward(library.from_numpy(dy.copy()))
        results.append((y.detach().numpy(), leaf.grad.numpy()))
    for mine, other in zip(*results, strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-12)


FUNCTIONS = ["affine_grid", "fold", "grid_sample", "interpolate", "pad", "unfold", "upsample", "upsample_bilinear",
             "upsample_nearest"]  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_the_same_arguments(name: str) -> None:
    assert arguments(nn.functional, name) == arguments(torch.nn.functional, name)


# fmt: off
CALLS: dict[str, Any] = {
    "pad": lambda F, x: F.pad(x, (1, 2, 0, 1)),
    "reflect": lambda F, x: F.pad(x, (1, 2, -1, 1), "reflect"),
    "replicate": lambda F, x: F.pad(x, (7, 2, 0, -1), "replicate"),
    "circular": lambda F, x: F.pad(x, (1, 2, 2, -1), "circular"),
    **{f"{mode} to {size}": lambda F, x, mode=mode, size=size: F.interpolate(x, size, mode=mode)
       for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area") for size in ((8, 12), (3, 2), (5, 6))},
    **{f"{mode} by {scale}": lambda F, x, mode=mode, scale=scale: F.interpolate(x, scale_factor=scale, mode=mode)
       for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area") for scale in (1.7, 0.6)},
    **{f"{mode} antialiased to {size}":
       lambda F, x, mode=mode, size=size: F.interpolate(x, size, mode=mode, antialias=True)
       for mode in ("bilinear", "bicubic", "lanczos") for size in ((8, 12), (3, 2))},
    "aligned": lambda F, x: F.interpolate(x, (9, 3), mode="bicubic", align_corners=True),
    "pixel_shuffle": lambda F, x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda F, x: F.pixel_unshuffle(x, 2),
    "channel_shuffle": lambda F, x: F.channel_shuffle(x, 2),
    "unfold": lambda F, x: F.unfold(x, 3, dilation=(1, 2), padding=2, stride=(2, 1)),
}
# fmt: on


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True])
def test_values_gradients_and_strides(rng: np.random.Generator, name: str, dtype: Any, channels_last: bool) -> None:
    x, results, dy = rng.standard_normal((2, 4, 4, 6)).astype(dtype), [], None
    for library in (dd2424, torch):
        leaf = library.from_numpy(x.copy())
        if channels_last:
            leaf = leaf.to(memory_format=library.channels_last)
        y = CALLS[name](library.nn.functional, leaf.requires_grad_())
        dy = rng.standard_normal(tuple(y.shape)).astype(dtype) if dy is None else dy
        y.backward(library.from_numpy(dy.copy()))
        assert str(y.dtype).split(".")[-1] == np.dtype(dtype).name
        results.append((tuple(y.stride()), y.detach().numpy(), leaf.grad.numpy()))
    assert results[0][0] == results[1][0]
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for mine, other in zip(results[0][1:], results[1][1:], strict=True):
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=4 * tolerance)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True, None])
def test_grid_sample(rng: np.random.Generator, mode: str, padding: str, align_corners: bool | None) -> None:
    x, grid = rng.standard_normal((2, 3, 5, 6)), rng.uniform(-1.7, 1.7, (2, 9, 8, 2))
    dy, results = rng.standard_normal((2, 3, 9, 8)), []
    for library in (dd2424, torch):
        leaves = [library.from_numpy(v.copy()).requires_grad_() for v in (x, grid)]
        y = library.nn.functional.grid_sample(*leaves, mode, padding, align_corners)
        y.backward(library.from_numpy(dy.copy()))
        results.append([y.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)])
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-10)


# fmt: off
MISTAKES: dict[str, Any] = {
    "odd pads": lambda F, x: F.pad(x, (1,)),
    "too many pads": lambda F, x: F.pad(x, (1,) * 10),
    "cut too much": lambda F, x: F.pad(x, (-4, -4)),
    "reflects too far": lambda F, x: F.pad(x, (6, 0, 0, 0), "reflect"),
    "wraps twice": lambda F, x: F.pad(x, (7, 0, 0, 0), "circular"),
    "unknown pad mode": lambda F, x: F.pad(x, (1, 1, 1, 1), "edge"),
    "dimensions that do not reflect": lambda F, x: F.pad(x, (1, 1), "reflect"),
    "no size": lambda F, x: F.interpolate(x),
    "size and scale": lambda F, x: F.interpolate(x, 3, 2.0),
    "few sizes": lambda F, x: F.interpolate(x, (3,)),
    "empty size": lambda F, x: F.interpolate(x, 0),
    "unknown mode": lambda F, x: F.interpolate(x, 3, mode="foo"),
    "linear images": lambda F, x: F.interpolate(x, 3, mode="linear"),
    "corners of nearest": lambda F, x: F.interpolate(x, 3, align_corners=True),
    "antialiased nearest": lambda F, x: F.interpolate(x, 3, antialias=True),
    "lanczos alone": lambda F, x: F.interpolate(x, 3, mode="lanczos"),
    "integers": lambda F, x: F.interpolate(x.long(), 3, mode="bilinear"),
    "nearest integers": lambda F, x: F.interpolate(x.long(), 3),
    "large kernel": lambda F, x: F.unfold(x, 9),
    "no stride": lambda F, x: F.unfold(x, 2, stride=0),
    "wrong columns": lambda F, x: F.fold(x[0], (4, 5), 2),
    "channels": lambda F, x: F.pixel_shuffle(x, 3),
    "grid mode": lambda F, x: F.grid_sample(x, x[..., :2], "foo"),
    "grid batch": lambda F, x: F.grid_sample(x, x[:1, ..., :2]),
    "grid dtype": lambda F, x: F.grid_sample(x, x[..., :2].float()),
    "affine shape": lambda F, x: F.affine_grid(x[0], (2, 3, 4, 5)),
    "affine size": lambda F, x: F.affine_grid(x[0], (2, 3, 4)),
}
# fmt: on


@pytest.mark.parametrize("name", MISTAKES)
def test_the_same_error_class(name: str) -> None:
    classes = []
    for library in (dd2424, torch):
        x = library.ones(2, 4, 4, 6, dtype=library.float64)
        with pytest.raises(Exception) as caught:
            MISTAKES[name](library.nn.functional, x)
        classes.append(caught.type)
    assert classes[0] == classes[1]
