"""Networks by family."""

from __future__ import annotations

from dd2424.models.alexnet import AlexNet, alexnet
from dd2424.models.bert import BERT, mask_tokens
from dd2424.models.char_rnn import CharRNN
from dd2424.models.cnn import PatchifyConvNet, SmallConvNet
from dd2424.models.gpt import GPT, GPTConfig
from dd2424.models.linear import LinearClassifier
from dd2424.models.mlp import MLP
from dd2424.models.resnet import BasicBlock, Bottleneck, ResNet, resnet18, resnet34, resnet50
from dd2424.models.transformer import Translator
from dd2424.models.vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from dd2424.models.vit import ViT

# fmt: off
__all__ = [
    "BERT", "GPT", "MLP", "VGG", "AlexNet", "BasicBlock", "Bottleneck", "CharRNN", "GPTConfig", "LinearClassifier",
    "PatchifyConvNet", "ResNet", "SmallConvNet", "Translator", "ViT", "alexnet", "mask_tokens", "resnet18",
    "resnet34", "resnet50", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
]
# fmt: on
