"""Small convolutional networks: assignment 3's, which cuts images into patches, and one of 3x3 filters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import Tensor, channels_last, nn
from dd2424.models.fused import conv_relu, images, run_fused
from dd2424.nn import functional as F


def _he(module: nn.Module) -> None:
    """Weights N(0, 2 / fan-in), biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / math.prod(layer.weight.shape[1:])))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class PatchifyConvNet(nn.Module):
    """Filters on patches that do not overlap, a hidden layer, and scores, ReLU between: the ConvNet of assignment 3.

        h = relu(conv(x)), of stride `filter_size`;  s = W_2 relu(W_1 flatten(h) + b_1) + b_2

    All weights ~ N(0, 2 / fan-in), all biases 0. Shapes: input (N, C, size, size); output (N, classes).
    Raises: ValueError where `filter_size` does not divide `size`.
    Source: He et al., "Delving Deep into Rectifiers", arXiv:1502.01852, equation 10.
    """

    def __init__(
        self,
        filter_size: int = 4,
        filters: int = 10,
        hidden: int = 50,
        classes: int = 10,
        *,
        channels: int = 3,
        size: int = 32,
    ) -> None:
        super().__init__()
        if filter_size < 1 or size % filter_size:
            raise ValueError(f"PatchifyConvNet: filter_size must divide the image's size {size}, got {filter_size}")
        patches = (size // filter_size) ** 2
        self.conv = nn.Conv2d(channels, filters, filter_size, filter_size)
        self.hidden = nn.Linear(filters * patches, hidden)
        self.scores = nn.Linear(hidden, classes)
        _he(self)
        self.to(memory_format=channels_last)

    def forward(self, x: Tensor) -> Tensor:
        h = conv_relu(self.conv, images(x)).flatten(1)
        scores: Tensor = self.scores(F.linear(h, self.hidden.weight, self.hidden.bias, activation="relu"))
        return scores


class SmallConvNet(nn.Module):
    """3x3 convolutions with ReLU, each followed by a maximum over 2x2, then a linear layer of scores.

    With `batch_norm` a norm stands before every ReLU. All weights ~ N(0, 2 / fan-in), all biases 0.
    Shapes: input (N, C, size, size); output (N, classes).
    Raises: ValueError where the image cannot be halved so often.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128),
        classes: int = 10,
        *,
        channels: int = 3,
        size: int = 32,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if size % 2 ** len(widths):
            raise ValueError(f"SmallConvNet: size must be a multiple of 2^{len(widths)}, got {size}")
        layers: list[nn.Module] = []
        inputs = channels
        for width in widths:
            norm = [nn.BatchNorm2d(width)] if batch_norm else []
            layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=not batch_norm), *norm, nn.ReLU(), nn.MaxPool2d(2)]
            inputs = width
        self.features = nn.Sequential(*layers)
        self.scores = nn.Linear(inputs * (size // 2 ** len(widths)) ** 2, classes)
        _he(self)
        self.to(memory_format=channels_last)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.scores(run_fused(self.features, images(x)).flatten(1))
        return scores
