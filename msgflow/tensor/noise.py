"""Numbers left out at random."""

from typing import TYPE_CHECKING, Any

import numpy as np

from msgflow.tensor.backends import Array, Namespace, like
from msgflow.tensor.operations import Operation, apply, tensor_of
from msgflow.tensor.randomness import generator

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def _drawn(xp: Namespace, x: Array, *, p: float) -> Array:
    """For each number whether it stays."""
    return like(generator().random(x.shape, dtype=np.float32) >= p, x)


def _kept(xp: Namespace, x: Array, stays: Array, *, scale: float, **out: Array) -> Array:
    numbers = xp.multiply(x, scale, **out)
    numbers *= xp.astype(stays, numbers.dtype)
    return numbers


def _kept_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", stays: "Tensor", *, scale: float) -> "Tensor":
    return apply(KEPT, grad, stays, scale=scale)


# An operation of its own, so that a Runtime draws anew in each run.
DRAWN = Operation("draw", _drawn, moves=True)
KEPT = Operation("dropout", _kept, [_kept_gradient, None], typed_by=1, in_place=True)


def dropout(x: Any, p: float = 0.5, training: bool = True) -> "Tensor":
    """Each number replaced by 0 with probability p, the others divided by 1 - p; x itself where not training.

    Random numbers are those of `mt.manual_seed`. Raises ValueError for a p that is no probability.
    Source: Srivastava et al. 2014, JMLR 15; scaled in training instead of in use.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability, from 0 to 1, not {p}")
    numbers = tensor_of(KEPT, x)
    if not training or p == 0:
        return numbers
    return apply(KEPT, numbers, apply(DRAWN, numbers, p=float(p)), scale=1 / (1 - p) if p < 1 else 0.0)
