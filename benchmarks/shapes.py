"""The shapes that the course's labs really run."""

from __future__ import annotations

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
# (N, K) of scores: the course's, and a large vocabulary; (N, D) of normalised activations, likewise
SCORES = ((BATCH, CLASSES), (4096, 1000))
ACTIVATIONS = ((BATCH, 50), (4096, 1024))
