"""Numbers chosen by indexes. Negative indexes count from the last one, as everywhere in Python.

Their gradients go back to the numbers that were chosen, added up where one was chosen several times.
"""

from typing import TYPE_CHECKING, Any

from msgflow.tensor.dtypes import DTypeLike, as_dtype, float32
from msgflow.tensor.operations import apply, tensor_of
from msgflow.tensor.rules.indexing import GATHER, ONE_HOT, TAKE, as_indexes
from msgflow.tensor.rules.reducing import axis_of
from msgflow.tensor.rules.shaping import RESHAPE

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def gather(x: "Tensor", axis: int, index: Any) -> "Tensor":
    """For each index, the number of x at this index along an axis, and at the index's own place on all the others.

    Shape: index as x, but any size on `axis` and not more on the others; result as index. As torch.gather.
    Raises ShapeError for indexes out of range, DTypeError for what are no whole numbers.
    """
    x = tensor_of(GATHER, x)
    return apply(GATHER, x, as_indexes("gather", x, index), axis=axis_of(x, axis))


def take(x: "Tensor", index: Any, axis: int | None = None) -> "Tensor":
    """The parts of x at these places along an axis; in the flattened tensor without one.

    Shape: x (*before, n, *after) and index (*any) give (*before, *any, *after).
    Raises ShapeError for indexes out of range, DTypeError for what are no whole numbers.
    """
    x = tensor_of(TAKE, x)
    if axis is None:
        x, axis = apply(RESHAPE, x, shape=(-1,)), 0
    return apply(TAKE, x, as_indexes("take", x, index), axis=axis_of(x, axis))


def embedding(weight: "Tensor", ids: Any) -> "Tensor":
    """The rows of a table with these numbers, from 0.

    Shape: weight (n, d) and ids (*any) give (*any, d).
    Raises ShapeError for an id that has no row (negative ones have none), DTypeError for what are no whole numbers.
    """
    weight = tensor_of(TAKE, weight)
    return apply(TAKE, weight, as_indexes("embedding", weight, ids), axis=axis_of(weight, 0), negative=False)


def one_hot(index: Any, classes: int, dtype: DTypeLike = float32) -> "Tensor":
    """1 at each index along a new last axis of so many classes, 0 elsewhere.

    Raises ShapeError for an index that is no class (negative ones are none).
    """
    return apply(ONE_HOT, tensor_of(ONE_HOT, index), classes=classes).to(dtype=as_dtype(dtype))
