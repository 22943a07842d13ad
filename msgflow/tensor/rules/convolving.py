"""Convolution along the last axis, as a sum of matrix products, one for each tap of the kernel.

Input, kernel and result stand in one sum of products of three, so that the gradient of any of them is the same sum with
another one left out; these three operations are all that any derivative needs.
Shape: input (n, groups * c, length), kernel (groups * o, c, taps), result (n, groups * o, positions).
"""

from typing import TYPE_CHECKING, Any

from msgflow.tensor.backends import Array, Namespace
from msgflow.tensor.operations import Operation, apply

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def _grouped(xp: Namespace, x: Array, groups: int) -> Array:
    """(n, groups * c, size) as (n, groups, c, size)."""
    return xp.reshape(x, (x.shape[0], groups, x.shape[1] // groups, x.shape[2]))


def _matrices(xp: Namespace, kernel: Array, groups: int) -> Array:
    """(groups * o, c, taps) as (taps, groups, o, c), each matrix in one piece."""
    apart = xp.reshape(kernel, (groups, kernel.shape[0] // groups, *kernel.shape[1:]))
    return xp.asarray(xp.permute_dims(apart, (3, 0, 1, 2)), copy=True)


def _met(tap: int, positions: int, stride: int, dilation: int) -> tuple[Any, ...]:
    """The key of the numbers of (n, groups, c, length) that a tap meets at all positions."""
    start = tap * dilation
    return (slice(None), slice(None), slice(None), slice(start, start + (positions - 1) * stride + 1, stride))


def positions_of(length: int, taps: int, stride: int, dilation: int) -> int:
    """At how many positions a kernel lies within an input."""
    return (length - dilation * (taps - 1) - 1) // stride + 1


def _result(xp: Namespace, x: Array, kernel: Array, *, stride: int, dilation: int, groups: int, **_: int) -> Array:
    numbers, matrices = _grouped(xp, x, groups), _matrices(xp, kernel, groups)
    positions = positions_of(x.shape[2], kernel.shape[2], stride, dilation)
    total: Any = None
    for tap in range(kernel.shape[2]):
        met = numbers[_met(tap, positions, stride, dilation)]
        # In one piece, because fast matrix products do not skip numbers.
        product = xp.matmul(matrices[tap, ...], met if stride == 1 else xp.asarray(met, copy=True))
        if total is None:
            total = product
        else:
            total += product
    return xp.reshape(total, (x.shape[0], kernel.shape[0], positions))


def _input(
    xp: Namespace, result: Array, kernel: Array, *, stride: int, dilation: int, groups: int, length: int, taps: int
) -> Array:
    rows, matrices = _grouped(xp, result, groups), _matrices(xp, kernel, groups)
    shape = (result.shape[0], groups, kernel.shape[1], length)
    total = xp.zeros(shape, dtype=xp.result_type(result.dtype, kernel.dtype))
    for tap in range(taps):
        total[_met(tap, result.shape[2], stride, dilation)] += xp.matmul(matrices[tap, ...].mT, rows)
    return xp.reshape(total, (shape[0], groups * shape[2], length))


def _kernel(
    xp: Namespace, result: Array, x: Array, *, stride: int, dilation: int, groups: int, length: int, taps: int
) -> Array:
    count, channels, positions = result.shape
    rows = xp.permute_dims(_grouped(xp, result, groups), (1, 2, 0, 3))
    rows = xp.reshape(rows, (groups, channels // groups, count * positions))
    numbers = xp.permute_dims(_grouped(xp, x, groups), (1, 0, 3, 2))
    columns = []
    for tap in range(taps):
        key = _met(tap, positions, stride, dilation)
        met = xp.reshape(numbers[:, :, key[3], :], (groups, count * positions, x.shape[1] // groups))
        columns.append(xp.matmul(rows, met))
    return xp.reshape(xp.stack(columns, axis=-1), (channels, x.shape[1] // groups, taps))


def _gradient(which: str, first: int, second: int) -> Any:
    """The gradient of an input, by the operation of this name, of the gradient (0) and the two inputs (1, 2)."""

    def gradient(grad: "Tensor", out: "Tensor", x: "Tensor", y: "Tensor", **settings: int) -> "Tensor":
        given = (grad, x, y)
        return apply(_BY_NAME[which], given[first], given[second], **settings)

    return gradient


CONV1D = Operation("conv1d", _result, [_gradient("input", 0, 2), _gradient("kernel", 0, 1)])
CONV1D_INPUT = Operation("conv1d_input", _input, [_gradient("result", 0, 2), _gradient("kernel", 1, 0)])
CONV1D_KERNEL = Operation("conv1d_kernel", _kernel, [_gradient("result", 2, 0), _gradient("input", 1, 0)])
_BY_NAME = {"result": CONV1D, "input": CONV1D_INPUT, "kernel": CONV1D_KERNEL}
