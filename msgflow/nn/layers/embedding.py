"""Embedding: vectors by number."""

from typing import Any

import msgflow.tensor as mt
from msgflow.errors import IndexOutOfRange
from msgflow.nn.module import Module
from msgflow.nn.parameter import Parameter
from msgflow.tensor.dtypes import DTypeLike, float32


class Embedding(Module):
    """A vector for each of `num_embeddings` ids, looked up.

    The vector of `padding_idx` begins as zeros, where the others are drawn from a normal distribution, and gets no
    gradient. Shape: ids (...), a tensor of whole numbers, or lists of them; result (..., embedding_dim); weight
    (num_embeddings, embedding_dim).
    Raises IndexOutOfRange for an id that there is not, DTypeError for what is no whole number.
    """

    weight: mt.Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: DTypeLike = float32,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else self._row(padding_idx)
        vectors = mt.normal((num_embeddings, embedding_dim), dtype=dtype, device=device)
        if self.padding_idx is not None:
            vectors = mt.where(self._is_padding(mt.arange(num_embeddings, device=device)), 0.0, vectors)
        self.register_parameter("weight", Parameter(vectors))

    def _row(self, padding_idx: int) -> int:
        if not -self.num_embeddings <= padding_idx < self.num_embeddings:
            raise ValueError(f"padding_idx {padding_idx} is out of range for {self.num_embeddings} embeddings")
        return padding_idx % self.num_embeddings

    def _is_padding(self, ids: mt.Tensor) -> mt.Tensor:
        """Shape: ids (...), result (..., 1)."""
        return mt.equal(ids, self.padding_idx).unsqueeze(-1)

    def forward(self, ids: Any) -> mt.Tensor:
        ids = ids if isinstance(ids, mt.Tensor) else mt.tensor(ids, device=self.weight.device)
        try:
            found = mt.embedding(self.weight, ids)
        except IndexOutOfRange as error:
            reason = f"an id is not one of 0 to {self.num_embeddings - 1}"
            raise IndexOutOfRange(repr(self), error.shapes, reason) from None
        if self.padding_idx is None or not found.requires_grad:
            return found
        return mt.where(self._is_padding(ids), found.detach(), found)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
