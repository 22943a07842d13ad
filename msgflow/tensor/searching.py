"""The largest, the smallest, and all in order. NaN counts as the largest; of equal numbers the first comes first."""

from typing import TYPE_CHECKING, NamedTuple

from msgflow.errors import ShapeError
from msgflow.tensor.operations import apply, tensor_of
from msgflow.tensor.rules.indexing import GATHER
from msgflow.tensor.rules.reducing import axis_of
from msgflow.tensor.rules.searching import ARGSORT, TOPK

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


class Found(NamedTuple):
    """Numbers, and where they were along the axis that was searched."""

    values: "Tensor"
    indexes: "Tensor"


def topk(x: "Tensor", k: int, axis: int = -1, largest: bool = True) -> Found:
    """The k largest numbers along an axis, the largest first; or the k smallest, the smallest first.

    Shape: as x, with k on `axis`; the indexes are int64. The values have gradients.
    Raises ShapeError for a k that is more than there are.
    """
    x = tensor_of(TOPK, x)
    axis = axis_of(x, axis)
    if not 0 <= k <= x.shape[axis]:
        raise ShapeError("topk", [x.shape], f"k is {k}, and the axis {axis} has {x.shape[axis]}")
    indexes = apply(TOPK, x, k=int(k), axis=axis, largest=bool(largest))
    return Found(apply(GATHER, x, indexes, axis=axis), indexes)


def sort(x: "Tensor", axis: int = -1, *, descending: bool = False) -> Found:
    """All numbers along an axis in order. Shape: as x; the indexes are int64. The values have gradients."""
    x = tensor_of(ARGSORT, x)
    indexes = argsort(x, axis, descending=descending)
    return Found(apply(GATHER, x, indexes, axis=axis_of(x, axis)), indexes)


def argsort(x: "Tensor", axis: int = -1, *, descending: bool = False) -> "Tensor":
    """The indexes that bring the numbers along an axis into order. Shape: as x, of int64."""
    x = tensor_of(ARGSORT, x)
    return apply(ARGSORT, x, axis=axis_of(x, axis), descending=bool(descending))
