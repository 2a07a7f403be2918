"""Networks by family."""

from __future__ import annotations

from dd2424.models.alexnet import AlexNet, alexnet
from dd2424.models.char_rnn import CharRNN
from dd2424.models.cnn import PatchifyConvNet, SmallConvNet
from dd2424.models.linear import LinearClassifier
from dd2424.models.mlp import MLP
from dd2424.models.resnet import BasicBlock, Bottleneck, ResNet, resnet18, resnet34, resnet50
from dd2424.models.vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

# fmt: off
__all__ = [
    "MLP", "VGG", "AlexNet", "BasicBlock", "Bottleneck", "CharRNN", "LinearClassifier", "PatchifyConvNet", "ResNet",
    "SmallConvNet", "alexnet", "resnet18", "resnet34", "resnet50", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16",
    "vgg16_bn", "vgg19", "vgg19_bn",
]
# fmt: on
