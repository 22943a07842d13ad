"""Conv1d: a filter that goes along an axis."""

from collections.abc import Sequence
from operator import index
from typing import Literal, cast

import msgflow.tensor as mt
from msgflow.errors import ShapeError
from msgflow.nn.layers.fan_in import uniform_by_fan_in
from msgflow.nn.module import Module
from msgflow.tensor.dtypes import DTypeLike, float32

Size = int | Sequence[int]  # PyTorch writes (3,) as well as 3


class Conv1d(Module):
    """The cross-correlation of each channel's row with a filter, summed over the channels.

    `groups` splits the channels into parts that do not see each other; `padding` is how many zeros are put on both
    sides, or "same", for a result as long as the input (stride 1 only), or "valid", for none.
    Shape: x (batch, in_channels, length) or (in_channels, length); result (..., out_channels, (length + 2 * padding -
    dilation * (kernel_size - 1) - 1) // stride + 1); weight (out_channels, in_channels / groups, kernel_size).
    Weight and bias begin uniform in ±1/sqrt(in_channels / groups * kernel_size).
    Raises ValueError where the channels do not divide into the groups, ShapeError for an x of another shape.
    """

    weight: mt.Tensor
    bias: mt.Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | Literal["same", "valid"] = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: DTypeLike = float32,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"{in_channels} and {out_channels} channels do not divide into {groups} groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = _single(kernel_size), _single(stride), _single(dilation)
        self.padding = self._checked(padding) if isinstance(padding, str) else _single(padding)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        fan_in = shape[1] * shape[2]
        self.register_parameter("weight", uniform_by_fan_in(shape, fan_in, dtype, device))
        if bias:
            self.register_parameter("bias", uniform_by_fan_in((out_channels,), fan_in, dtype, device))
        else:
            self.bias = None

    def _checked(self, padding: str) -> Literal["same", "valid"]:
        if padding not in ("same", "valid"):
            raise ValueError(f"padding is a number, 'same' or 'valid', not {padding!r}")
        if padding == "same" and self.stride != (1,):
            raise ValueError(f"padding='same' is for a stride of 1, not {self.stride[0]}")
        return cast(Literal["same", "valid"], padding)

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        if x.ndim not in (2, 3) or x.shape[-2] != self.in_channels:
            raise ShapeError(
                repr(self),
                [x.shape, self.weight.shape],
                f"the input is (batch, {self.in_channels}, length) or ({self.in_channels}, length)",
            )
        padding = self.padding if isinstance(self.padding, str) else self.padding[0]
        return mt.conv1d(x, self.weight, self.bias, self.stride[0], padding, self.dilation[0], self.groups)

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,):
            shown += f", padding={self.padding}"
        if self.dilation != (1,):
            shown += f", dilation={self.dilation}"
        if self.groups != 1:
            shown += f", groups={self.groups}"
        return shown if self.bias is not None else f"{shown}, bias=False"


def _single(size: Size) -> tuple[int]:
    sizes = tuple(size) if isinstance(size, Sequence) else (size,)
    if len(sizes) != 1:
        raise ValueError(f"a size along one axis is one number, not {sizes}")
    return (index(sizes[0]),)
