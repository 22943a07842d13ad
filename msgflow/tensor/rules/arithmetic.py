"""Arithmetic; the arrays broadcast. Gradients at corners and ties are PyTorch's."""

from math import log, nan
from operator import pow as power
from typing import TYPE_CHECKING, Any

import numpy as np

from msgflow.tensor.backends import Array, Namespace
from msgflow.tensor.dtypes import stored_as
from msgflow.tensor.operations import Operation, apply, elementwise
from msgflow.tensor.rules.comparing import WHERE
from msgflow.tensor.rules.converting import FULL_LIKE

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def _none(grad: "Tensor", out: "Tensor", x: "Tensor") -> "Tensor":
    """The gradient of steps: 0 wherever there is one."""
    return apply(FULL_LIKE, grad, value=0)


def _unless(condition: Any, grad: "Tensor") -> "Tensor":
    """The gradient, and 0 where the condition holds."""
    return apply(WHERE, 0, grad, condition)


def _power_base(grad: "Tensor", out: "Tensor", x: "Tensor", y: Any) -> "Tensor":
    if isinstance(y, float | int):
        return grad * (y * x ** (y - 1)) if y else _none(grad, out, x)
    # Where the exponent is 0, so is the gradient, and 0 ** -1 is not to be computed.
    slope: Tensor = y * x ** apply(WHERE, 1, y - 1, y == 0)
    return grad * slope


def _power_exponent(grad: "Tensor", out: "Tensor", x: Any, y: "Tensor") -> "Tensor":
    if isinstance(x, float | int):
        if not x:
            return _none(grad, out, y)
        return grad * (out * (log(x) if x > 0 else nan))
    flat = (x == 0) & (y >= 0)
    return _unless(flat, grad * (out * apply(WHERE, 1, x, flat).log()))


def _larger(grad: "Tensor", out: "Tensor", x: Any, y: Any) -> "Tensor":
    return _won(grad, x < y, x <= y)


def _smaller(grad: "Tensor", out: "Tensor", x: Any, y: Any) -> "Tensor":
    return _won(grad, x > y, x >= y)


def _won(grad: "Tensor", lost: "Tensor", not_won: "Tensor") -> "Tensor":
    """The gradient of one of two that were compared: half of it where they are equal."""
    return grad * (1 - (lost.to(dtype=grad.dtype) + not_won.to(dtype=grad.dtype)) * 0.5)


def _clip(xp: Namespace, x: Array, *, low: float | None, high: float | None) -> Array:
    if not stored_as(x.dtype).is_floating and (isinstance(low, float) or isinstance(high, float)):
        x = xp.astype(x, xp.float64)
    if low is not None:
        x = xp.maximum(x, low)
    return x if high is None else xp.minimum(x, high)


def _clip_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", low: float | None, high: float | None) -> "Tensor":
    if low is not None:
        grad = grad * (x >= low)
    return grad if high is None else grad * (x <= high)


ADD = elementwise("add", lambda grad, out, x, y: grad, lambda grad, out, x, y: grad)
SUBTRACT = elementwise("subtract", lambda grad, out, x, y: grad, lambda grad, out, x, y: -grad)
MULTIPLY = elementwise("multiply", lambda grad, out, x, y: grad * y, lambda grad, out, x, y: grad * x)
DIVIDE = elementwise("divide", lambda grad, out, x, y: grad / y, lambda grad, out, x, y: -grad * (out / y), floats=True)
FLOOR_DIVIDE = elementwise(
    "floor_divide", lambda grad, out, x, y: _none(grad, out, x), lambda grad, out, x, y: _none(grad, out, y)
)
REMAINDER = elementwise("remainder", lambda grad, out, x, y: grad, lambda grad, out, x, y: -grad * (x // y))
# The operator, because it knows the short ways for squares and roots that the function does not.
POWER = Operation("power", lambda xp, x, y: x**y, [_power_base, _power_exponent], ufunc=power)
NEGATIVE = elementwise("negative", lambda grad, out, x: -grad)
ABS = elementwise("abs", lambda grad, out, x: grad * x.sign())
SIGN = elementwise("sign", _none)
FLOOR = elementwise("floor", _none)
CEIL = elementwise("ceil", _none)
ROUND = Operation("round", lambda xp, x: xp.round(x), [_none], ufunc=np.round)
SQUARE = elementwise("square", lambda grad, out, x: grad * (x * 2))
MAXIMUM = elementwise("maximum", _larger, lambda grad, out, x, y: _larger(grad, out, y, x))
MINIMUM = elementwise("minimum", _smaller, lambda grad, out, x, y: _smaller(grad, out, y, x))
CLIP = Operation("clip", _clip, [_clip_gradient])
