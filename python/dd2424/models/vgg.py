"""VGG: stacks of 3x3 convolutions, with and without batch normalization, for ImageNet and for small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dd2424 import Tensor, channels_last, nn
from dd2424.models.fused import images, run_fused

# Channels of each 3x3 convolution; None is a maximum over 2x2. Table 1 of the paper, columns A, B, D and E.
LAYERS: dict[int, list[int | None]] = {
    11: [64, None, 128, None, 256, 256, None, 512, 512, None, 512, 512, None],
    13: [64, 64, None, 128, 128, None, 256, 256, None, 512, 512, None, 512, 512, None],
    16: [64] * 2 + [None] + [128] * 2 + [None] + [256] * 3 + [None] + [512] * 3 + [None] + [512] * 3 + [None],
    19: [64] * 2 + [None] + [128] * 2 + [None] + [256] * 4 + [None] + [512] * 4 + [None] + [512] * 4 + [None],
}  # fmt: skip


def make_layers(layers: Sequence[int | None], batch_norm: bool = False) -> nn.Sequential:
    """Convolutions of so many channels, each with ReLU and, if asked for, a norm between; None halves the image."""
    made: list[nn.Module] = []
    inputs = 3
    for outputs in layers:
        if outputs is None:
            made.append(nn.MaxPool2d(2, 2))
            continue
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        made += [nn.Conv2d(inputs, outputs, 3, padding=1), *norm, nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*made)


class VGG(nn.Module):
    """`features` (from `make_layers`), then two hidden layers with dropout, and scores.

    The hidden layers have 4096 units and see 7 by 7 pixels; with `small_images` (CIFAR, 32 by 32) 512 units and one
    pixel. Filters are drawn by He's rule for the outputs, matrices from N(0, 0.01^2), biases are 0.
    Images are computed on with the channels last in memory, whatever format they come in.
    Shapes: input (N, 3, H, W); output (N, num_classes).
    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks", arXiv:1409.1556, table 1.
    """

    def __init__(
        self,
        features: nn.Module,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
        *,
        small_images: bool = False,
    ) -> None:
        super().__init__()
        size, hidden = (1, 512) if small_images else (7, 4096)
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((size, size))
        self.classifier = nn.Sequential(
            nn.Linear(512 * size * size, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        if init_weights:
            self._reset()
        self.to(memory_format=channels_last)

    def _reset(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = images(x)
        x = run_fused(self.features, x) if isinstance(self.features, nn.Sequential) else self.features(x)
        return run_fused(self.classifier, self.avgpool(x).flatten(1))


def _vgg(depth: int, batch_norm: bool, options: dict[str, Any]) -> VGG:
    return VGG(make_layers(LAYERS[depth], batch_norm), **options)


def vgg11(**options: Any) -> VGG:
    """VGG-11 (column A), 132,863,336 parameters for 1000 classes; `options` are `VGG`'s."""
    return _vgg(11, False, options)


def vgg11_bn(**options: Any) -> VGG:
    """`vgg11` with batch normalization."""
    return _vgg(11, True, options)


def vgg13(**options: Any) -> VGG:
    """VGG-13 (column B), 133,047,848 parameters for 1000 classes; `options` are `VGG`'s."""
    return _vgg(13, False, options)


def vgg13_bn(**options: Any) -> VGG:
    """`vgg13` with batch normalization."""
    return _vgg(13, True, options)


def vgg16(**options: Any) -> VGG:
    """VGG-16 (column D), 138,357,544 parameters for 1000 classes; `options` are `VGG`'s."""
    return _vgg(16, False, options)


def vgg16_bn(**options: Any) -> VGG:
    """`vgg16` with batch normalization."""
    return _vgg(16, True, options)


def vgg19(**options: Any) -> VGG:
    """VGG-19 (column E), 143,667,240 parameters for 1000 classes; `options` are `VGG`'s."""
    return _vgg(19, False, options)


def vgg19_bn(**options: Any) -> VGG:
    """`vgg19` with batch normalization."""
    return _vgg(19, True, options)
