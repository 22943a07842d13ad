"""What neurons do to a number. All are stable: numbers, however large, give no warning and no NaN."""

from math import pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from msgflow.tensor.backends import Array, Namespace, overflowing
from msgflow.tensor.operations import Operation, apply, floating
from msgflow.tensor.rules.erf import erf

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def _relu(xp: Namespace, x: Array, **out: Array) -> Array:
    return xp.maximum(x, 0, **out)


RELU = Operation(
    "relu",
    _relu,
    # A product, because numpy chooses between numbers ten times slower; NaN lets the gradient pass, as in PyTorch.
    [lambda grad, out, x: grad * ~(out <= 0)],
    ufunc=lambda x: np.maximum(x, 0),
    in_place=True,
)


def _leaky_relu(xp: Namespace, x: Array, *, slope: float) -> Array:
    (x,) = floating(xp, x)
    return xp.maximum(x, x * slope) if slope <= 1 else xp.minimum(x, x * slope)


def _leaky_relu_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, slope: float) -> "Tensor":
    return grad * ((x > 0).to(dtype=grad.dtype) * (1 - slope) + slope)


LEAKY_RELU = Operation("leaky_relu", _leaky_relu, [_leaky_relu_gradient])


def _sigmoid(xp: Namespace, x: Array) -> Array:
    (x,) = floating(xp, x)
    with overflowing():  # exp to infinity, whose reciprocal is the right 0
        odds = xp.exp(-x)
        odds += 1
        return 1 / odds


SIGMOID = Operation(
    "sigmoid", _sigmoid, [lambda grad, out, x: grad * (out * (1 - out))], ufunc=lambda x: _sigmoid(np, x)
)


def _silu(xp: Namespace, x: Array) -> Array:
    (x,) = floating(xp, x)
    return x * _sigmoid(xp, x)


def _silu_gradient(grad: "Tensor", out: "Tensor", x: "Tensor") -> "Tensor":
    sigmoid = apply(SIGMOID, x)
    return grad * (sigmoid + out * (1 - sigmoid))


SILU = Operation("silu", _silu, [_silu_gradient], ufunc=lambda x: _silu(np, x))


def _softplus(xp: Namespace, x: Array) -> Array:
    (x,) = floating(xp, x)
    value = xp.log1p(xp.exp(-xp.abs(x)))
    value += xp.maximum(x, 0)
    return value


SOFTPLUS = Operation(
    "softplus", _softplus, [lambda grad, out, x: grad * apply(SIGMOID, x)], ufunc=lambda x: _softplus(np, x)
)


def _gelu(xp: Namespace, x: Array) -> Array:
    (x,) = floating(xp, x)
    value = erf(xp, x * sqrt(0.5))
    value += 1
    value *= x
    value *= 0.5
    return value


def _gelu_gradient(grad: "Tensor", out: "Tensor", x: "Tensor") -> "Tensor":
    x = x.clip(-40.0, 40.0)  # the slope is 0 or 1 from long before, and the square of no number overflows
    share = (x * sqrt(0.5)).erf() * 0.5 + 0.5
    density = (x * x * -0.5).exp() * (1 / sqrt(2 * pi))
    return grad * (share + x * density)


GELU = Operation("gelu", _gelu, [_gelu_gradient], ufunc=lambda x: _gelu(np, x))


def _gelu_tanh(xp: Namespace, x: Array) -> Array:
    (x,) = floating(xp, x)
    with overflowing():  # to infinity, whose tanh is the right 1
        value = x * x
        value *= 0.044715
        value += 1
        value *= x
        value *= sqrt(2 / pi)
    value = xp.tanh(value)
    value += 1
    value *= x
    value *= 0.5
    return value


def _gelu_tanh_gradient(grad: "Tensor", out: "Tensor", x: "Tensor") -> "Tensor":
    x = x.clip(-40.0, 40.0)
    tanh = ((x * x * 0.044715 + 1) * x * sqrt(2 / pi)).tanh()
    inner_slope = (x * x * (3 * 0.044715) + 1) * sqrt(2 / pi)
    return grad * ((tanh + 1) * 0.5 + x * (1 - tanh * tanh) * inner_slope * 0.5)


GELU_TANH = Operation("gelu_tanh", _gelu_tanh, [_gelu_tanh_gradient], ufunc=lambda x: _gelu_tanh(np, x))
