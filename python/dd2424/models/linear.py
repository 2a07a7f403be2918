"""Linear classifiers: one layer of scores."""

from __future__ import annotations

from dd2424 import Tensor, nn


class LinearClassifier(nn.Module):
    """A score for each class, linear in the input.

        s = W x + b,  W ~ N(0, std^2),  b = 0

    Shapes: input (N, inputs); output (N, classes). `weight` is (classes, inputs): row k is the template of class k.
    """

    def __init__(self, inputs: int, classes: int, std: float = 0.01) -> None:
        super().__init__()
        self.scores = nn.Linear(inputs, classes)
        nn.init.normal_(self.scores.weight, 0.0, std)
        assert self.scores.bias is not None
        nn.init.zeros_(self.scores.bias)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.scores(x)
        return scores
