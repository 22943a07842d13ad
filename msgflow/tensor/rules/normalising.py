"""Rows of numbers brought to a sum, a spread or a length. Each is one operation, with hardly a temporary array."""

from typing import TYPE_CHECKING

from msgflow.tensor.backends import Array, Namespace, into, overflowing
from msgflow.tensor.operations import Operation, apply, floating
from msgflow.tensor.rules.comparing import WHERE

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def shifted(xp: Namespace, x: Array, axis: int, **out: Array) -> Array:
    """The numbers less the largest of them, so that their exponentials do not overflow; -inf stays -inf."""
    (x,) = floating(xp, x)
    if not x.shape[axis]:
        return xp.astype(x, x.dtype)
    # A row of -inf alone would become NaN; less the lowest finite number, it stays what it is.
    highest = xp.maximum(xp.max(x, axis=axis, keepdims=True), float(xp.finfo(x.dtype).min))
    with overflowing():  # to -inf, far below the largest
        return xp.subtract(x, highest, **out)


def softmaxed(xp: Namespace, x: Array, *, axis: int, **out: Array) -> Array:
    """The softmax along an axis; zeros for what is -inf all along it."""
    weights = shifted(xp, x, axis, **out)
    weights = xp.exp(weights, **into(weights))
    # The sum is at least 1, the exponential of the largest, unless there is nothing to sum.
    weights /= xp.maximum(xp.sum(weights, axis=axis, keepdims=True), 1.0)
    return weights


def _softmax_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, axis: int) -> "Tensor":
    return (grad - (grad * out).sum(axis, keepdims=True)) * out


def _log_softmax(xp: Namespace, x: Array, *, axis: int, **out: Array) -> Array:
    logs = shifted(xp, x, axis, **out)
    logs -= xp.log(xp.maximum(xp.sum(xp.exp(logs), axis=axis, keepdims=True), 1.0))
    return logs


def _log_softmax_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, axis: int) -> "Tensor":
    return grad - out.exp() * grad.sum(axis, keepdims=True)


SOFTMAX = Operation("softmax", softmaxed, [_softmax_gradient], in_place=True)
LOG_SOFTMAX = Operation("log_softmax", _log_softmax, [_log_softmax_gradient], in_place=True)


def _squared_length(xp: Namespace, x: Array) -> Array:
    """The sum of squares along the last axis, which stays, without an array of the squares."""
    return xp.vecdot(x, x, axis=-1)[..., None]


def _centred(xp: Namespace, x: Array, **out: Array) -> Array:
    """The numbers less the mean of the last axis."""
    (x,) = floating(xp, x)
    mean = xp.sum(x, axis=-1, keepdims=True)
    mean /= max(x.shape[-1], 1)
    return xp.subtract(x, mean, **out)


def _inverse_root(xp: Namespace, squares: Array, count: int, eps: float) -> Array:
    """1 over the root of the mean of squares of which the sum is given."""
    squares /= max(count, 1)
    squares += eps
    return 1 / xp.sqrt(squares)


def _normalised(xp: Namespace, x: Array, *, eps: float, **out: Array) -> Array:
    numbers = _centred(xp, x, **out)
    numbers *= _inverse_root(xp, _squared_length(xp, numbers), x.shape[-1], eps)
    return numbers


def _normalised_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, eps: float) -> "Tensor":
    scale = apply(INVERSE_DEVIATION, x, eps=eps)
    return (grad - _mean(grad) - out * _mean(grad * out)) * scale


def _mean(x: "Tensor") -> "Tensor":
    return x.sum(-1, keepdims=True) * (1 / max(x.shape[-1], 1))


def _inverse_deviation(xp: Namespace, x: Array, *, eps: float) -> Array:
    return _inverse_root(xp, _squared_length(xp, _centred(xp, x)), x.shape[-1], eps)


def _inverse_deviation_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, eps: float) -> "Tensor":
    return apply(NORMALISED, x, eps=eps) * (grad * out * out * (-1 / max(x.shape[-1], 1)))


# The last axis brought to mean 0 and variance 1, and what its deviations are multiplied by for that.
NORMALISED = Operation("normalise", _normalised, [_normalised_gradient], in_place=True)
INVERSE_DEVIATION = Operation("inverse_deviation", _inverse_deviation, [_inverse_deviation_gradient])


def _rms_normalised(xp: Namespace, x: Array, *, eps: float, **out: Array) -> Array:
    (x,) = floating(xp, x)
    return xp.multiply(x, _inverse_rms(xp, x, eps=eps), **out)


def _rms_normalised_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, eps: float) -> "Tensor":
    return (grad - out * _mean(grad * out)) * apply(INVERSE_RMS, x, eps=eps)


def _inverse_rms(xp: Namespace, x: Array, *, eps: float) -> Array:
    (x,) = floating(xp, x)
    return _inverse_root(xp, _squared_length(xp, x), x.shape[-1], eps)


def _inverse_rms_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, eps: float) -> "Tensor":
    return apply(RMS_NORMALISED, x, eps=eps) * (grad * out * out * (-1 / max(x.shape[-1], 1)))


# The last axis brought to a mean square of 1, and what it is multiplied by for that.
RMS_NORMALISED = Operation("rms_normalise", _rms_normalised, [_rms_normalised_gradient], in_place=True)
INVERSE_RMS = Operation("inverse_rms", _inverse_rms, [_inverse_rms_gradient])


def _dot(xp: Namespace, x: Array, y: Array, *, axis: int) -> Array:
    return xp.expand_dims(xp.vecdot(x, y, axis=axis), axis=axis)


def _inverse_length(xp: Namespace, x: Array, *, axis: int, eps: float) -> Array:
    (x,) = floating(xp, x)
    return 1 / xp.maximum(xp.sqrt(_dot(xp, x, x, axis=axis)), eps)


def _inverse_length_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, axis: int, eps: float) -> "Tensor":
    # Nothing changes below eps. A little less than its inverse, because that may have been rounded.
    scale = apply(WHERE, out, 0, out < (1 - 1e-6) / eps)
    return (x * scale) * -(grad * scale * scale)


# The products of vectors along an axis, which is counted from the last and stays.
DOT = Operation("dot", _dot, [lambda grad, out, x, y, axis: grad * y, lambda grad, out, x, y, axis: grad * x])
# 1 over the length of the vectors along an axis, which is counted from the last and stays; for those shorter than eps,
# 1 over eps.
INVERSE_LENGTH = Operation("inverse_length", _inverse_length, [_inverse_length_gradient])
