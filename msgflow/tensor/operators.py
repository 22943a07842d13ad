"""The operators of tensors, and their methods that are public functions as well."""

from typing import TYPE_CHECKING, Any, Self

from msgflow.errors import DTypeError
from msgflow.tensor import activations, elementwise, indexing, normalising, products, reductions, searching, shaping
from msgflow.tensor.operations import Operand, Operation, apply, binary
from msgflow.tensor.rules.arithmetic import ADD, DIVIDE, FLOOR_DIVIDE, MULTIPLY, POWER, REMAINDER, SUBTRACT
from msgflow.tensor.rules.comparing import BITWISE_AND, BITWISE_OR, BITWISE_XOR, EQUAL, NOT_EQUAL, WHERE
from msgflow.tensor.rules.products import MATMUL

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


class Operators(Operand):
    """What tensors have of operators and functions; `x.exp()` is `mt.exp(x)`."""

    __slots__ = ()
    __hash__ = object.__hash__

    __add__ = elementwise.add
    __sub__ = elementwise.subtract
    __mul__ = elementwise.multiply
    __truediv__ = elementwise.divide
    __floordiv__ = elementwise.floor_divide
    __mod__ = elementwise.remainder
    __pow__ = elementwise.power
    __matmul__ = products.matmul
    __neg__ = elementwise.negative
    __abs__ = elementwise.abs
    __lt__ = elementwise.less
    __le__ = elementwise.less_equal
    __gt__ = elementwise.greater
    __ge__ = elementwise.greater_equal
    __and__ = elementwise.bitwise_and
    __or__ = elementwise.bitwise_or
    __xor__ = elementwise.bitwise_xor
    __invert__ = elementwise.bitwise_not

    def __radd__(self, other: Any) -> "Tensor":
        return binary(ADD, self, other)

    def __rmul__(self, other: Any) -> "Tensor":
        return binary(MULTIPLY, self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return binary(SUBTRACT, other, self)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return binary(DIVIDE, other, self)

    def __rfloordiv__(self, other: Any) -> "Tensor":
        return binary(FLOOR_DIVIDE, other, self)

    def __rmod__(self, other: Any) -> "Tensor":
        return binary(REMAINDER, other, self)

    def __rpow__(self, other: Any) -> "Tensor":
        return binary(POWER, other, self)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return binary(MATMUL, other, self)

    def __rand__(self, other: Any) -> "Tensor":
        return binary(BITWISE_AND, self, other)

    def __ror__(self, other: Any) -> "Tensor":
        return binary(BITWISE_OR, self, other)

    def __rxor__(self, other: Any) -> "Tensor":
        return binary(BITWISE_XOR, self, other)

    def __pos__(self) -> Self:
        return self

    def __eq__(self, other: object) -> "Tensor":  # type: ignore[override] # number by number, as numpy
        return self._compared(EQUAL, other)

    def __ne__(self, other: object) -> "Tensor":  # type: ignore[override] # number by number, as numpy
        return self._compared(NOT_EQUAL, other)

    def _compared(self, operation: Operation, other: Any) -> "Tensor":
        try:
            return binary(operation, self, other)
        except DTypeError:  # a tensor equals no text and no None
            return NotImplemented  # type: ignore[no-any-return] # which Python understands

    exp = elementwise.exp
    expm1 = elementwise.expm1
    log = elementwise.log
    log1p = elementwise.log1p
    sqrt = elementwise.sqrt
    rsqrt = elementwise.rsqrt
    square = elementwise.square
    sin = elementwise.sin
    cos = elementwise.cos
    erf = elementwise.erf
    abs = elementwise.abs
    sign = elementwise.sign
    floor = elementwise.floor
    ceil = elementwise.ceil
    round = elementwise.round
    clip = elementwise.clip
    maximum = elementwise.maximum
    minimum = elementwise.minimum
    isnan = elementwise.isnan
    isfinite = elementwise.isfinite

    relu = activations.relu
    sigmoid = activations.sigmoid
    tanh = activations.tanh

    matmul = products.matmul

    sum = reductions.sum
    mean = reductions.mean
    max = reductions.max
    min = reductions.min
    prod = reductions.prod
    var = reductions.var
    std = reductions.std
    any = reductions.any
    all = reductions.all
    logsumexp = reductions.logsumexp
    cumsum = reductions.cumsum
    argmax = reductions.argmax
    argmin = reductions.argmin

    reshape = shaping.reshape
    flatten = shaping.flatten
    squeeze = shaping.squeeze
    unsqueeze = shaping.unsqueeze
    transpose = shaping.transpose
    permute = shaping.permute
    broadcast_to = shaping.broadcast_to
    split = shaping.split
    chunk = shaping.chunk
    tril = shaping.tril
    triu = shaping.triu
    view = shaping.reshape

    gather = indexing.gather
    take = indexing.take

    topk = searching.topk
    sort = searching.sort
    argsort = searching.argsort

    softmax = normalising.softmax
    log_softmax = normalising.log_softmax

    def masked_fill(self, mask: Any, value: Any) -> "Tensor":
        """Another number where the mask is true."""
        return apply(WHERE, value, self, mask)
