"""GPT against the same network written for PyTorch: scores and gradients by the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424.models.gpt import GPT, GPTConfig

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def plain_scores(p: dict[str, Any], config: GPTConfig, tokens: Any) -> Any:
    """Karpathy's minimal GPT, from a dictionary of GPT-2's names."""
    F = torch.nn.functional
    (n, t), c = tokens.shape, config.width
    approximate = "tanh" if config.activation == "gelu_tanh" else "none"

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, (c,), p[f"{name}.weight"], p[f"{name}.bias"])

    def linear(x: Any, name: str) -> Any:
        return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])

    x = p["wte.weight"][tokens] + p["wpe.weight"][:t]
    for i in range(config.layers):
        qkv = linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").view(n, t, 3, config.heads, c // config.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, c)
        x = x + linear(y, f"h.{i}.attn.c_proj")
        hidden = F.gelu(linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate=approximate)
        x = x + linear(hidden, f"h.{i}.mlp.c_proj")
    return norm(x, "ln_f") @ p["wte.weight"].T


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_scores_and_gradients(rng: np.random.Generator, activation: str) -> None:
    config = GPTConfig(vocabulary=13, context=10, layers=3, heads=2, width=16, activation=activation)
    model = GPT(config).double()
    text, targets = rng.integers(0, 13, (3, 9)), rng.integers(0, 13, (3, 9))
    weights = {name: torch.from_numpy(p.detach().numpy().copy()) for name, p in model.named_parameters()}
    for p in weights.values():
        p.requires_grad_()
    scores = plain_scores(weights, config, torch.from_numpy(text))
    loss = torch.nn.functional.cross_entropy(scores.view(-1, 13), torch.from_numpy(targets).view(-1))
    loss.backward()
    ours = model.loss(dd2424.from_numpy(text), dd2424.from_numpy(targets))
    ours.backward()
    assert_accurate(model(dd2424.from_numpy(text)), scores.detach().numpy(), roundings=2**10, scale=1e-2)
    assert_accurate(ours, loss.item(), roundings=16)
    for name, p in model.named_parameters():
        grad = weights[name].grad.numpy()
        assert_accurate(p.grad, grad, roundings=2**10, scale=np.abs(grad).max())
