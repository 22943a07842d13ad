"""Functions of one number."""

from math import pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from msgflow.tensor.backends import Array, Namespace
from msgflow.tensor.operations import Operation, elementwise, floating
from msgflow.tensor.rules.erf import erf

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor

EXP = elementwise("exp", lambda grad, out, x: grad * out, floats=True)
EXPM1 = elementwise("expm1", lambda grad, out, x: grad * (out + 1), floats=True)
LOG = elementwise("log", lambda grad, out, x: grad / x, floats=True)
LOG1P = elementwise("log1p", lambda grad, out, x: grad / (x + 1), floats=True)
SQRT = elementwise("sqrt", lambda grad, out, x: grad / (out * 2), floats=True)
SIN = elementwise("sin", lambda grad, out, x: grad * x.cos(), floats=True)
COS = elementwise("cos", lambda grad, out, x: -grad * x.sin(), floats=True)
TANH = elementwise("tanh", lambda grad, out, x: grad * (1 - out * out), floats=True)


def _rsqrt(xp: Namespace, x: Array) -> Array:
    (x,) = floating(xp, x)
    return 1 / xp.sqrt(x)


RSQRT = Operation(
    "rsqrt", _rsqrt, [lambda grad, out, x: grad * (out * out * out) * -0.5], ufunc=lambda x: _rsqrt(np, x)
)


def _erf_gradient(grad: "Tensor", out: "Tensor", x: "Tensor") -> "Tensor":
    x = x.clip(-30.0, 30.0)  # the slope is 0 from long before, and the square of no number overflows
    return grad * ((x * x * -1).exp() * (2 / sqrt(pi)))


ERF = Operation(
    "erf",
    lambda xp, x: erf(xp, *floating(xp, x)),
    [_erf_gradient],
    ufunc=lambda x: erf(np, *floating(np, x)),
)
