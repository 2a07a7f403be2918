"""Fully connected networks with ReLU, with and without batch normalization."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dd2424 import Tensor, nn
from dd2424.nn import functional as F


class MLP(nn.Module):
    """Layers of `hidden` units with ReLU, then a linear layer of scores.

        h_0 = x,  h_i = relu(norm(W_i h_(i-1) + b_i)),  s = W_k h_(k-1) + b_k

    Every W_i ~ N(0, gain^2 / fan-in), or N(0, std^2) where `std` is given; b_i = 0. `norm` is batch
    normalization where asked for, which takes the place of b_i, and otherwise nothing.
    Shapes: input (N, inputs); output (N, classes).
    Source: He et al., "Delving Deep into Rectifiers", arXiv:1502.01852 (gain sqrt(2));
    Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        classes: int,
        *,
        batch_norm: bool = False,
        gain: float = math.sqrt(2.0),
        std: float | None = None,
    ) -> None:
        super().__init__()
        widths = [inputs, *hidden, classes]
        last = len(hidden)
        self.layers = nn.ModuleList(
            nn.Linear(widths[i], widths[i + 1], bias=i == last or not batch_norm) for i in range(last + 1)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in hidden if batch_norm)
        for layer in self.layers:
            nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.in_features) if std is None else std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        *hidden, scores = self.layers
        if self.norms:
            for layer, norm in zip(hidden, self.norms, strict=True):
                x = F.relu(norm(layer(x)))
        else:
            for layer in hidden:
                x = F.linear(x, layer.weight, layer.bias, activation="relu")
        y: Tensor = scores(x)
        return y
