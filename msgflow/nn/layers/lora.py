"""LoRA: a small change of a frozen Linear, learned in its place."""

from typing import Self

import msgflow.tensor as mt
from msgflow.nn.layers.dropout import Dropout
from msgflow.nn.layers.fan_in import uniform_by_fan_in
from msgflow.nn.layers.linear import Linear
from msgflow.nn.module import Module
from msgflow.nn.parameter import Parameter


class LoRA(Module):
    """A Linear, frozen from here on, plus a product of two narrow matrices: `x W^T + b + alpha/rank * x A^T B^T`.

    B begins as zeros, so that nothing changes until something is learned. The state: lora_A (rank, in_features),
    lora_B (out_features, rank), merged, linear.weight and linear.bias. Only lora_A and lora_B have gradients.
    Source: Hu et al. 2021, arXiv:2106.09685, section 4.1.
    """

    lora_A: mt.Tensor
    lora_B: mt.Tensor
    merged: bool

    def __init__(self, linear: Linear, rank: int = 8, alpha: float = 16, dropout: float = 0.0) -> None:
        super().__init__()
        if not isinstance(linear, Linear):
            raise TypeError(f"LoRA goes around a Linear, not a {type(linear).__name__}")
        if rank < 1:
            raise ValueError(f"the rank of LoRA is at least 1, not {rank}")
        self.rank, self.alpha = rank, alpha
        dtype, device = linear.weight.dtype, linear.weight.device
        shape_of_a, shape_of_b = (rank, linear.in_features), (linear.out_features, rank)
        self.register_parameter("lora_A", uniform_by_fan_in(shape_of_a, linear.in_features, dtype, device))
        self.register_parameter("lora_B", Parameter(mt.zeros(shape_of_b, dtype, device=device)))
        # In the state, because a weight that has the change in it must not be loaded as one that has not.
        self.register_buffer("merged", False)
        self.linear = linear.requires_grad_(False)
        self.dropout = Dropout(dropout)

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        out: mt.Tensor = self.linear(x)
        if self.merged:
            return out
        narrow = mt.matmul(self.dropout(x), self.lora_A, transpose_b=True)
        return out + mt.matmul(narrow, self.lora_B, transpose_b=True) * self.scale

    def merge(self) -> Self:
        """Add the change to the weight, so that calls cost what they do without LoRA. Calls that run see none of it."""
        return self._put(merged=True)

    def unmerge(self) -> Self:
        """Take the change out of the weight again, to rounding, to go on learning it."""
        return self._put(merged=False)

    def _put(self, *, merged: bool) -> Self:
        with mt.no_grad(), self.transaction():  # which reads one version: two threads that merge do it once
            if self.merged is not merged:
                change = mt.matmul(self.lora_B, self.lora_A) * (self.scale if merged else -self.scale)
                self.linear.weight = self.linear.weight + change
                self.merged = merged
        return self

    def extra_repr(self) -> str:
        return f"rank={self.rank}, alpha={self.alpha}" + (", merged" if self.merged else "")
