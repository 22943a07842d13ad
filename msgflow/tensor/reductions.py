"""Many numbers made one.

`axis` is one axis, several, or None for all; negative ones count from the last. `keepdims` leaves axes of size 1.
Sums of integers are int64; means of integers are float64. Axes that there are not raise ShapeError.
"""

from typing import TYPE_CHECKING, Any

from msgflow.tensor.operations import Operation, apply, tensor_of
from msgflow.tensor.rules.reducing import (
    ALL,
    ANY,
    ARGMAX,
    ARGMIN,
    CUMSUM,
    LOGSUMEXP,
    MAX,
    MEAN,
    MIN,
    PROD,
    STD,
    SUM,
    VAR,
    Axes,
    axis_of,
    reduced,
)

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def sum(x: Any, axis: Axes = None, keepdims: bool = False) -> "Tensor":
    return reduced(SUM, x, axis, keepdims)


def mean(x: Any, axis: Axes = None, keepdims: bool = False) -> "Tensor":
    return reduced(MEAN, x, axis, keepdims)


def max(x: Any, axis: Axes = None, keepdims: bool = False) -> "Tensor":
    """The largest; NaN where there is one. Those that are equally large share the gradient evenly."""
    return reduced(MAX, x, axis, keepdims)


def min(x: Any, axis: Axes = None, keepdims: bool = False) -> "Tensor":
    """The smallest; NaN where there is one. Those that are equally small share the gradient evenly."""
    return reduced(MIN, x, axis, keepdims)


def prod(x: Any, axis: Axes = None, keepdims: bool = False) -> "Tensor":
    """The product. Its second derivative needs memory quadratic in the count of numbers that become one."""
    return reduced(PROD, x, axis, keepdims)


def var(x: Any, axis: Axes = None, keepdims: bool = False, *, correction: float = 0) -> "Tensor":
    """The mean squared deviation; `correction` is taken off the count. It is 0 here as in numpy, in PyTorch 1."""
    return reduced(VAR, x, axis, keepdims, correction=correction)


def std(x: Any, axis: Axes = None, keepdims: bool = False, *, correction: float = 0) -> "Tensor":
    """The square root of `var`."""
    return reduced(STD, x, axis, keepdims, correction=correction)


def any(x: Any, axis: Axes = None, keepdims: bool = False) -> "Tensor":
    """Whether a number is not 0."""
    return reduced(ANY, x, axis, keepdims)


def all(x: Any, axis: Axes = None, keepdims: bool = False) -> "Tensor":
    """Whether no number is 0."""
    return reduced(ALL, x, axis, keepdims)


def logsumexp(x: Any, axis: Axes = None, keepdims: bool = False) -> "Tensor":
    """log(sum(exp(x))), without overflow; -inf for no numbers."""
    return reduced(LOGSUMEXP, x, axis, keepdims)


def cumsum(x: Any, axis: int) -> "Tensor":
    """The sums of all up to each along an axis. Shape: as x."""
    x = tensor_of(CUMSUM, x)
    return apply(CUMSUM, x, axis=axis_of(x, axis), backwards=False)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> "Tensor":
    """The place of the largest along an axis, the first of several; without an axis, in the flattened tensor."""
    return _place(ARGMAX, x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> "Tensor":
    """The place of the smallest along an axis, the first of several; without an axis, in the flattened tensor."""
    return _place(ARGMIN, x, axis, keepdims)


def _place(operation: Operation, x: Any, axis: int | None, keepdims: bool) -> "Tensor":
    x = tensor_of(operation, x)
    return apply(operation, x, axis=None if axis is None else axis_of(x, axis), keepdims=keepdims)
