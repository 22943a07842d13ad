"""Losses: numbers that are small where predictions are good.

`reduction` is "mean" (over all losses; 0 where there is none), "sum", or "none" for each loss by itself. Targets may be
arrays of numpy, and of integers or bool.
"""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from msgflow._version_clock import Cell
from msgflow.errors import ShapeError
from msgflow.tensor.halves import narrow, wide
from msgflow.tensor.normalising import normalize
from msgflow.tensor.operations import Operand, Operation, apply, tensor_of
from msgflow.tensor.rules.activations import RELU
from msgflow.tensor.rules.arithmetic import ABS, SQUARE, SUBTRACT
from msgflow.tensor.rules.functions import SQRT
from msgflow.tensor.rules.indexing import as_indexes
from msgflow.tensor.rules.losses import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, LOGIT_LOSS, SQUARED_ERROR

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor

Reduction: TypeAlias = Literal["mean", "sum", "none"]


def mse_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> "Tensor":
    """Squared differences. Raises ShapeError where the shapes are not equal: broadcasting would be a mistake here."""
    x, target = _pair("mse_loss", SUBTRACT, x, target)
    if reduction == "none":
        return apply(SQUARE, apply(SUBTRACT, x, target))
    return apply(SQUARED_ERROR, x, target, scale=_scale(x, reduction))


def l1_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> "Tensor":
    """Absolute differences. Raises ShapeError where the shapes are not equal."""
    return _reduced(apply(ABS, apply(SUBTRACT, *_pair("l1_loss", SUBTRACT, x, target))), reduction)


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> "Tensor":
    """The negative logarithm of the probability, by softmax, of the right class.

    Shape: logits (..., c), target (...), class indexes from 0 to c - 1; the classes are on the last axis, where
    PyTorch has them on the second. Targets that are `ignore_index` count nowhere, not in the mean either; the mean over
    none is 0. `label_smoothing` is the share of the target that is spread evenly over all classes.
    Raises ShapeError for a class that there is not, or a target of another shape; DTypeError for one of floats.
    """
    logits = tensor_of(CROSS_ENTROPY, logits)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is a share, from 0 to 1, not {label_smoothing}")
    if not logits.shape:
        raise ShapeError("cross_entropy", [logits.shape], "there is no last axis with the classes")
    return apply(
        CROSS_ENTROPY,
        logits,
        as_indexes("cross_entropy", logits, target),
        reduction=_known(reduction),
        ignore_index=int(ignore_index),
        label_smoothing=float(label_smoothing),
    )


def binary_cross_entropy(x: Any, target: Any, *, reduction: Reduction = "mean") -> "Tensor":
    """The negative logarithm of the probability x of the target 1, or of 1 - x for the target 0; at most 100.

    Raises ShapeError where the shapes are not equal, TensorError for an x that is no probability.
    """
    pair = _pair("binary_cross_entropy", BINARY_CROSS_ENTROPY, x, target)
    return _reduced(apply(BINARY_CROSS_ENTROPY, *pair), reduction)


def binary_cross_entropy_with_logits(x: Any, target: Any, *, reduction: Reduction = "mean") -> "Tensor":
    """binary_cross_entropy of sigmoid(x), without its loss of precision. Raises ShapeError for unequal shapes."""
    return _reduced(apply(LOGIT_LOSS, *_pair("binary_cross_entropy_with_logits", LOGIT_LOSS, x, target)), reduction)


def triplet_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, *, reduction: Reduction = "mean"
) -> "Tensor":
    """By how much less than `margin` the negative is farther from the anchor than the positive is; 0 if by none.

    Shape: all (..., d); one loss for each of the leading axes. 1e-6 is added to differences, as in PyTorch, so that
    there is a gradient for equal vectors. Raises ShapeError where the shapes are not equal.
    Source: Schroff et al. 2015, arXiv:1503.03832, with distances that are not squared.
    """
    anchor, positive = _pair("triplet_loss", SUBTRACT, anchor, positive)
    _, negative = _pair("triplet_loss", SUBTRACT, anchor, negative)
    near, far = _distance(anchor, positive), _distance(anchor, negative)
    losses = _reduced(apply(RELU, near - far + margin), reduction)
    return narrow(losses, anchor, positive, negative)


def info_nce(
    queries: Any, keys: Any, temperature: float = 0.07, *, symmetric: bool = False, reduction: Reduction = "mean"
) -> "Tensor":
    """How hard it is to tell the key of each query from all the others, by cosine similarity over `temperature`.

    Shape: queries (n, d), keys (m, d) with m at least n; key i belongs to query i, the others to none. `symmetric` is
    the mean of this and of the same the other way round, as in CLIP, for m = n. Raises ShapeError for other shapes.
    Source: van den Oord et al. 2018, arXiv:1807.03748, eq. 4.
    """
    queries, keys = tensor_of(SUBTRACT, queries), tensor_of(SUBTRACT, keys)
    shapes = [queries.shape, keys.shape]
    if not queries.ndim == keys.ndim == 2 or queries.shape[1] != keys.shape[1] or len(keys) < len(queries):
        raise ShapeError("info_nce", shapes, f"{shapes[0]} and {shapes[1]} are not (n, d) and (m, d) with m at least n")
    if symmetric and len(keys) != len(queries):
        raise ShapeError("info_nce", shapes, f"{shapes[0]} and {shapes[1]} are not of one length, to be symmetric")
    unit_queries, unit_keys = (normalize(wide(given)) for given in (queries, keys))
    logits = (unit_queries @ unit_keys.mT) * (1 / temperature)
    target = np.arange(len(queries))
    losses = cross_entropy(logits, target, reduction=reduction)
    if symmetric:
        losses = (losses + cross_entropy(logits.mT, target, reduction=reduction)) * 0.5
    return narrow(losses, queries, keys)


def _distance(x: "Tensor", y: "Tensor") -> "Tensor":
    difference = wide(x) - wide(y) + 1e-6
    return apply(SQRT, (difference * difference).sum(-1))


def _pair(name: str, operation: Operation, x: Any, target: Any) -> "tuple[Tensor, Tensor]":
    x = tensor_of(operation, x)
    if not isinstance(target, Operand | Cell):
        numbers = x.beside(x.copy_of(np.asanyarray(target)).array)
        # Python's floats have the type of whatever they are beside.
        target = numbers if isinstance(target, np.ndarray) else numbers.to(dtype=x.dtype)
    target = tensor_of(operation, target)
    if x.shape != target.shape:
        raise ShapeError(name, [x.shape, target.shape])
    if x.dtype.is_floating and not target.dtype.is_floating:
        target = target.to(dtype=x.dtype)
    return x, target


def _reduced(losses: "Tensor", reduction: str) -> "Tensor":
    if reduction == "none":
        return losses
    scale = _scale(losses, reduction)
    return losses.sum() * scale if scale != 1 else losses.sum()


def _scale(losses: "Tensor", reduction: str) -> float:
    return 1.0 if _known(reduction) == "sum" else 1 / max(losses.size, 1)


def _known(reduction: str) -> str:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is 'mean', 'sum' or 'none', not {reduction!r:.40}")
    return reduction
