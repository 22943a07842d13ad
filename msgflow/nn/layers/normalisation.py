"""LayerNorm and RMSNorm: the last axes brought to one scale."""

from collections.abc import Callable, Sequence
from math import prod
from operator import index

import msgflow.tensor as mt
from msgflow.errors import ShapeError
from msgflow.nn.module import Module
from msgflow.nn.parameter import Parameter
from msgflow.tensor.dtypes import DTypeLike, float32, float64

# Of the type that is computed in: float32 for 16-bit floats, too.
_EPSILON = {float64: 2.0**-52}
_EPSILON_OF_FLOAT32 = 2.0**-23


class LayerNorm(Module):
    """Normalise the last axes, together, to mean 0 and variance 1; then scale and shift.

    Shape: x (..., *normalized_shape), result the same; weight and bias normalized_shape, ones and zeros at first.
    Raises ShapeError for an x that does not end with that shape.
    Source: Ba et al. 2016, arXiv:1607.06450, eq. 4; variance is the biased one, as in PyTorch.
    """

    weight: mt.Tensor | None
    bias: mt.Tensor | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = float32,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps, self.elementwise_affine = _axes(normalized_shape), eps, elementwise_affine
        self.weight = self.bias = None
        if elementwise_affine:
            self.register_parameter("weight", Parameter(mt.ones(self.normalized_shape, dtype, device=device)))
        if elementwise_affine and bias:
            self.register_parameter("bias", Parameter(mt.zeros(self.normalized_shape, dtype, device=device)))

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return over_last_axes(self, mt.layernorm, x, [self.weight, self.bias], self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Divide the last axes, together, by their root mean square; then scale.

    `eps` of None is the smallest step from 1.0 of the type that is computed in.
    Shape: x (..., *normalized_shape), result the same; weight normalized_shape, ones at first.
    Raises ShapeError for an x that does not end with that shape.
    Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4.
    """

    weight: mt.Tensor | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: DTypeLike = float32,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps, self.elementwise_affine = _axes(normalized_shape), eps, elementwise_affine
        self.weight = None
        if elementwise_affine:
            self.register_parameter("weight", Parameter(mt.ones(self.normalized_shape, dtype, device=device)))

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        eps = _EPSILON.get(x.dtype, _EPSILON_OF_FLOAT32) if self.eps is None else self.eps
        return over_last_axes(self, mt.rmsnorm, x, [self.weight], eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


def _axes(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    sizes = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    return tuple(map(index, sizes))


def over_last_axes(
    layer: LayerNorm | RMSNorm,
    normalise: Callable[..., mt.Tensor],
    x: mt.Tensor,
    scales: list[mt.Tensor | None],
    eps: float,
) -> mt.Tensor:
    """What normalises the last axis, for the last axes of the layer, as if they were one."""
    shape, axes = x.shape, layer.normalized_shape
    if shape[len(shape) - len(axes) :] != axes or len(shape) < len(axes):
        raise ShapeError(repr(layer), [shape, axes], "the shape of the input has to end with that of the layer")
    if len(axes) == 1:
        return normalise(x, *scales, eps=eps)
    flat = [None if scale is None else scale.reshape(-1) for scale in scales]
    rows = x.reshape(*shape[: len(shape) - len(axes)], prod(axes))
    return normalise(rows, *flat, eps=eps).reshape(shape)
