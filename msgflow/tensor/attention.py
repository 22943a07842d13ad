"""Attention."""

from math import inf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from msgflow._version_clock import Cell
from msgflow.errors import DTypeError, ShapeError
from msgflow.tensor.dtypes import bool_
from msgflow.tensor.halves import narrow, wide
from msgflow.tensor.noise import dropout
from msgflow.tensor.operations import Operand, apply, tensor_of
from msgflow.tensor.rules.comparing import WHERE
from msgflow.tensor.rules.normalising import SOFTMAX
from msgflow.tensor.rules.products import MATMUL

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    *,
    is_causal: bool = False,
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> "Tensor":
    """softmax(q k^T scale + mask) v: for each query, the mean of the values, weighted by how well their keys fit it.

    Shape: q (..., n, d), k (..., m, d), v (..., m, e), mask (..., n, m), result (..., n, e); leading axes broadcast.
    A mask of bool says where a query may attend, a mask of floats is added. With `is_causal`, query i may attend to
    keys up to i at most, beside what the mask says. `scale` is 1 / sqrt(d) by default.
    A query that may attend to nothing gets zeros, as in PyTorch. 16-bit floats are computed with in float32.
    Raises ShapeError for shapes that do not fit, DTypeError for a mask of integers.
    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
    """
    taken, _ = attended(q, k, v, mask, is_causal=is_causal, dropout_p=dropout_p, scale=scale)
    return taken


def attended(
    q: Any, k: Any, v: Any, mask: Any, *, is_causal: bool = False, dropout_p: float = 0.0, scale: float | None = None
) -> "tuple[Tensor, Tensor]":
    """As scaled_dot_product_attention, with the weights, after the dropout; those of 16-bit floats are float32."""
    inputs = [tensor_of(MATMUL, given) for given in (q, k, v)]
    q, k, v = map(wide, inputs)
    shapes = [given.shape for given in inputs]
    if min(map(len, shapes)) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError("scaled_dot_product_attention", shapes)
    # Scaling the queries is less work than scaling the scores, of which there are more.
    scores = (q * (1 / sqrt(max(q.shape[-1], 1)) if scale is None else scale)) @ k.mT
    if mask is not None:
        scores = _masked(scores, _mask_of(mask, scores))
    if is_causal:
        scores = _masked(scores, _mask_of(np.tri(*scores.shape[-2:], dtype=bool), scores))
    weights = dropout(apply(SOFTMAX, scores, axis=scores.ndim - 1), dropout_p)
    return narrow(weights @ v, *inputs), weights


def _masked(scores: "Tensor", mask: "Tensor") -> "Tensor":
    if mask.dtype is bool_:
        return apply(WHERE, scores, -inf, mask)
    if not mask.dtype.is_floating:
        raise DTypeError(f"a mask is of bool (True may attend) or of floats (which are added), not {mask.dtype.name}")
    return scores + mask.to(dtype=scores.dtype)


def _mask_of(mask: Any, scores: "Tensor") -> "Tensor":
    if isinstance(mask, Operand | Cell):
        return tensor_of(WHERE, mask)
    return scores.beside(np.array(mask))
