"""Convolution."""

from typing import TYPE_CHECKING, Any, Literal

from msgflow.errors import ShapeError
from msgflow.tensor.operations import apply, tensor_of
from msgflow.tensor.rules.convolving import CONV1D, positions_of
from msgflow.tensor.shaping import pad

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int = 1,
    padding: int | Literal["same", "valid"] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> "Tensor":
    """A kernel moved along the last axis: at each position, the sum of products with the numbers that it lies on.

    Shape: x (n, c, length) or (c, length), weight (o, c / groups, taps), bias (o,); result (n, o, positions) or
    (o, positions). `padding` zeros are put at both ends; "same" gives as many positions as there were numbers, for a
    stride of 1. As PyTorch, whose name for it is right in neural networks only: the kernel is not reversed.
    Raises ShapeError for shapes that do not fit.
    """
    x, weight = tensor_of(CONV1D, x), tensor_of(CONV1D, weight)
    _check(x.shape, weight.shape, groups)
    batch = x if x.ndim == 3 else x.unsqueeze(0)
    for name, number in (("stride", stride), ("dilation", dilation)):
        if number < 1:
            raise ValueError(f"conv1d: {name} is at least 1, not {number}")
    taps = weight.shape[2]
    widths = _widths(padding, stride, dilation * (taps - 1))
    if any(widths):
        batch = pad(batch, [widths])
    length = batch.shape[2]
    if positions_of(length, taps, stride, dilation) < 1:
        reach = dilation * (taps - 1) + 1
        reason = f"the kernel of {weight.shape} reaches over {reach} of the {length} that {x.shape} has with padding"
        raise ShapeError("conv1d", [x.shape, weight.shape], reason)
    out = apply(CONV1D, batch, weight, stride=stride, dilation=dilation, groups=groups, length=length, taps=taps)
    if bias is not None:
        out = out + tensor_of(CONV1D, bias).reshape(-1, 1)
    return out if x.ndim == 3 else out.squeeze(0)


def _check(shape: tuple[int, ...], weight: tuple[int, ...], groups: int) -> None:
    reason = ""
    if len(shape) not in (2, 3) or len(weight) != 3 or not weight[2]:
        reason = f"{shape} and {weight} are not (n, c, length) and (o, c, taps)"
    elif groups < 1 or weight[0] % groups or shape[-2] != weight[1] * groups:
        reason = f"an input {shape} and a kernel {weight} do not go together in {groups} groups"
    if reason:
        raise ShapeError("conv1d", [shape, weight], reason)


def _widths(padding: int | str, stride: int, reach: int) -> tuple[int, int]:
    if isinstance(padding, int) and padding >= 0:
        return padding, padding
    if padding == "valid":
        return 0, 0
    if padding != "same":
        raise ValueError(f"conv1d: padding is a number from 0, 'same' or 'valid', not {padding!r:.40}")
    if stride != 1:
        raise ValueError(f"conv1d: padding 'same' is for a stride of 1, not of {stride}")
    return reach // 2, reach - reach // 2
