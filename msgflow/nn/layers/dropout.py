"""Dropout: noise against overfitting."""

import msgflow.tensor as mt
from msgflow.nn.module import Module


def checked_probability(p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"a dropout probability is from 0 to 1, not {p!r}")
    return p


class Dropout(Module):
    """In training mode, sets each number to 0 with probability p and divides the others by 1 - p; else does nothing.

    Source: Srivastava et al. 2014, Journal of Machine Learning Research 15, section 10 (the inverted form).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = checked_probability(p)

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return mt.dropout(x, self.p, training=self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
