"""Matrix products."""

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from msgflow.tensor.backends import Array, Namespace, is_contiguous
from msgflow.tensor.operations import Operation

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def _matmul(xp: Namespace, x: Array, y: Array, **out: Array) -> Array:
    if len(x.shape) > 2 == len(y.shape) and is_contiguous(x):
        # One product of all rows, instead of one a batch.
        rows = xp.reshape(x, (prod(x.shape[:-1]), x.shape[-1]))
        flat = {name: xp.reshape(array, (len(rows), y.shape[-1])) for name, array in out.items()}
        return xp.reshape(xp.matmul(rows, y, **flat), (*x.shape[:-1], y.shape[-1]))
    return xp.matmul(x, y, **out)


def _matmul_of_numpy(x: Array, y: Array) -> Array:
    return np.matmul(x, y) if type(y) is not np.ndarray or y.ndim != 2 or x.ndim < 3 else _matmul(np, x, y)


def _matrices(x: "Tensor", y: "Tensor", grad: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
    """The operands and the gradient of their product, vectors as the matrices that they count as."""
    if y.ndim == 1:
        y, grad = y.reshape(y.size, 1), grad.reshape(*grad.shape, 1)
    if x.ndim == 1:
        x, grad = x.reshape(1, x.size), grad.reshape(*grad.shape[:-1], 1, grad.shape[-1])
    return x, y, grad


def _left(grad: "Tensor", out: "Tensor", x: "Tensor", y: "Tensor") -> "Tensor":
    _, matrix, grad = _matrices(x, y, grad)
    return grad @ matrix.mT


def _right(grad: "Tensor", out: "Tensor", x: "Tensor", y: "Tensor") -> "Tensor":
    matrix, _, grad = _matrices(x, y, grad)
    if y.ndim <= 2:  # the rows of all batches at once, instead of a product a batch and the sum of these
        rows = prod(matrix.shape[:-1])
        matrix, grad = matrix.reshape(rows, matrix.shape[-1]), grad.reshape(rows, grad.shape[-1])
    if y.ndim == 2 and not is_contiguous(y.array):  # a weight that was transposed: its gradient is then as it is
        return (grad.mT @ matrix).mT
    product = matrix.mT @ grad
    return product.reshape(y.shape) if y.ndim == 1 else product


MATMUL = Operation("matmul", _matmul, [_left, _right], ufunc=_matmul_of_numpy, in_place=True, adds_products=True)
