"""Activation functions. All are stable: large numbers and infinities give no warning."""

from typing import TYPE_CHECKING, Any, Literal

from msgflow.tensor.operations import apply, tensor_of, unary
from msgflow.tensor.rules.activations import GELU, GELU_TANH, LEAKY_RELU, RELU, SIGMOID, SILU, SOFTPLUS
from msgflow.tensor.rules.functions import TANH

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def relu(x: Any) -> "Tensor":
    """max(x, 0), and NaN for NaN."""
    return unary(RELU, x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> "Tensor":
    return apply(LEAKY_RELU, tensor_of(LEAKY_RELU, x), slope=float(negative_slope))


def sigmoid(x: Any) -> "Tensor":
    """1 / (1 + exp(-x))."""
    return unary(SIGMOID, x)


def tanh(x: Any) -> "Tensor":
    return unary(TANH, x)


def silu(x: Any) -> "Tensor":
    """x * sigmoid(x). Source: Hendrycks and Gimpel 2016, arXiv:1606.08415."""
    return unary(SILU, x)


def softplus(x: Any) -> "Tensor":
    """log(1 + exp(x))."""
    return unary(SOFTPLUS, x)


def gelu(x: Any, approximate: Literal["none", "tanh"] = "none") -> "Tensor":
    """x times the share of the normal distribution below x; "tanh" is a faster approximation.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate is 'none' or 'tanh', not {approximate!r}")
    return unary(GELU if approximate == "none" else GELU_TANH, x)
