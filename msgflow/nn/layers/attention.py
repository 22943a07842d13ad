"""MultiHeadAttention: what each position takes from the others."""

from collections.abc import Sequence
from typing import Any

import msgflow.tensor as mt
from msgflow.errors import ShapeError
from msgflow.nn.layers.dropout import checked_probability
from msgflow.nn.layers.linear import Linear
from msgflow.nn.layers.masks import added_mask
from msgflow.nn.module import Module
from msgflow.nn.parameter import Parameter
from msgflow.tensor.attention import attended
from msgflow.tensor.dtypes import DTypeLike, float32


class MultiHeadAttention(Module):
    """Attention of several heads, each with projections of its own; what PyTorch calls MultiheadAttention.

    Shape: query (queries, batch, embed_dim), key (keys, batch, kdim) and value (keys, batch, vdim), result as query;
    with `batch_first` the batch comes first, and without a batch that axis is not there. The state is that of PyTorch:
    in_proj_weight (3 * embed_dim, embed_dim), or q_, k_ and v_proj_weight where kdim or vdim is another, in_proj_bias
    (3 * embed_dim,), out_proj.weight and out_proj.bias.
    Raises ValueError where embed_dim does not divide into the heads, ShapeError for inputs and masks of other shapes.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.
    """

    in_proj_weight: mt.Tensor | None
    q_proj_weight: mt.Tensor
    k_proj_weight: mt.Tensor
    v_proj_weight: mt.Tensor
    in_proj_bias: mt.Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: DTypeLike = float32,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} does not divide into {num_heads} heads of one size")
        self.embed_dim, self.num_heads, self.batch_first = embed_dim, num_heads, batch_first
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.dropout = checked_probability(dropout)
        if self.kdim == self.vdim == embed_dim:
            shapes = {"in_proj_weight": (3 * embed_dim, embed_dim)}
        else:
            self.in_proj_weight = None
            inputs = zip("qkv", (embed_dim, self.kdim, self.vdim), strict=True)
            shapes = {f"{name}_proj_weight": (embed_dim, size) for name, size in inputs}
        for name, shape in shapes.items():
            self.register_parameter(name, Parameter(mt.glorot_uniform(shape, dtype, device=device)))
        if bias:
            self.register_parameter("in_proj_bias", Parameter(mt.zeros((3 * embed_dim,), dtype, device=device)))
        else:
            self.in_proj_bias = None
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=dtype, device=device)
        if bias:
            self.out_proj.bias = mt.zeros((embed_dim,), dtype, device=device)

    def forward(
        self,
        query: mt.Tensor,
        key: mt.Tensor,
        value: mt.Tensor,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[mt.Tensor, mt.Tensor | None]:
        """The result, and with `need_weights` what each query took from each key: the mean over the heads, or of each.

        Masks are of bool, where True hides a key, or of floats, which are added to the scores: key_padding_mask
        (batch, keys), attn_mask (queries, keys) or (batch * heads, queries, keys). `is_causal` hides from each query
        the keys after it. Weights: (batch, queries, keys), or (batch, heads, queries, keys).
        """
        self._check(query, key, value)
        q, k, v = (self._split(part) for part in self._projected(query, key, value))
        scores = (q.shape[0], self.num_heads, q.shape[2], k.shape[2])
        mask = added_mask(self, scores, q, key_padding_mask, attn_mask, is_causal)
        dropout = self.dropout if self.training else 0.0
        taken, shares = attended(q, k, v, mask, dropout_p=dropout)
        weights = None
        if need_weights:
            weights = shares.to(q.dtype)
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if query.ndim == 3 else weights.squeeze(0)
        return self._joined(taken, query.shape), weights

    def _check(self, query: mt.Tensor, key: mt.Tensor, value: mt.Tensor) -> None:
        shapes = [query.shape, key.shape, value.shape]
        sizes = [self.embed_dim, self.kdim, self.vdim]
        axes = {len(shape) for shape in shapes}
        if axes not in ({2}, {3}) or [shape[-1] for shape in shapes] != sizes:
            reason = f"query, key and value have two axes, or three with a batch, and the last are {sizes}"
            raise ShapeError(repr(self), shapes, reason)
        batches = {shape[0 if self.batch_first else 1] for shape in shapes} if axes == {3} else {1}
        if len(batches) > 1 or (key.shape[:-1] != value.shape[:-1]):
            raise ShapeError(repr(self), shapes, "query, key and value have one batch, and each key has a value")

    def _projected(self, query: mt.Tensor, key: mt.Tensor, value: mt.Tensor) -> Sequence[mt.Tensor]:
        """Queries, keys and values. Shape: (..., embed_dim) each."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if weight is not None and query is key is value:  # one product is faster than three
            product = mt.matmul(query, weight, transpose_b=True)
            return mt.chunk(product if bias is None else product + bias, 3, -1)
        own = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight) if weight is None else mt.chunk(weight, 3)
        parts = [mt.matmul(x, part, transpose_b=True) for x, part in zip((query, key, value), own, strict=True)]
        return parts if bias is None else [x + part for x, part in zip(parts, mt.chunk(bias, 3), strict=True)]

    def _split(self, x: mt.Tensor) -> mt.Tensor:
        """Shape: from that of the inputs to (batch, heads, positions, embed_dim / heads)."""
        if x.ndim == 2:
            x = x.unsqueeze(0 if self.batch_first else 1)
        heads = x.reshape(*x.shape[:2], self.num_heads, self.embed_dim // self.num_heads)
        return heads.permute(0, 2, 1, 3) if self.batch_first else heads.permute(1, 2, 0, 3)

    def _joined(self, heads: mt.Tensor, shape: tuple[int, ...]) -> mt.Tensor:
        """The heads side by side again, in the shape of the query, and projected."""
        rows = heads.permute(0, 2, 1, 3) if self.batch_first else heads.permute(2, 0, 1, 3)
        joined: mt.Tensor = self.out_proj(rows.reshape(*shape))
        return joined

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, batch_first={self.batch_first}"
