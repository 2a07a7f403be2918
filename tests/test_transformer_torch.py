"""The Transformer's parts against PyTorch's: names, signatures, and results and gradients by its weights."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424 import nn

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::UserWarning")]

CLASSES = [
    "TransformerEncoderLayer",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerDecoder",
    "Transformer",
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"batch_first": True},
    {"norm_first": True, "activation": "gelu"},
    {"bias": False, "layer_norm_eps": 1e-3},
]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("method", ["__init__", "forward"])
def test_signatures(name: str, method: str) -> None:
    def stated(module: Any) -> list[tuple[str, Any]]:
        parameters = inspect.signature(getattr(getattr(module, name), method)).parameters.values()
        return [(p.name, getattr(p.default, "__name__", p.default)) for p in parameters]

    assert stated(nn) == stated(torch.nn)


def pair(**options: Any) -> tuple[Any, Any]:
    sizes = (16, 4, 2, 2, 24, 0.0)
    theirs = torch.nn.Transformer(*sizes, dtype=torch.float64, **options)
    ours = nn.Transformer(*sizes, dtype=dd2424.float64, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({key: dd2424.from_numpy(value.numpy()) for key, value in theirs.state_dict().items()})
    return ours, theirs


def compare(ours: Any, theirs: Any, arrays: list[Any], call: Any) -> None:
    """Results, and all gradients of the sum of sines: that of squares is the same for all that a norm gives."""
    found = []
    for library, model in ((dd2424, ours), (torch, theirs)):
        leaves = [library.from_numpy(array.copy()).requires_grad_() for array in arrays]
        y = call(library, model, *leaves)
        (3 * y).sin().sum().backward()
        grads = [t.grad for t in (*leaves, *model.parameters())]
        found.append([t.detach().numpy() for t in (y, *grads) if t is not None])
    for mine, yours in zip(*found, strict=True):
        assert_accurate(mine, yours, roundings=2**10, scale=np.abs(yours).max())


@pytest.mark.parametrize("options", OPTIONS)
def test_a_transformer_with_masks(rng: np.random.Generator, options: dict[str, Any]) -> None:
    ours, theirs = pair(**options)
    src, tgt = rng.standard_normal((2, 5, 3, 16)), rng.standard_normal((2, 5, 3, 16))
    src, tgt = (src[0][:, :3], tgt[0][:, :3]) if options.get("batch_first") else (src[0], tgt[0][:4])
    batch = src.shape[0] if options.get("batch_first") else src.shape[1]
    lengths = (src.shape[1], tgt.shape[1]) if options.get("batch_first") else (src.shape[0], tgt.shape[0])
    padding = np.arange(lengths[0]) >= np.maximum(lengths[0] - np.arange(batch)[:, None] % 2, 1)

    def call(library: Any, model: Any, src: Any, tgt: Any) -> Any:
        mask = library.nn.Transformer.generate_square_subsequent_mask(lengths[1], dtype=library.float64)
        hidden = library.from_numpy(padding)
        return model(src, tgt, tgt_mask=mask, src_key_padding_mask=hidden, memory_key_padding_mask=hidden)

    compare(ours, theirs, [src, tgt], call)


@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("heads", [None, 4])
def test_any_mask(rng: np.random.Generator, kind: str, heads: int | None) -> None:
    ours, theirs = pair()
    src, tgt = rng.standard_normal((5, 2, 16)), rng.standard_normal((4, 2, 16))
    shape = (5, 5) if heads is None else (2 * heads, 5, 5)
    hidden = rng.random(shape) < 0.3
    hidden[..., range(5), range(5)] = False
    mask = hidden if kind == "bool" else rng.standard_normal(shape)

    def call(library: Any, model: Any, src: Any, tgt: Any) -> Any:
        return model(src, tgt, src_mask=library.from_numpy(mask))

    compare(ours, theirs, [src, tgt], call)


@pytest.mark.parametrize("name", CLASSES[:2])
def test_layers_alone(rng: np.random.Generator, name: str) -> None:
    options = {"dropout": 0.0, "batch_first": True}
    theirs = getattr(torch.nn, name)(16, 4, 24, dtype=torch.float64, **options)
    ours = getattr(nn, name)(16, 4, 24, dtype=dd2424.float64, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({key: dd2424.from_numpy(value.numpy()) for key, value in theirs.state_dict().items()})
    count = 1 if name == "TransformerEncoderLayer" else 2
    arrays = [rng.standard_normal((2, 4 + i, 16)) for i in range(count)]
    compare(ours, theirs, arrays, lambda library, model, *inputs: model(*inputs))


@pytest.mark.parametrize("name", CLASSES[:2])
def test_initialisation_has_the_same_spread(name: str) -> None:
    ours, theirs = (dict(getattr(m, name)(64, 4, 256).named_parameters()) for m in (nn, torch.nn))
    for key, value in theirs.items():
        mine = ours[key].detach().numpy()
        assert mine.shape == tuple(value.shape)
        if value.numel() < 512:
            continue
        assert mine.std() == pytest.approx(value.std().item(), rel=0.25, abs=1e-7), key
        assert np.abs(mine).max() == pytest.approx(value.abs().max().item(), rel=0.25), key


def test_the_mask_is_pytorchs() -> None:
    for size in (0, 1, 5):
        ours = nn.Transformer.generate_square_subsequent_mask(size).numpy()
        np.testing.assert_array_equal(ours, torch.nn.Transformer.generate_square_subsequent_mask(size).numpy())


REFUSED = {
    "activation": lambda m: m.nn.TransformerEncoderLayer(8, 2, activation="tanh"),
    "heads": lambda m: m.nn.TransformerEncoderLayer(8, 3),
    "batch": lambda m: m.nn.Transformer(8, 2, 1, 1, 8)(m.ones(3, 2, 8), m.ones(3, 1, 8)),
    "width": lambda m: m.nn.Transformer(8, 2, 1, 1, 8)(m.ones(3, 2, 8), m.ones(3, 2, 4)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_error_classes(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        REFUSED[name](torch)
    with pytest.raises(theirs.type):
        REFUSED[name](dd2424)
