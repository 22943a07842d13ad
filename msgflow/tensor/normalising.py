"""Rows of numbers brought to a sum, a spread or a length. All are stable: large numbers and -inf give no warning."""

from typing import TYPE_CHECKING, Any

from msgflow._version_clock import Cell
from msgflow.errors import ShapeError
from msgflow.tensor.halves import narrow, wide
from msgflow.tensor.operations import Operation, apply, tensor_of
from msgflow.tensor.rules.normalising import DOT, INVERSE_LENGTH, LOG_SOFTMAX, NORMALISED, RMS_NORMALISED, SOFTMAX
from msgflow.tensor.rules.reducing import axis_of

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def softmax(x: "Tensor", axis: int = -1) -> "Tensor":
    """exp(x) over its sum along an axis: numbers from 0 that add up to 1. Where all are -inf, 0 (PyTorch: NaN)."""
    x = tensor_of(SOFTMAX, x)
    return apply(SOFTMAX, x, axis=axis_of(x, axis))


def log_softmax(x: "Tensor", axis: int = -1) -> "Tensor":
    """The logarithm of softmax, exact where softmax is next to 0. Where all are -inf, -inf (PyTorch: NaN)."""
    x = tensor_of(LOG_SOFTMAX, x)
    return apply(LOG_SOFTMAX, x, axis=axis_of(x, axis))


def layernorm(x: "Tensor", weight: Any = None, bias: Any = None, eps: float = 1e-5) -> "Tensor":
    """Normalise the last axis to mean 0 and variance 1, then scale and shift.

    Shape: x (..., d); weight and bias (d,); result as x.
    Raises ShapeError where weight or bias does not match d.
    Source: Ba et al. 2016, arXiv:1607.06450, eq. 4; variance is the biased one, as in PyTorch.
    """
    return _scaled("layernorm", NORMALISED, x, weight, bias, eps)


def rmsnorm(x: "Tensor", weight: Any = None, eps: float = 1e-6) -> "Tensor":
    """Divide the last axis by its root mean square, then scale.

    Shape: x (..., d); weight (d,); result as x. Raises ShapeError where weight does not match d.
    Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4; eps is added to the mean square, as in PyTorch.
    """
    return _scaled("rmsnorm", RMS_NORMALISED, x, weight, None, eps)


def _scaled(name: str, operation: Operation, x: "Tensor", weight: Any, bias: Any, eps: float) -> "Tensor":
    x = tensor_of(operation, x)
    if not x.shape:
        raise ShapeError(name, [x.shape], "there is no last axis to normalise")
    for part in (weight, bias):
        shape = x.shape[-1:] if part is None else _shape_of(part)
        if shape != x.shape[-1:]:
            reason = f"weight and bias for {x.shape} have the shape {x.shape[-1:]}, not {shape}"
            raise ShapeError(name, [x.shape, shape], reason)
    normalised = apply(operation, x, eps=float(eps))
    scaled = normalised if weight is None else normalised * weight
    return scaled if bias is None else scaled + bias


def _shape_of(part: Any) -> tuple[int, ...]:
    held = part.value if isinstance(part, Cell) else part
    return tuple(getattr(held, "shape", ()))


def normalize(x: "Tensor", axis: int = -1, eps: float = 1e-12) -> "Tensor":
    """Vectors along an axis brought to length 1; those shorter than eps are divided by eps, so that 0 stays 0."""
    x = tensor_of(INVERSE_LENGTH, x)
    numbers = wide(x)
    unit = numbers * apply(INVERSE_LENGTH, numbers, axis=axis_of(x, axis) - x.ndim, eps=float(eps))
    return narrow(unit, x)


def cosine_similarity(x: "Tensor", y: "Tensor", axis: int = -1, eps: float = 1e-8) -> "Tensor":
    """The cosine of the angle between vectors along an axis; 0 for vectors of length 0. Lengths are at least eps.

    Shape: x and y broadcast, and have one size on `axis`; result as they, without it. As PyTorch.
    """
    x, y = tensor_of(DOT, x), tensor_of(DOT, y)
    longer = x if x.ndim > y.ndim else y
    place = axis_of(longer, axis) - longer.ndim
    vectors = [wide(given).reshape((1,) * (longer.ndim - given.ndim) + given.shape) for given in (x, y)]
    cosine = apply(DOT, *vectors, axis=place)
    for each in vectors:
        cosine = cosine * apply(INVERSE_LENGTH, each, axis=place, eps=float(eps))
    shape = cosine.shape[:place] + cosine.shape[cosine.ndim + place + 1 :]
    return narrow(cosine.reshape(shape), x, y)
