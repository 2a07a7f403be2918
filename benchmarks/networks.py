"""Networks as a program for PyTorch writes them: what our models, which fuse, are compared with."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np


def fill(torch: Any, model: Any) -> Any:
    """Draws every matrix and filter from N(0, 2 / fan-in) by its name alone, so that all contenders have the same."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim > 1:
                rng = np.random.default_rng(zlib.crc32(name.encode()))
                values = rng.standard_normal(tuple(p.shape), np.float32) * np.float32((2 / p[0].numel()) ** 0.5)
                p.copy_(torch.from_numpy(values))
            elif name.endswith("bias"):
                p.zero_()
    return model


def small_cnn(torch: Any) -> Any:
    """`SmallConvNet` with batch norm: three times 3x3 filters, norm, ReLU and 2x2 maxima."""
    nn = torch.nn
    layers, inputs = [], 3
    for width in (32, 64, 128):
        layers += [
            nn.Conv2d(inputs, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        inputs = width

    class Network(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(*layers)
            self.scores = nn.Linear(128 * 16, 10)

        def forward(self, x: Any) -> Any:
            return self.scores(self.features(x).flatten(1))

    return Network()


def vgg16(torch: Any) -> Any:
    """VGG-16 with batch norm on 32x32 pixels, without dropout: its masks would be another program's."""
    nn = torch.nn
    layers, inputs = [], 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        else:
            layers.append(nn.MaxPool2d(2))
    head = [nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.0), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.0)]

    class Network(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(*layers)
            self.classifier = nn.Sequential(*head, nn.Linear(512, 10))

        def forward(self, x: Any) -> Any:
            return self.classifier(self.features(x).flatten(1))

    return Network()


def resnet18(torch: Any) -> Any:
    """ResNet-18 on 32x32 pixels, as torchvision writes it, with a 3x3 stem."""
    nn = torch.nn

    def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> Any:
        return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)

    class Block(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            changes = stride != 1 or inputs != outputs
            self.downsample = (
                nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)) if changes else None
            )

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            y += x if self.downsample is None else self.downsample(x)
            return self.relu(y)

    class Network(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1, self.relu = conv(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
            widths = (64, 64, 128, 256, 512)
            for i in range(1, 5):
                first = Block(widths[i - 1], widths[i], 1 if i == 1 else 2)
                setattr(self, f"layer{i}", nn.Sequential(first, Block(widths[i], widths[i], 1)))
            self.fc = nn.Linear(512, 10)

        def forward(self, x: Any) -> Any:
            x = self.relu(self.bn1(self.conv1(x)))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(x.mean((2, 3)))

    return Network()


def ours(name: str) -> Any:
    """The same networks from `dd2424.models`."""
    from dd2424 import models

    made: dict[str, Callable[[], Any]] = {
        "small_cnn": lambda: models.SmallConvNet((32, 64, 128), batch_norm=True),
        "vgg16": lambda: models.vgg16_bn(num_classes=10, small_images=True, dropout=0.0),
        "resnet18": lambda: models.resnet18(num_classes=10, small_images=True),
    }
    return made[name]()


PLAIN: dict[str, Callable[[Any], Any]] = {"small_cnn": small_cnn, "vgg16": vgg16, "resnet18": resnet18}


def network(torch: Any, name: str, layout: Any) -> Any:
    """Ours where `torch` is dd2424, else the plain one, in the memory format asked for."""
    model = ours(name) if torch.__name__ == "dd2424" else PLAIN[name](torch)
    return fill(torch, model.to(memory_format=layout))
