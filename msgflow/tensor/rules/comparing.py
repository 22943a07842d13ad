"""Comparisons, logic, bits, and the choice between numbers. Only a choice has gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np

from msgflow.tensor.backends import Array, Namespace
from msgflow.tensor.dtypes import as_dtype
from msgflow.tensor.operations import Operation, apply, elementwise

EQUAL = elementwise("equal")
NOT_EQUAL = elementwise("not_equal")
LESS = elementwise("less")
LESS_EQUAL = elementwise("less_equal")
GREATER = elementwise("greater")
GREATER_EQUAL = elementwise("greater_equal")
BITWISE_AND = elementwise("bitwise_and")
BITWISE_OR = elementwise("bitwise_or")
BITWISE_XOR = elementwise("bitwise_xor")
BITWISE_NOT = elementwise("bitwise_invert")
ISNAN = elementwise("isnan")
ISFINITE = elementwise("isfinite")


def truth(xp: Namespace, x: Any) -> Any:
    """Numbers as bool: whether they are not 0."""
    if isinstance(x, float | int):
        return bool(x)
    return x if x.dtype == xp.bool else xp.astype(x, xp.bool)


def _logical(name: str) -> Operation:
    def compute(xp: Namespace, *arrays: Array, **out: Array) -> Array:
        return getattr(xp, name)(*(truth(xp, array) for array in arrays), **out)

    return Operation(name, compute, ufunc=getattr(np, name), in_place=True)


LOGICAL_AND = _logical("logical_and")
LOGICAL_OR = _logical("logical_or")
LOGICAL_XOR = _logical("logical_xor")
LOGICAL_NOT = _logical("logical_not")


def _where(xp: Namespace, x: Array, y: Array, condition: Array) -> Array:
    if isinstance(x, float | int) and isinstance(y, float | int):
        number = type(x + y) if type(x) is not bool or type(y) is not bool else bool
        x = xp.asarray(x, dtype=getattr(xp, as_dtype(number).name))
    return xp.where(truth(xp, condition), x, y)


def _where_of_numpy(x: Any, y: Any, condition: Any) -> Array:
    if type(x) is type(y) is type(condition) is np.ndarray and condition.dtype.char == "?":
        return np.where(condition, x, y)
    return _where(np, x, y, condition)


def _gradient(place: int) -> Callable[..., Any]:
    def gradient(grad: Any, out: Any, x: Any, y: Any, condition: Any) -> Any:
        return apply(WHERE, *((grad, 0) if place == 0 else (0, grad)), condition)

    return gradient


# The condition comes last, because only the first two decide the type of the result.
WHERE = Operation("where", _where, [_gradient(0), _gradient(1), None], ufunc=_where_of_numpy, moves=True, typed_by=2)
