"""Layers that models call together: one kernel where modules would take two, with the modules' own parameters."""

from __future__ import annotations

from dd2424 import Tensor, channels_last, nn
from dd2424.nn import functional as F


def images(x: Tensor) -> Tensor:
    """The images (N, C, H, W) with the channels last in memory, which our kernels are fastest on."""
    return x.contiguous(memory_format=channels_last) if x.ndim == 4 else x


def conv_relu(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """max(0, conv(x)) in one kernel."""
    if conv.padding_mode != "zeros":
        return F.relu(conv(x))
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups, relu=True)


def norm_relu(norm: nn.Module, x: Tensor) -> Tensor:
    """max(0, norm(x)), in one kernel where `norm` is batch normalization."""
    y: Tensor = norm(x, relu=True) if isinstance(norm, nn.BatchNorm2d) else F.relu(norm(x))
    return y


def norm_add_relu(norm: nn.Module, x: Tensor, residual: Tensor) -> Tensor:
    """max(0, norm(x) + residual), the end of a residual block, in one kernel where `norm` is batch normalization."""
    y: Tensor
    if isinstance(norm, nn.BatchNorm2d):
        y = norm(x, relu=True, residual=residual)
        return y
    y = norm(x)
    return y.add_(residual).relu_()


def run_fused(layers: nn.Sequential, x: Tensor) -> Tensor:
    """What `layers(x)` gives, with every ReLU computed by the convolution, norm or product in front of it."""
    waiting = list(layers)
    while waiting:
        layer = waiting.pop(0)
        fuses = bool(waiting) and isinstance(waiting[0], nn.ReLU)
        if fuses and isinstance(layer, nn.Conv2d):
            x = conv_relu(layer, x)
        elif fuses and isinstance(layer, nn.BatchNorm2d):
            x = norm_relu(layer, x)
        elif fuses and isinstance(layer, nn.Linear):
            x = F.linear(x, layer.weight, layer.bias, activation="relu")
        else:
            fuses = False
            x = layer(x)
        if fuses:
            waiting.pop(0)
    return x
