"""Attention has PyTorch's arguments, values, gradients, state and refusals."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import dd2424

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

# fmt: off
SHAPES = [((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 6)), ((3, 5, 8), (3, 5, 8), (3, 5, 8)), ((5, 4), (7, 4), (7, 2)),
          ((2, 2, 3, 5, 8), (2, 2, 3, 7, 8), (2, 2, 3, 7, 8)), ((2, 1, 5, 8), (1, 3, 7, 8), (2, 3, 7, 6))]
OPTIONS: list[dict[str, Any]] = [{}, {"is_causal": True}, {"scale": 0.3}, {"mask": "boolean"}, {"mask": "added"}]
# fmt: on


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_same_values_and_gradients(rng: np.random.Generator, shapes: Any, options: dict[str, Any]) -> None:
    arrays = [rng.standard_normal(shape) for shape in shapes]
    options = dict(options)
    kind, size = options.pop("mask", None), (shapes[0][-2], shapes[1][-2])
    mask = {"boolean": rng.random(size) > 0.4, "added": rng.standard_normal(size)}.get(kind)
    seen = []
    for library in (dd2424, torch):
        leaves = [library.from_numpy(x.copy()).requires_grad_() for x in arrays]
        given = None if mask is None else library.from_numpy(mask)
        y = library.nn.functional.scaled_dot_product_attention(*leaves, given, **options)
        (y * y).sum().backward()
        seen.append([y.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)])
    for ours, theirs in zip(*seen, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_same_groups_of_heads(rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal((2, heads, 5, 4)) for heads in (6, 2, 2)]
    results = [library.nn.functional.scaled_dot_product_attention(
        *map(library.from_numpy, arrays), enable_gqa=True).numpy() for library in (dd2424, torch)]  # fmt: skip
    np.testing.assert_allclose(*results, rtol=1e-12)


# fmt: off
LAYERS: list[dict[str, Any]] = [
    {}, {"bias": False}, {"batch_first": True}, {"add_bias_kv": True}, {"add_zero_attn": True, "batch_first": True},
    {"kdim": 5, "vdim": 7}, {"kdim": 5, "vdim": 7, "batch_first": True, "add_bias_kv": True, "add_zero_attn": True},
]
# fmt: on


def both_layers(options: dict[str, Any]) -> list[Any]:
    theirs = torch.nn.MultiheadAttention(8, 2, dtype=torch.float64, **options)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ours = dd2424.nn.MultiheadAttention(8, 2, dtype=dd2424.float64, **options)
    state = {name: dd2424.from_numpy(value.numpy().copy()) for name, value in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    return [ours, theirs]


MASKS = ["none", "padding", "square", "each", "both", "added", "mixed", "causal"]


def masks(rng: np.random.Generator, kind: str) -> dict[str, Any]:
    padding, square, each = rng.random((3, 6)) > 0.7, rng.random((4, 6)) > 0.7, rng.random((6, 4, 6)) > 0.7
    padding[:, 0] = square[:, 0] = each[:, :, 0] = False
    return {
        "none": {}, "padding": {"key_padding_mask": padding}, "square": {"attn_mask": square},
        "each": {"attn_mask": each}, "both": {"attn_mask": each, "key_padding_mask": padding},
        "added": {"attn_mask": rng.standard_normal((4, 6))},
        "mixed": {"attn_mask": rng.standard_normal((6, 4, 6)), "key_padding_mask": rng.standard_normal((3, 6))},
        "causal": {"attn_mask": np.triu(np.ones((4, 6), bool), 1), "is_causal": True},
    }[kind]  # fmt: skip


@pytest.mark.parametrize("options", LAYERS, ids=str)
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("need_weights", [False, True])
def test_multihead_attention_is_the_same(
    rng: np.random.Generator, options: dict[str, Any], kind: str, need_weights: bool
) -> None:
    if kind == "causal" and (options.get("add_bias_kv") or options.get("add_zero_attn")):
        pytest.skip("PyTorch lets is_causal hide the rows that it has itself added")
    shapes = ((4, 3, 8), (6, 3, options.get("kdim", 8)), (6, 3, options.get("vdim", 8)))
    arrays = [rng.standard_normal(s) for s in shapes]
    arrays = [x.swapaxes(0, 1).copy() for x in arrays] if options.get("batch_first") else arrays
    given, seen = masks(rng, kind), []
    for library, layer in zip((dd2424, torch), both_layers(options), strict=True):
        leaves = [library.from_numpy(x.copy()).requires_grad_() for x in arrays]
        extra = {name: library.from_numpy(m) if isinstance(m, np.ndarray) else m for name, m in given.items()}
        y, weights = layer(*leaves, need_weights=need_weights, **extra)
        (y * y).sum().backward()
        results = [y, *(leaf.grad for leaf in leaves), *(p.grad for p in layer.parameters())]
        results += [weights] if need_weights else []
        seen.append([x.detach().numpy() for x in results])
    for ours, theirs in zip(*seen, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("average", [False, True])
def test_unbatched_self_attention_is_the_same(rng: np.random.Generator, average: bool) -> None:
    x, padding = rng.standard_normal((6, 8)), np.arange(6) > 3
    seen = []
    for library, layer in zip((dd2424, torch), both_layers({"batch_first": True}), strict=True):
        t = library.from_numpy(x)
        y, weights = layer(t, t, t, library.from_numpy(padding), average_attn_weights=average)
        seen.append((y.detach().numpy(), weights.detach().numpy()))
    for ours, theirs in zip(*seen, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("options", LAYERS, ids=str)
def test_same_repr(options: dict[str, Any]) -> None:
    ours, theirs = dd2424.nn.MultiheadAttention(8, 2, **options), torch.nn.MultiheadAttention(8, 2, **options)
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizable", "")
    for name in ("embed_dim", "kdim", "vdim", "num_heads", "head_dim", "dropout", "batch_first", "_qkv_same_embed_dim"):
        assert getattr(ours, name) == getattr(theirs, name)


def test_same_arguments() -> None:
    def arguments(function: Any) -> list[tuple[str, Any]]:
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in parameters if p.name not in ("window", "offset")]

    layers = (dd2424.nn.MultiheadAttention, torch.nn.MultiheadAttention)
    for name in ("__init__", "forward"):
        ours, theirs = (arguments(getattr(layer, name)) for layer in layers)
        assert ours == theirs
    ours, theirs = (arguments(library.nn.functional.multi_head_attention_forward) for library in (dd2424, torch))
    assert [x for x in ours if x[0] != "batch_first"] == theirs
    assert arguments(dd2424.nn.functional.scaled_dot_product_attention) == [
        ("query", inspect.Parameter.empty), ("key", inspect.Parameter.empty), ("value", inspect.Parameter.empty),
        ("attn_mask", None), ("dropout_p", 0.0), ("is_causal", False), ("scale", None), ("enable_gqa", False),
    ]  # fmt: skip


def test_a_backend_may_be_asked_for() -> None:
    q = dd2424.ones(1, 2, 3, 4)
    assert {b.name: b.value for b in dd2424.nn.attention.SDPBackend} == {
        name: int(b) for name, b in torch.nn.attention.SDPBackend.__members__.items()
    }
    backend = dd2424.nn.attention.SDPBackend.FLASH_ATTENTION
    for backends in (backend, [backend]):
        with dd2424.nn.attention.sdpa_kernel(backends):
            assert dd2424.nn.functional.scaled_dot_product_attention(q, q, q).shape == q.shape
    with pytest.raises(AssertionError, match="backends must be SDPBackend or a list of them, got 'flash'"):
        dd2424.nn.attention.sdpa_kernel("flash").__enter__()


# fmt: off
REFUSED: list[dict[str, Any]] = [
    {"query": (4,)}, {"key": (2, 3, 6, 5)}, {"key": (2, 2, 6, 4)}, {"attn_mask": (6, 5)},
    {"dropout_p": 1.5}, {"dropout_p": -0.1},
]
# fmt: on


@pytest.mark.parametrize("changes", REFUSED, ids=str)
def test_refused_by_the_same_class(changes: dict[str, Any]) -> None:
    shapes = {"query": (2, 3, 5, 4), "key": (2, 3, 6, 4), "value": (2, 3, 6, 4), **changes}
    classes = []
    for library in (dd2424, torch):
        arguments = {name: library.ones(x) if isinstance(x, tuple) else x for name, x in shapes.items()}
        with pytest.raises(Exception) as caught:
            library.nn.functional.scaled_dot_product_attention(**arguments)
        classes.append(caught.type)
    assert classes[0] is classes[1]
