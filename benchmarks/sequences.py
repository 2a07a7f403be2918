"""Transformers as a program for PyTorch writes them, and ours of the same names: what bench_transformer.py compares."""

from __future__ import annotations

from typing import Any, NamedTuple


class Sizes(NamedTuple):
    """Of a GPT, or of a ViT on 32x32 pixels."""

    width: int
    layers: int
    heads: int
    vocabulary: int = 65
    context: int = 128
    patch: int = 4


def _block(torch: Any, s: Sizes, is_causal: bool, eps: float) -> Any:
    nn, functional = torch.nn, torch.nn.functional

    class Attention(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.c_attn, self.c_proj = nn.Linear(s.width, 3 * s.width), nn.Linear(s.width, s.width)

        def forward(self, x: Any, cache: Any) -> Any:
            n, t, c = x.shape
            q, k, v = (part.view(n, t, s.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(c, 2))
            if cache is not None:  # (keys, values, length): a buffer, which is faster than to concatenate
                keys, values, length = cache
                keys[:, :, length : length + t], values[:, :, length : length + t] = k, v
                k, v = keys[:, :, : length + t], values[:, :, : length + t]
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal and t > 1)
            return self.c_proj(y.transpose(1, 2).reshape(n, t, c))

    class Network(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.c_fc, self.c_proj = nn.Linear(s.width, 4 * s.width), nn.Linear(4 * s.width, s.width)

        def forward(self, x: Any) -> Any:
            return self.c_proj(functional.gelu(self.c_fc(x)))

    class Block(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.attn = nn.LayerNorm(s.width, eps), Attention()
            self.ln_2, self.mlp = nn.LayerNorm(s.width, eps), Network()

        def forward(self, x: Any, cache: Any = None) -> Any:
            x = x + self.attn(self.ln_1(x), cache)
            return x + self.mlp(self.ln_2(x))

    return Block()


def plain_gpt(torch: Any, s: Sizes) -> Any:
    nn, functional = torch.nn, torch.nn.functional

    class GPT(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(s.vocabulary, s.width), nn.Embedding(s.context, s.width)
            self.h = nn.ModuleList([_block(torch, s, True, 1e-5) for _ in range(s.layers)])
            self.ln_f = nn.LayerNorm(s.width)

        def forward(self, tokens: Any, caches: Any = None) -> Any:
            begin, length = caches[0][2] if caches else 0, tokens.shape[1]
            x = self.wte(tokens) + self.wpe.weight[begin : begin + length]
            for i, block in enumerate(self.h):
                x = block(x, caches[i] if caches else None)
            return functional.linear(self.ln_f(x), self.wte.weight)

        def loss(self, tokens: Any, targets: Any) -> Any:
            return functional.cross_entropy(self(tokens).view(-1, s.vocabulary), targets.view(-1))

        def generate(self, prompt: Any, tokens: int, temperature: float) -> Any:
            """Greedy alone."""
            shape = (len(prompt), s.heads, s.context, s.width // s.heads)
            buffers = [(torch.empty(shape), torch.empty(shape)) for _ in self.h]
            text, read, length = [prompt], prompt, 0
            with torch.no_grad():
                for _ in range(tokens):
                    logits = self(read, [(*pair, length) for pair in buffers])
                    length += read.shape[1]
                    read = logits[:, -1].argmax(-1, True)
                    text.append(read)
            return torch.cat(text, 1)

    return GPT()


def plain_vit(torch: Any, s: Sizes) -> Any:
    nn = torch.nn
    count = (32 // s.patch) ** 2

    class ViT(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.patch_embedding = nn.Linear(3 * s.patch**2, s.width)  # a convolution takes longer, here and there
            self.class_token = nn.Parameter(torch.zeros(1, 1, s.width))
            self.positions = nn.Parameter(torch.zeros(1, count + 1, s.width))
            self.blocks = nn.ModuleList([_block(torch, s, False, 1e-6) for _ in range(s.layers)])
            self.norm, self.head = nn.LayerNorm(s.width, 1e-6), nn.Linear(s.width, 10)

        def forward(self, images: Any) -> Any:
            n, side = len(images), 32 // s.patch
            tiles = images.view(n, 3, side, s.patch, side, s.patch).permute(0, 2, 4, 1, 3, 5)
            x = self.patch_embedding(tiles.reshape(n, count, 3 * s.patch**2))
            x = torch.cat([self.class_token.expand(n, -1, -1), x], 1) + self.positions
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x[:, 0]))

    return ViT()


def gpt(torch: Any, s: Sizes) -> Any:
    """Ours where `torch` is dd2424, else the plain one."""
    if torch.__name__ != "dd2424":
        return plain_gpt(torch, s)
    from dd2424.models import GPT, GPTConfig

    return GPT(GPTConfig(s.vocabulary, s.context, s.layers, s.heads, s.width))


def vit(torch: Any, s: Sizes) -> Any:
    """Ours where `torch` is dd2424, else the plain one."""
    if torch.__name__ != "dd2424":
        return plain_vit(torch, s)
    from dd2424.models import ViT

    return ViT(32, s.patch, s.width, s.layers, s.heads)
