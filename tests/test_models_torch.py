"""The convolutional networks against PyTorch's layers with the same weights: scores, gradients, statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from dd2424 import models, nn
from test_models_images import images

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.slow]


def theirs(layer: nn.Module) -> Any:
    """The same layers of PyTorch's, freshly drawn."""
    kind = type(layer).__name__
    if isinstance(layer, nn.Conv2d):
        bias = layer.bias is not None
        sizes = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
        return torch.nn.Conv2d(layer.in_channels, layer.out_channels, *sizes, bias=bias)
    if isinstance(layer, nn.Linear):
        return torch.nn.Linear(layer.in_features, layer.out_features)
    if isinstance(layer, nn.BatchNorm2d):
        return torch.nn.BatchNorm2d(layer.num_features)
    if isinstance(layer, nn.MaxPool2d):
        return torch.nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding)
    if isinstance(layer, nn.Sequential):
        return torch.nn.Sequential(*map(theirs, layer))
    return {"ReLU": torch.nn.ReLU, "Identity": torch.nn.Identity}.get(kind, lambda: Block(layer))()


class Block(torch.nn.Module):  # type: ignore[name-defined,misc]
    """A residual block, as its modules say."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.layers = [name for name, _ in block.named_children() if name[:4] == "conv"]
        for name, child in block.named_children():
            setattr(self, name, theirs(child))

    def forward(self, x: Any) -> Any:
        y = x
        for name in self.layers:
            y = getattr(self, name.replace("conv", "bn"))(getattr(self, name)(y))
            y = torch.relu(y) if name != self.layers[-1] else y
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class Network(torch.nn.Module):  # type: ignore[name-defined,misc]
    """The members of one of ours, in order, ReLU after `bn1` and `conv`, and means or rows before products."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        for name, child in model.named_children():
            if name not in ("avgpool", "relu"):
                setattr(self, name, theirs(child))
        self.averages = hasattr(model, "avgpool")

    def forward(self, x: Any) -> Any:
        for name, layer in self.named_children():
            if x.ndim == 4 and name in ("fc", "classifier", "scores", "hidden"):
                x = (x.mean((2, 3)) if self.averages else x).flatten(1)
            x = layer(x)
            if name in ("bn1", "conv", "hidden"):
                x = torch.relu(x)
        return x


NETWORKS = {
    "resnet18": lambda: models.resnet18(num_classes=10, widths=(8, 8, 12, 16)),
    "resnet18, small images": lambda: models.resnet18(num_classes=10, small_images=True, widths=(8, 8, 12, 16)),
    "resnet50": lambda: models.resnet50(num_classes=10, small_images=True, widths=(4, 4, 8, 8), groups=2),
    "patchify": lambda: models.PatchifyConvNet(8, 6, 20),
    "small": lambda: models.SmallConvNet((6, 8), batch_norm=True),
}


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_scores_gradients_and_statistics_are_pytorchs(rng: np.random.Generator, name: str, is_training: bool) -> None:
    ours = NETWORKS[name]().double().train(is_training)  # in float32 a deep network makes rounding errors large
    peer = Network(ours).double().train(is_training)
    state = {k: torch.from_numpy(np.array(v.detach().numpy())) for k, v in ours.state_dict().items()}
    assert list(peer.state_dict()) == list(state)
    peer.load_state_dict(state)
    x = images(rng, 4, 3, 32, 32).double()
    scores, expected = ours(x), peer(torch.from_numpy(x.numpy().copy()))
    labels = np.arange(4)
    nn.functional.cross_entropy(scores, dd2424.from_numpy(labels)).backward()
    torch.nn.functional.cross_entropy(expected, torch.from_numpy(labels)).backward()
    close(scores, expected)
    for (key, p), q in zip(ours.named_parameters(), peer.parameters(), strict=True):
        close(p.grad, q.grad, key)
    for (key, p), q in zip(ours.named_buffers(), peer.buffers(), strict=True):
        close(p, q, key)


def close(ours: Any, theirs: Any, name: str = "scores") -> None:
    """To 1e-9 of the greatest element: of double precision the network may lose what float32 has in all."""
    x, y = (t.detach().numpy().astype(np.float64) for t in (ours, theirs))
    assert np.abs(x - y).max() <= 1e-9 * max(np.abs(y).max(), 1e-3), name
