"""Linear: an affine map."""

import msgflow.tensor as mt
from msgflow.errors import ShapeError
from msgflow.nn.layers.fan_in import uniform_by_fan_in
from msgflow.nn.module import Module
from msgflow.tensor.dtypes import DTypeLike, float32


class Linear(Module):
    """An affine map of the last axis: `x @ weight.T + bias`.

    Shape: x (..., in_features), result (..., out_features); weight (out_features, in_features), bias (out_features,).
    Both begin uniform in ±1/sqrt(in_features). Raises ShapeError for an x of another last axis.
    """

    weight: mt.Tensor
    bias: mt.Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = float32,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_parameter("weight", uniform_by_fan_in((out_features, in_features), in_features, dtype, device))
        if bias:
            self.register_parameter("bias", uniform_by_fan_in((out_features,), in_features, dtype, device))
        else:
            self.bias = None

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        weight, bias = self.weight, self.bias
        try:
            product = mt.matmul(x, weight, transpose_b=True)
        except ShapeError as error:
            reason = f"the last axis of the input has to be {self.in_features}"
            raise ShapeError(repr(self), [error.shapes[0], weight.shape], reason) from None
        return product if bias is None else product + bias

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
