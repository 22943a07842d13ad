"""Matrix products."""

from typing import TYPE_CHECKING, Any

from msgflow.tensor.operations import binary, tensor_of, unary
from msgflow.tensor.rules.activations import RELU
from msgflow.tensor.rules.products import MATMUL

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def matmul(x: Any, y: Any, *, transpose_a: bool = False, transpose_b: bool = False, is_relu: bool = False) -> "Tensor":
    """The matrix product, of `x` or `y` with the last two axes swapped if wanted, and its relu if wanted.

    Shape: x (..., m, k), y (..., k, n), result (..., m, n), where the leading axes broadcast. A vector (k,) counts as
    a matrix of one row or column, which the result does not have. Raises ShapeError for shapes that do not fit.
    16-bit floats are multiplied and summed in float32, and rounded once.
    """
    if transpose_a:
        x = tensor_of(MATMUL, x).mT
    if transpose_b:
        y = tensor_of(MATMUL, y).mT
    product = binary(MATMUL, x, y)
    return unary(RELU, product) if is_relu else product
