"""TransformerEncoderLayer, and several of them."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgflow.tensor as mt
from msgflow.nn.containers import ModuleList
from msgflow.nn.layers.attention import MultiHeadAttention
from msgflow.nn.layers.dropout import Dropout
from msgflow.nn.layers.linear import Linear
from msgflow.nn.layers.normalisation import LayerNorm
from msgflow.nn.module import Module
from msgflow.tensor.dtypes import DTypeLike, float32

_ACTIVATIONS: dict[str, Callable[[mt.Tensor], mt.Tensor]] = {"relu": mt.relu, "gelu": mt.gelu}


class TransformerEncoderLayer(Module):
    """Self-attention, then two linear maps at each position; each with dropout, added to its input, and normalised.

    The sums are normalised, as in the paper; with `norm_first` what goes in is. `activation` is "relu", "gelu" or a
    function of a tensor. Shape: src (positions, batch, d_model), or (batch, positions, d_model) with `batch_first`;
    the batch may be missing; result as src. The state is that of PyTorch: self_attn, linear1, linear2, norm1, norm2.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.1; norm_first: Xiong et al. 2020, arXiv:2002.04745.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[mt.Tensor], mt.Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike = float32,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            raise ValueError(f"activation is {' or '.join(map(repr, _ACTIVATIONS))}, or a function; not {activation!r}")
        self.activation = _ACTIVATIONS[activation] if isinstance(activation, str) else activation
        self.norm_first = norm_first
        place: dict[str, Any] = {"dtype": dtype, "device": device}
        self.self_attn = MultiHeadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **place)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **place)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **place)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)

    def forward(
        self, src: mt.Tensor, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
    ) -> mt.Tensor:
        """The masks are those of MultiHeadAttention: attn_mask, key_padding_mask and is_causal."""
        if self.norm_first:
            x = src + self._attended(self.norm1(src), src_mask, src_key_padding_mask, is_causal)
            return x + self._fed_forward(self.norm2(x))
        x = self.norm1(src + self._attended(src, src_mask, src_key_padding_mask, is_causal))
        normed: mt.Tensor = self.norm2(x + self._fed_forward(x))
        return normed

    def _attended(self, x: mt.Tensor, mask: Any, padding: Any, is_causal: bool) -> mt.Tensor:
        taken, _ = self.self_attn(x, x, x, padding, need_weights=False, attn_mask=mask, is_causal=is_causal)
        dropped: mt.Tensor = self.dropout1(taken)
        return dropped

    def _fed_forward(self, x: mt.Tensor) -> mt.Tensor:
        hidden = self.dropout(self.activation(self.linear1(x)))
        dropped: mt.Tensor = self.dropout2(self.linear2(hidden))
        return dropped


class TransformerEncoder(Module):
    """Copies of a TransformerEncoderLayer in a row, all with the same weights at first; and `norm` after the last.

    The state is that of PyTorch: layers.0, layers.1, ..., and norm.
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList(deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm

    def forward(
        self, src: mt.Tensor, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
    ) -> mt.Tensor:
        """Shape and masks: as TransformerEncoderLayer."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)
