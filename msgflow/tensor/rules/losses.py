"""Losses that are one operation, so that they are stable, and cheap both ways."""

from math import prod
from typing import TYPE_CHECKING, Any

from msgflow.errors import DTypeError, IndexOutOfRange, ShapeError, TensorError
from msgflow.tensor.backends import Array, Namespace, into, lowered, may_be_looked_at
from msgflow.tensor.dtypes import bool_, stored_as
from msgflow.tensor.operations import Operation, apply
from msgflow.tensor.rules.activations import SIGMOID
from msgflow.tensor.rules.arithmetic import MAXIMUM
from msgflow.tensor.rules.converting import FULL_LIKE
from msgflow.tensor.rules.normalising import SOFTMAX, shifted, softmaxed

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def _classes(xp: Namespace, target: Array, shape: tuple[int, ...], ignore_index: int) -> tuple[Array, Array]:
    """The class of each row of logits of this shape, 0 for those that do not count, and which ones do; both (n,)."""
    dtype = stored_as(target.dtype)
    if dtype.is_floating or dtype is bool_:
        raise DTypeError(f"cross_entropy: a target is of class indexes, whole numbers, not of {dtype.name}")
    if tuple(target.shape) != shape[:-1]:
        reason = f"logits {shape} have a target {shape[:-1]}, not {tuple(target.shape)}"
        raise ShapeError("cross_entropy", [shape, tuple(target.shape)], reason)
    classes = xp.astype(xp.reshape(target, (prod(shape[:-1]),)), xp.int64)
    counts = classes != ignore_index
    classes = xp.where(counts, classes, 0)
    if classes.shape[0] and may_be_looked_at(classes):
        low, high = int(xp.min(classes)), int(xp.max(classes))
        if low < 0 or high >= shape[-1]:
            wrong = low if low < 0 else high
            raise IndexOutOfRange("cross_entropy", [shape], f"class {wrong} is none of the {shape[-1]} that there are")
    return classes, counts


def _rows(xp: Namespace, logits: Array, target: Array, ignore_index: int) -> tuple[Array, Array, Array]:
    """The logits as rows (n, c), the places of their classes among all logits (n,), and which rows count (n,)."""
    shape = tuple(logits.shape)
    classes, counts = _classes(xp, target, shape, ignore_index)
    places = xp.arange(classes.shape[0]) * shape[-1] + classes
    return xp.reshape(logits, (classes.shape[0], shape[-1])), places, counts


def _cross_entropy(
    xp: Namespace, logits: Array, target: Array, *, reduction: str, ignore_index: int, label_smoothing: float
) -> Array:
    rows, places, counts = _rows(xp, logits, target, ignore_index)
    logs = shifted(xp, rows, -1)
    losses = -xp.take(xp.reshape(logs, (-1,)), places)
    if label_smoothing:
        losses *= 1 - label_smoothing
        losses -= label_smoothing * xp.mean(logs, axis=-1)
    logs = xp.exp(logs, **into(logs))
    losses += xp.log(xp.maximum(xp.sum(logs, axis=-1), 1.0))
    losses = xp.where(counts, losses, 0.0)
    if reduction == "none":
        return xp.reshape(losses, target.shape)
    if reduction == "sum":
        return xp.sum(losses)
    return xp.sum(losses) / xp.maximum(xp.sum(xp.astype(counts, losses.dtype)), 1.0)


def _cross_entropy_gradient(
    grad: "Tensor", out: "Tensor", logits: "Tensor", target: "Tensor", **settings: Any
) -> "Tensor":
    return apply(SLOPE, grad, logits, target, **settings)


CROSS_ENTROPY = Operation("cross_entropy", _cross_entropy, [_cross_entropy_gradient, None], typed_by=1)


def _slope(
    xp: Namespace, grad: Array, logits: Array, target: Array, *, ignore_index: int, label_smoothing: float, **kind: str
) -> Array:
    """The gradient of the logits: the softmax less the target's distribution, times the share of each row."""
    rows, places, _ = _rows(xp, logits, target, ignore_index)
    slope = softmaxed(xp, rows, axis=-1)
    if label_smoothing:
        slope -= label_smoothing / rows.shape[-1]
    slope = lowered(xp.reshape(slope, (-1,)), places, 1 - label_smoothing)
    slope = xp.reshape(slope, logits.shape)
    slope *= _shared(xp, grad, target, ignore_index=ignore_index, **kind)[..., None]
    return slope


def _shared(xp: Namespace, grad: Array, target: Array, *, reduction: str, ignore_index: int) -> Array:
    """The gradient of each row's loss, from that of their sum or mean. Shape: as the target."""
    shares = xp.astype(xp.astype(target, xp.int64) != ignore_index, grad.dtype)
    shares *= grad / xp.maximum(xp.sum(shares), 1.0) if reduction == "mean" else grad
    return shares


def _slope_grad(
    wanted: "Tensor", out: "Tensor", grad: "Tensor", logits: "Tensor", target: "Tensor", **settings: Any
) -> "Tensor":
    return (wanted * apply(SLOPE, apply(FULL_LIKE, grad, value=1), logits, target, **settings)).sum(-1)


def _slope_logits(
    wanted: "Tensor", out: "Tensor", grad: "Tensor", logits: "Tensor", target: "Tensor", **settings: Any
) -> "Tensor":
    kind = {name: settings[name] for name in ("reduction", "ignore_index")}
    weights = apply(SOFTMAX, logits, axis=logits.ndim - 1)
    weighted = weights * apply(SHARED, grad, target, **kind).reshape(*target.shape, 1)
    return (wanted - (wanted * weights).sum(-1, keepdims=True)) * weighted


def _shared_gradient(wanted: "Tensor", out: "Tensor", grad: "Tensor", target: "Tensor", **kind: Any) -> "Tensor":
    return wanted * apply(SHARED, apply(FULL_LIKE, grad, value=1), target, **kind)


SLOPE = Operation("cross_entropy_slope", _slope, [_slope_grad, _slope_logits, None], typed_by=2)
SHARED = Operation("cross_entropy_shared", _shared, [_shared_gradient, None], typed_by=1)


def _squared_error(xp: Namespace, x: Array, y: Array, *, scale: float) -> Array:
    """The sum of squared differences, times a number."""
    differences = xp.reshape(x - y, (-1,))
    return xp.vecdot(differences, differences) * scale


SQUARED_ERROR = Operation(
    "squared_error",
    _squared_error,
    [
        lambda grad, out, x, y, scale: (x - y) * (grad * (2 * scale)),
        lambda grad, out, x, y, scale: (y - x) * (grad * (2 * scale)),
    ],
)


def _logit_loss(xp: Namespace, x: Array, y: Array) -> Array:
    losses = xp.maximum(x, 0.0)
    losses -= x * y  # 0 where the target is right, so that the small number added next is not lost
    losses += xp.log1p(xp.exp(-xp.abs(x)))
    return losses


LOGIT_LOSS = Operation(
    "binary_cross_entropy_with_logits",
    _logit_loss,
    [lambda grad, out, x, y: grad * (apply(SIGMOID, x) - y), lambda grad, out, x, y: grad * -x],
)


def _binary_cross_entropy(xp: Namespace, p: Array, y: Array) -> Array:
    if prod(p.shape) and may_be_looked_at(p) and not bool(xp.all((p >= 0) & (p <= 1))):
        raise TensorError(
            "binary_cross_entropy: probabilities are from 0 to 1; for others there is binary_cross_entropy_with_logits"
        )
    # As in PyTorch, no logarithm is below -100, so that the loss of what was held impossible stays finite.
    yes = xp.where(p > 0, xp.maximum(xp.log(xp.where(p > 0, p, 1.0)), -100.0), -100.0)
    no = xp.where(p < 1, xp.maximum(xp.log1p(-xp.where(p < 1, p, 0.0)), -100.0), -100.0)
    return -(y * yes + (1 - y) * no)


def _probability_gradient(grad: "Tensor", out: "Tensor", p: "Tensor", y: "Tensor") -> "Tensor":
    return grad * (p - y) / apply(MAXIMUM, p * (1 - p), 1e-12)


def _target_gradient(grad: "Tensor", out: "Tensor", p: "Tensor", y: "Tensor") -> "Tensor":
    return grad * (apply(BINARY_CROSS_ENTROPY, p, 1.0) - apply(BINARY_CROSS_ENTROPY, p, 0.0))


BINARY_CROSS_ENTROPY = Operation(
    "binary_cross_entropy", _binary_cross_entropy, [_probability_gradient, _target_gradient]
)
