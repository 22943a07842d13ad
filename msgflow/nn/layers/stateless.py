"""Layers without a state of their own: functions that can stand in a Sequential."""

from math import prod
from typing import Any, Literal

import msgflow.tensor as mt
from msgflow.errors import ShapeError
from msgflow.nn.module import Module


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return mt.relu(x)


class GELU(Module):
    """x times the normal distribution function of x; `approximate="tanh"` is GPT-2's formula for it.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2.
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate is 'none' or 'tanh', not {approximate!r}")
        self.approximate = approximate

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return mt.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x times sigmoid(x)."""

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return mt.silu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return mt.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return mt.tanh(x)


class Softmax(Module):
    """exp(x) over its sum along the axis `dim`: numbers from 0 to 1 that sum up to 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return mt.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of Softmax, exact also where that is 0 to the last bit."""

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return mt.log_softmax(x, self.dim)


class Flatten(Module):
    """The axes from `start_dim` to `end_dim`, both included, as one; by default all but the first.

    Raises ShapeError where one of the two is not there, or they are in the wrong order.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        shape = x.shape
        start, end = (dim + len(shape) if dim < 0 else dim for dim in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < len(shape):
            raise ShapeError(repr(self), [shape], f"there are no axes from {self.start_dim} to {self.end_dim}")
        return x.reshape(*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """Its input. Takes any arguments and ignores them, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x
