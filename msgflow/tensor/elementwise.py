"""Numbers computed one at a time. Operands broadcast and promote as numpy's do.

An operand is a tensor, or a Parameter that holds one; beside one, numbers and numpy arrays are operands, too.
"""

from typing import TYPE_CHECKING, Any

from msgflow.errors import DTypeError
from msgflow.tensor.operations import apply, binary, tensor_of, unary
from msgflow.tensor.rules.arithmetic import (
    ABS,
    ADD,
    CEIL,
    CLIP,
    DIVIDE,
    FLOOR,
    FLOOR_DIVIDE,
    MAXIMUM,
    MINIMUM,
    MULTIPLY,
    NEGATIVE,
    POWER,
    REMAINDER,
    ROUND,
    SIGN,
    SQUARE,
    SUBTRACT,
)
from msgflow.tensor.rules.comparing import (
    BITWISE_AND,
    BITWISE_NOT,
    BITWISE_OR,
    BITWISE_XOR,
    EQUAL,
    GREATER,
    GREATER_EQUAL,
    ISFINITE,
    ISNAN,
    LESS,
    LESS_EQUAL,
    LOGICAL_AND,
    LOGICAL_NOT,
    LOGICAL_OR,
    LOGICAL_XOR,
    NOT_EQUAL,
    WHERE,
)
from msgflow.tensor.rules.functions import COS, ERF, EXP, EXPM1, LOG, LOG1P, RSQRT, SIN, SQRT

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def add(x: Any, y: Any) -> "Tensor":
    return binary(ADD, x, y)


def subtract(x: Any, y: Any) -> "Tensor":
    return binary(SUBTRACT, x, y)


def multiply(x: Any, y: Any) -> "Tensor":
    return binary(MULTIPLY, x, y)


def divide(x: Any, y: Any) -> "Tensor":
    """Integers give float64."""
    return binary(DIVIDE, x, y)


def floor_divide(x: Any, y: Any) -> "Tensor":
    """Rounded down, as Python's `//`. Its gradient is 0."""
    return binary(FLOOR_DIVIDE, x, y)


def remainder(x: Any, y: Any) -> "Tensor":
    """With the sign of `y`, as Python's `%`."""
    return binary(REMAINDER, x, y)


def power(x: Any, y: Any) -> "Tensor":
    """Raises DTypeError for an integer to a negative integer power."""
    return binary(POWER, x, y)


def maximum(x: Any, y: Any) -> "Tensor":
    """The larger of two; NaN where one is. Where they are equal, both have half of the gradient."""
    return binary(MAXIMUM, x, y)


def minimum(x: Any, y: Any) -> "Tensor":
    """The smaller of two; NaN where one is. Where they are equal, both have half of the gradient."""
    return binary(MINIMUM, x, y)


def equal(x: Any, y: Any) -> "Tensor":
    return binary(EQUAL, x, y)


def not_equal(x: Any, y: Any) -> "Tensor":
    return binary(NOT_EQUAL, x, y)


def less(x: Any, y: Any) -> "Tensor":
    return binary(LESS, x, y)


def less_equal(x: Any, y: Any) -> "Tensor":
    return binary(LESS_EQUAL, x, y)


def greater(x: Any, y: Any) -> "Tensor":
    return binary(GREATER, x, y)


def greater_equal(x: Any, y: Any) -> "Tensor":
    return binary(GREATER_EQUAL, x, y)


def logical_and(x: Any, y: Any) -> "Tensor":
    """Of whether numbers are not 0."""
    return binary(LOGICAL_AND, x, y)


def logical_or(x: Any, y: Any) -> "Tensor":
    return binary(LOGICAL_OR, x, y)


def logical_xor(x: Any, y: Any) -> "Tensor":
    return binary(LOGICAL_XOR, x, y)


def bitwise_and(x: Any, y: Any) -> "Tensor":
    """Of integers bit by bit, of bools the logical ones; floats raise DTypeError."""
    return binary(BITWISE_AND, x, y)


def bitwise_or(x: Any, y: Any) -> "Tensor":
    return binary(BITWISE_OR, x, y)


def bitwise_xor(x: Any, y: Any) -> "Tensor":
    return binary(BITWISE_XOR, x, y)


def bitwise_not(x: Any) -> "Tensor":
    return unary(BITWISE_NOT, x)


def logical_not(x: Any) -> "Tensor":
    return unary(LOGICAL_NOT, x)


def where(condition: Any, x: Any, y: Any) -> "Tensor":
    """`x` where the condition holds (is not 0), else `y`; the shapes of all three broadcast.

    Two Python floats give float32, two integers int64.
    """
    return apply(WHERE, x, y, condition)


def clip(x: Any, min: float | None = None, max: float | None = None) -> "Tensor":
    """Not less than `min` and not more than `max`, which are numbers; the gradient outside of them is 0.

    Raises DTypeError for bounds that are tensors, which `minimum` and `maximum` take.
    """
    for bound in (min, max):
        if not isinstance(bound, float | int | None):
            raise DTypeError(f"clip: a bound is a number, not {bound!r:.60}; mt.maximum and mt.minimum take tensors")
    return apply(CLIP, tensor_of(CLIP, x), low=min, high=max)


def negative(x: Any) -> "Tensor":
    return unary(NEGATIVE, x)


def abs(x: Any) -> "Tensor":
    return unary(ABS, x)


def sign(x: Any) -> "Tensor":
    """-1, 0 or 1. Its gradient is 0."""
    return unary(SIGN, x)


def floor(x: Any) -> "Tensor":
    """Rounded down. Its gradient is 0."""
    return unary(FLOOR, x)


def ceil(x: Any) -> "Tensor":
    """Rounded up. Its gradient is 0."""
    return unary(CEIL, x)


def round(x: Any) -> "Tensor":
    """Rounded to the nearest whole number, halves to the even one. Its gradient is 0."""
    return unary(ROUND, x)


def square(x: Any) -> "Tensor":
    return unary(SQUARE, x)


def isnan(x: Any) -> "Tensor":
    return unary(ISNAN, x)


def isfinite(x: Any) -> "Tensor":
    return unary(ISFINITE, x)


def exp(x: Any) -> "Tensor":
    """Integers give float64, in all of these functions."""
    return unary(EXP, x)


def expm1(x: Any) -> "Tensor":
    """exp(x) - 1, exact for small x."""
    return unary(EXPM1, x)


def log(x: Any) -> "Tensor":
    return unary(LOG, x)


def log1p(x: Any) -> "Tensor":
    """log(1 + x), exact for small x."""
    return unary(LOG1P, x)


def sqrt(x: Any) -> "Tensor":
    return unary(SQRT, x)


def rsqrt(x: Any) -> "Tensor":
    """1 / sqrt(x)."""
    return unary(RSQRT, x)


def sin(x: Any) -> "Tensor":
    return unary(SIN, x)


def cos(x: Any) -> "Tensor":
    return unary(COS, x)


def erf(x: Any) -> "Tensor":
    """2 / sqrt(pi) times the integral of exp(-t ** 2) from 0 to x."""
    return unary(ERF, x)
