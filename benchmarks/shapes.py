"""The shapes that the course's labs really run."""

from __future__ import annotations

from typing import NamedTuple

BATCH = 100
CIFAR = 3 * 32 * 32
CLASSES = 10

# (m, n, k) of the products named after where they come from
PRODUCTS = {
    "assignment 1": (BATCH, CLASSES, CIFAR),
    "assignment 2": (BATCH, 50, CIFAR),
    "wide layer": (128, 3072, 768),
    "convolution as a product": (1024, 64, 576),
    "weight gradient": (64, 64, 16384),
}
SQUARES = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
ASSIGNMENTS = {"assignment 1": (), "assignment 2": (50,), "assignment 3": (50, 50)}
NINE_LAYERS = (50, 30, 20, 20, 10, 10, 10, 10)

# Bandwidth: a matrix of 16 MB in float32, larger than the caches
LARGE = (2048, 2048)
LARGE_BYTES = 4 * 2048 * 2048
SMALL = (256, 256)  # 256 kB: a layer's activations, in the second-level cache
# (N, C, H, W) of a residual network's activations, CIFAR images in batches of 64
IMAGES = ((64, 64, 32, 32), (64, 128, 16, 16), (64, 512, 4, 4))
ALEXNET = (32, 64, 27, 27)  # behind its first convolution and pooling
# (N, K) of scores: the course's, and a large vocabulary; (N, D) of normalised activations, likewise
SCORES = ((BATCH, CLASSES), (4096, 1000))
SEGMENTATION = (8, 21, 128, 128)  # (N, K, H, W): scores of the classes of Pascal VOC for each pixel
ACTIVATIONS = ((BATCH, 50), (4096, 1024))


class Convolution(NamedTuple):
    """Square images and kernels; padding keeps the size."""

    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    groups: int = 1
    batch: int = 64

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def out(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1


# name -> sizes, and the ratio to PyTorch that is the goal
CONVOLUTIONS = {
    "3x3": (Convolution(64, 64, 32, 3), 2.2),
    "3x3 of 128": (Convolution(128, 128, 16, 3), 2.2),
    "3x3 of 256": (Convolution(256, 256, 8, 3), 2.2),
    "3x3 of 512": (Convolution(512, 512, 4, 3), 2.2),
    "3x3, stride 2": (Convolution(64, 128, 32, 3, stride=2), 1.3),
    "3x3, stride 2, deep": (Convolution(256, 512, 8, 3, stride=2), 1.3),
    "5x5": (Convolution(32, 64, 16, 5), 1.3),
    "3x3 of 16": (Convolution(16, 16, 32, 3), 1.3),
    "1x1, widening": (Convolution(64, 256, 32, 1), 1.8),
    "1x1, narrowing": (Convolution(256, 64, 32, 1), 1.8),
    "1x1, stride 2": (Convolution(64, 128, 32, 1, stride=2), 1.8),
    "7x7 stem": (Convolution(3, 64, 64, 7, stride=2), 1.8),
    "3x3 of images": (Convolution(3, 64, 32, 3), 2.5),
    "3x3 depthwise": (Convolution(128, 128, 32, 3, groups=128), 2.0),
    "3x3 depthwise, stride 2": (Convolution(128, 128, 32, 3, stride=2, groups=128), 2.0),
    "3x3 depthwise, small": (Convolution(256, 256, 16, 3, groups=256, batch=32), 2.0),
    "3x3, 32 groups": (Convolution(128, 128, 16, 3, groups=32, batch=32), 1.0),
}


class Attention(NamedTuple):
    """Self-attention of sequences of one length."""

    batch: int
    heads: int
    length: int
    features: int
    is_causal: bool = False


# name -> sizes, the ratio to PyTorch that is the goal, and that to the peak of multiply-adds (0: none)
ATTENTIONS = {
    "GPT": (Attention(8, 8, 256, 64, is_causal=True), 2.5, 0.0),
    "ViT": (Attention(32, 4, 65, 32), 2.5, 0.0),
    "long": (Attention(1, 8, 2048, 64, is_causal=True), 1.6, 0.8),
    "long, all seen": (Attention(1, 8, 2048, 64), 1.3, 0.8),
}
# (N, H, S, D) of the keys that one query meets
CACHES = {"small GPT": (1, 4, 128, 32), "GPT-2": (1, 12, 1024, 64), "batch": (8, 8, 2048, 64)}
# (T, B, I, H) of recurrent layers: long sequences in batches, and assignment 4's one sequence of characters
RECURRENT = ((50, 32, 128, 256), (100, 64, 256, 512), (25, 1, 80, 100))
CHARACTERS = 80
