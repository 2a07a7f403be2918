"""AlexNet, in the form of one tower."""

from __future__ import annotations

from typing import Any

from dd2424 import Tensor, channels_last, nn
from dd2424.models.fused import images, run_fused


class AlexNet(nn.Module):
    """Five convolutions with ReLU, three of them followed by maxima over 3x3, and two hidden layers with dropout.

    Images are computed on with the channels last in memory, whatever format they come in.
    Shapes: input (N, 3, H, W), H and W at least 63; output (N, num_classes).
    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )
        self.to(memory_format=channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(run_fused(self.features, images(x)))
        return run_fused(self.classifier, x.flatten(1))


def alexnet(**options: Any) -> AlexNet:
    """AlexNet, 61,100,840 parameters for 1000 classes; `options` are `AlexNet`'s."""
    return AlexNet(**options)
