"""ViT: a Transformer that reads an image as a sequence of patches."""

from __future__ import annotations

import dd2424
from dd2424 import Tensor, nn
from dd2424.models.blocks import Block
from dd2424.nn import functional as F


def patches_of(images: Tensor, size: int) -> Tensor:
    """Square patches, row by row, each with its channels, rows and columns in this order.

    Shapes: images (N, C, H, W), H and W multiples of `size`; output (N, H W / size^2, C size^2).
    """
    n, c, h, w = images.shape
    tiles = images.contiguous().view(n, c, h // size, size, w // size, size)
    return tiles.permute(0, 2, 4, 1, 3, 5).reshape(n, (h // size) * (w // size), c * size * size)


class ViT(nn.Module):
    """Patches through a linear layer, a class token before them, learned positions, blocks, and scores of the token.

    By default for CIFAR's 32x32 pixels. `pool` "mean" scores the mean over the patches instead, without a token.
    Scores start at 0, all else at N(0, 0.02^2) cut off at two deviations.
    Shapes: images (N, channels, image_size, image_size); output (N, num_classes).
    Raises: ValueError for patches that do not fill the image, another `pool`, or images of another size.
    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv:2010.11929, section 3.1.
    """

    def __init__(
        self,
        image_size: int = 32,
        patch_size: int = 4,
        width: int = 192,
        layers: int = 6,
        heads: int = 3,
        hidden: int = 0,
        num_classes: int = 10,
        *,
        channels: int = 3,
        dropout: float = 0.0,
        pool: str = "token",
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(f"ViT: image_size must be a multiple of patch_size {patch_size}, got {image_size}")
        if pool not in ("token", "mean"):
            raise ValueError(f"ViT: pool must be 'token' or 'mean', got {pool!r}")
        count = (image_size // patch_size) ** 2
        self.shape, self.patch_size, self.dropout = (channels, image_size, image_size), patch_size, dropout
        self.patch_embedding = nn.Linear(channels * patch_size**2, width)
        self.class_token = nn.Parameter(dd2424.zeros(1, 1, width)) if pool == "token" else None
        self.positions = nn.Parameter(dd2424.empty(1, count + (pool == "token"), width))
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden or 4 * width, is_causal=False, activation=activation, dropout=dropout, eps=1e-6)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, 1e-6)
        self.head = nn.Linear(width, num_classes)
        self._reset()

    def _reset(self) -> None:
        for name, p in self.named_parameters():
            if p.ndim > 1 and name != "class_token":
                nn.init.trunc_normal_(p, std=0.02, a=-0.04, b=0.04)
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        nn.init.zeros_(self.head.weight)

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            raise ValueError(f"ViT: images must be (N, {', '.join(map(str, self.shape))}), got {tuple(images.shape)}")
        x = self.patch_embedding(patches_of(images, self.patch_size))
        if self.class_token is not None:
            x = dd2424.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1)
        x = F.dropout(x + self.positions, self.dropout, self.training)
        branch: Tensor | None = None
        for block in self.blocks:
            x, branch = block(x, branch)
        if branch is None:
            normal = self.norm(x)
        elif self.class_token is not None:  # the norm goes row by row: only what is scored needs it
            normal = self.norm(branch[:, :1], x[:, :1])[0]
        else:
            normal = self.norm(branch, x)[0]
        pooled = normal[:, 0] if self.class_token is not None else normal.mean(1)
        scores: Tensor = self.head(pooled)
        return scores
