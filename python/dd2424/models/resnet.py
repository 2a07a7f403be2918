"""Residual networks: ResNet-18, -34 and -50, for ImageNet and for small images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dd2424 import Tensor, channels_last, nn
from dd2424.models.fused import images, norm_add_relu, norm_relu

Norm = Callable[[int], nn.Module]


def _conv3x3(inputs: int, outputs: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, groups, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input is led: y = relu(x + norm(conv(relu(norm(conv(x)))))).

    `downsample` brings x to the shape of the sum where it has another.
    Shapes: input (N, inplanes, H, W); output (N, planes, H / stride, W / stride).
    Source: He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385, figure 5 left.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64 or dilation != 1:
            raise ValueError(f"BasicBlock: groups, base_width and dilation must be 1, 64 and 1, got {groups}, "
                             f"{base_width} and {dilation}")  # fmt: skip
        norm = norm_layer or nn.BatchNorm2d
        self.conv1 = _conv3x3(inplanes, planes, stride)
        self.bn1 = norm(planes)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = norm(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.downsample is None else self.downsample(x)
        y = norm_relu(self.bn1, self.conv1(x))
        return norm_add_relu(self.bn2, self.conv2(y), residual)

    def last_norm(self) -> nn.Module:
        """The norm whose weights of 0 make the block the identity."""
        return self.bn2


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, which narrow its input and widen its output by 4; else `BasicBlock`.

    The stride is the 3x3 convolution's.
    Shapes: input (N, inplanes, H, W); output (N, 4 * planes, H / stride, W / stride).
    Source: He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385, figure 5 right.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = nn.Conv2d(inplanes, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = _conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, planes * self.expansion, 1, bias=False)
        self.bn3 = norm(planes * self.expansion)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.downsample is None else self.downsample(x)
        y = norm_relu(self.bn1, self.conv1(x))
        y = norm_relu(self.bn2, self.conv2(y))
        return norm_add_relu(self.bn3, self.conv3(y), residual)

    def last_norm(self) -> nn.Module:
        """The norm whose weights of 0 make the block the identity."""
        return self.bn3


class ResNet(nn.Module):
    """A stem, four stages of residual blocks of which all but the first halve the image, a mean over it, and scores.

    `layers` counts the blocks of each stage, `widths` their channels (times the block's `expansion`). The stem is a
    7x7 convolution of stride 2 and a maximum over 3x3; with `small_images` (CIFAR) it is a 3x3 convolution alone.
    Filters are drawn by He's rule for the outputs; `zero_init_residual` starts every block as the identity.
    Images are computed on with the channels last in memory, whatever format they come in.
    Shapes: input (N, 3, H, W); output (N, num_classes).
    Raises: ValueError for a wrong number of stages.
    Source: He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385, table 1 and section 4.2.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Norm | None = None,
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        small_images: bool = False,
    ) -> None:
        super().__init__()
        dilates = replace_stride_with_dilation or (False, False, False)
        if len(layers) != 4 or len(widths) != 4 or len(dilates) != 3:
            raise ValueError(f"ResNet: layers and widths must have 4 numbers, replace_stride_with_dilation 3, got "
                             f"{list(layers)}, {list(widths)} and {list(dilates)}")  # fmt: skip
        norm = norm_layer or nn.BatchNorm2d
        self.inplanes, self.dilation = widths[0], 1
        self._block, self._norm, self._groups, self._base_width = block, norm, groups, width_per_group
        if small_images:
            self.conv1 = _conv3x3(3, widths[0])
        else:
            self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = norm(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_images else nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._stage(widths[0], layers[0])
        self.layer2 = self._stage(widths[1], layers[1], 2, dilates[0])
        self.layer3 = self._stage(widths[2], layers[2], 2, dilates[1])
        self.layer4 = self._stage(widths[3], layers[3], 2, dilates[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(widths[3] * block.expansion, num_classes)
        self._reset(zero_init_residual)
        self.to(memory_format=channels_last)

    def _stage(self, planes: int, blocks: int, stride: int = 1, dilate: bool = False) -> nn.Sequential:
        before = self.dilation
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        outputs, downsample = planes * self._block.expansion, None
        if stride != 1 or self.inplanes != outputs:
            downsample = nn.Sequential(nn.Conv2d(self.inplanes, outputs, 1, stride, bias=False), self._norm(outputs))
        options: dict[str, Any] = {"groups": self._groups, "base_width": self._base_width, "norm_layer": self._norm}
        made = [self._block(self.inplanes, planes, stride, downsample, dilation=before, **options)]
        self.inplanes = outputs
        made += [self._block(outputs, planes, dilation=self.dilation, **options) for _ in range(1, blocks)]
        return nn.Sequential(*made)

    def _reset(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                weight = module.last_norm().weight
                assert weight is not None
                nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(norm_relu(self.bn1, self.conv1(images(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        scores: Tensor = self.fc(self.avgpool(x).flatten(1))
        return scores


def resnet18(**options: Any) -> ResNet:
    """ResNet-18, 11,689,512 parameters for 1000 classes; `options` are `ResNet`'s."""
    return ResNet(BasicBlock, [2, 2, 2, 2], **options)


def resnet34(**options: Any) -> ResNet:
    """ResNet-34, 21,797,672 parameters for 1000 classes; `options` are `ResNet`'s."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **options)


def resnet50(**options: Any) -> ResNet:
    """ResNet-50, 25,557,032 parameters for 1000 classes; `options` are `ResNet`'s."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **options)
