"""16-bit floats through several operations: widened before the first, rounded after the last."""

from typing import TYPE_CHECKING

from msgflow.tensor.dtypes import float32, promoted

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def wide(x: "Tensor") -> "Tensor":
    """16-bit floats as float32; others as they are."""
    return x.to(dtype=float32) if x.dtype.is_half else x


def narrow(result: "Tensor", *inputs: "Tensor") -> "Tensor":
    """A result of such inputs, widened, as a 16-bit float where they are one type of those; as it is where not."""
    dtype = promoted(*(given.dtype for given in inputs))
    return result.to(dtype=dtype) if dtype.is_half else result
