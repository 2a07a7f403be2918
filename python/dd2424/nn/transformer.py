"""The Transformer of encoder and decoder, in PyTorch's parts and names."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from dd2424 import _core, functional as F
from dd2424._core import Tensor, dtype
from dd2424.nn import init
from dd2424.nn.attention import MultiheadAttention
from dd2424.nn.container import ModuleList
from dd2424.nn.dropout import Dropout
from dd2424.nn.linear import Linear
from dd2424.nn.module import Module
from dd2424.nn.norm_layer import LayerNorm, RMSNorm

__all__ = [
    "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer",
]  # fmt: skip

Activation = Callable[[Tensor], Tensor]
_ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "gelu": F.gelu}


def _activation(name: str | Activation) -> Activation:
    if not isinstance(name, str):
        return name
    if name not in _ACTIVATIONS:
        raise RuntimeError(f"activation should be relu/gelu, not {name}")
    return _ACTIVATIONS[name]


def _add_norm(norm: Module, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """norm(x + residual), and the sum; the user may have put any module in the norm's place."""
    if type(norm) in (LayerNorm, RMSNorm):
        return norm(x, residual)  # type: ignore[no-any-return]
    total = x + residual
    return norm(total), total


class _Layer(Module):
    """What an encoder's and a decoder's layer share: their parts, attention to itself, and the network behind it.

    Each attention, and the network, has a norm and a dropout of its number.
    """

    self_attn: MultiheadAttention
    linear1: Linear
    linear2: Linear
    dropout: Dropout
    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout
    _attentions: tuple[str, ...] = ("self_attn",)

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        for name in self._attentions:
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **place))
        self.linear1 = Linear(d_model, dim_feedforward, bias, **place)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **place)
        self.norm_first = norm_first
        numbers = range(1, len(self._attentions) + 2)
        for i in numbers:
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, **place))
        for i in numbers:
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = _activation(activation)

    def _attend(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        found, _ = self.self_attn(x, x, x, padding, False, mask, is_causal=is_causal)
        y: Tensor = self.dropout1(found)
        return y

    def _feed_forward(self, x: Tensor) -> Tensor:
        name = "relu" if self.activation is F.relu else "gelu" if self.activation is F.gelu else None
        if name is not None and type(self.linear1) is Linear and self.linear1._hooks is None:
            hidden = F.linear(x, self.linear1.weight, self.linear1.bias, name)
        else:
            hidden = self.activation(self.linear1(x))
        y: Tensor = self.linear2(self.dropout(hidden))
        return y


class TransformerEncoderLayer(_Layer):
    """Self-attention, then two linear layers, each around which its input is led.

        x = norm1(x + attention(x)),  x = norm2(x + linear2(activation(linear1(x))))

    With `norm_first` it is x + attention(norm1(x)), and likewise. Dropout acts behind the attention, the activation and
    the second linear layer. A mask is True (or -inf) where a position must not be attended to; `is_causal` says that
    `src_mask` is the causal one.
    Shapes: src (T, N, d_model), or (N, T, d_model) with `batch_first`, or (T, d_model); src_mask (T, T) or
    (N * nhead, T, T); src_key_padding_mask (N, T); output as src.
    Source: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3.1.
    """

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        masks = (src_mask, src_key_padding_mask, is_causal)
        if not self.norm_first:
            x, _ = _add_norm(self.norm1, self._attend(src, *masks), src)
            return _add_norm(self.norm2, self.dropout2(self._feed_forward(x)), x)[0]
        normal, x = _add_norm(self.norm2, self._attend(self.norm1(src), *masks), src)
        y: Tensor = x + self.dropout2(self._feed_forward(normal))
        return y


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's output, `memory`, then two linear layers: `TransformerEncoderLayer`.

    Shapes: tgt (T, N, d_model) and memory (S, N, d_model), or with the batch first; tgt_mask (T, T), memory_mask
    (T, S); padding masks (N, T) and (N, S); output as tgt.
    Source: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3.1.
    """

    multihead_attn: MultiheadAttention
    norm3: LayerNorm
    dropout3: Dropout
    _attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        own = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        other = (memory_mask, memory_key_padding_mask, memory_is_causal)
        if not self.norm_first:
            x, _ = _add_norm(self.norm1, self._attend(tgt, *own), tgt)
            x, _ = _add_norm(self.norm2, self._attend_to(memory, x, *other), x)
            return _add_norm(self.norm3, self.dropout3(self._feed_forward(x)), x)[0]
        normal, x = _add_norm(self.norm2, self._attend(self.norm1(tgt), *own), tgt)
        normal, x = _add_norm(self.norm3, self._attend_to(memory, normal, *other), x)
        y: Tensor = x + self.dropout3(self._feed_forward(normal))
        return y

    def _attend_to(
        self, memory: Tensor, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool
    ) -> Tensor:
        found, _ = self.multihead_attn(x, memory, memory, padding, False, mask, is_causal=is_causal)
        y: Tensor = self.dropout2(found)
        return y


def _causal_mask(size: int, device: Any = None, dtype: dtype | None = None) -> Tensor:
    return _core.full((size, size), float("-inf"), device=device, dtype=dtype).triu(1)


def _is_causal(mask: Tensor | None, stated: bool | None) -> bool:
    """Whether the mask is the causal one: as stated, else by looking at it."""
    if stated is not None or mask is None:
        return bool(stated)
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        return False
    causal = _causal_mask(mask.shape[0])
    return mask.equal(causal < 0 if mask.dtype is _core.bool else causal.to(mask.dtype))


class TransformerEncoder(Module):
    """Copies of a layer, one after the other, and a norm behind them where one is given.

    `is_causal` says whether `mask` is the causal one; where it says nothing the mask is looked at.
    `enable_nested_tensor` and `mask_check` are accepted and change nothing.
    Shapes: those of `TransformerEncoderLayer`.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = ModuleList(copy.deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm
        self.enable_nested_tensor, self.mask_check = enable_nested_tensor, mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        causal, x = _is_causal(mask, is_causal), src
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, causal)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """Copies of a layer, one after the other, and a norm behind them where one is given.

    `tgt_is_causal` says whether `tgt_mask` is the causal one; where it says nothing the mask is looked at.
    Shapes: those of `TransformerDecoderLayer`.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList(copy.deepcopy(decoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        causal, x = _is_causal(tgt_mask, tgt_is_causal), tgt
        for layer in self.layers:
            x = layer(x, memory, *masks, causal, memory_is_causal)
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder of `src` and a decoder of `tgt` that attends to what the encoder found.

    Matrices are drawn by Glorot's uniform rule. `custom_encoder` and `custom_decoder` take the place of ours.
    Shapes: src (S, N, d_model) and tgt (T, N, d_model), or with the batch first; masks as in `TransformerDecoder`;
    output as tgt.
    Raises: RuntimeError where src and tgt differ in the batch, or are not d_model wide.
    Source: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        options = (dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, **place)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(d_model, nhead, *options, **place), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(d_model, nhead, *options, **place), num_decoder_layers, norm()
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        batch = 0 if self.batch_first else 1
        if src.ndim == 3 and src.shape[batch] != tgt.shape[batch]:
            raise RuntimeError(f"Transformer: tgt must have the batch of src, {src.shape[batch]}, "
                               f"got {tgt.shape[batch]}")  # fmt: skip
        for name, x in (("src", src), ("tgt", tgt)):
            if x.shape[-1] != self.d_model:
                raise RuntimeError(f"Transformer: {name} must have d_model={self.d_model} features, got {x.shape[-1]}")
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        y: Tensor = self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal,
            memory_is_causal,
        )  # fmt: skip
        return y

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: dtype | None = None) -> Tensor:
        """What lets position i attend to positions 0 to i: -inf above the diagonal, 0 elsewhere. Shape: (sz, sz)."""
        return _causal_mask(sz, device, dtype)
