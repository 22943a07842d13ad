"""New tensors."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from msgflow._version_clock import Cell
from msgflow.errors import DTypeError, ShapeError
from msgflow.tensor import backends
from msgflow.tensor.backends import is_array
from msgflow.tensor.dtypes import DTypeLike, as_dtype, float32, no_dtype, stored_as
from msgflow.tensor.operations import apply
from msgflow.tensor.rules.converting import FULL_LIKE
from msgflow.tensor.tensors import Tensor

Shape: TypeAlias = int | Sequence[int]


def tensor(
    data: Any, dtype: DTypeLike | None = None, *, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with a copy of the numbers in `data`: a number, nested lists, an array of any library, a tensor.

    Without `dtype`, Python's floats become float32, its integers int64; arrays and tensors keep their type.
    Raises ShapeError for lists of unequal lengths, DTypeError for what holds no numbers.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    data = data.value if isinstance(data, Cell) else data  # a Parameter
    if isinstance(data, Tensor):
        made = data.detach()
    elif is_array(data):
        made = _of_array(data)
    else:
        made = Tensor.copy_of(_of_numbers(data))
        # Python has but one type of floats.
        if wanted is None and made.dtype.name == "float64" and isinstance(data, float | Sequence):
            wanted = None if isinstance(data, np.generic) else float32
    return _ready(made.to(device=device, dtype=wanted), requires_grad)


def _of_array(array: Any) -> Tensor:
    return Tensor.copy_of(array) if isinstance(array, np.ndarray) else Tensor.of(backends.copied(array))


def _of_numbers(data: Any) -> "np.ndarray[Any, Any]":
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ShapeError("tensor", [], f"lists of unequal lengths make no tensor: {error}") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"a tensor is made of numbers, not of {data!r:.80}")
    return array


def _ready(made: Tensor, requires_grad: bool) -> Tensor:
    return made.requires_grad_() if requires_grad else made


def from_dlpack(source: Any) -> Tensor:
    """A tensor of the numbers of another library, in the same memory, which nobody may write to any more.

    Raises DTypeError for a type that tensors do not have, or the other library's arrays cannot hand on (bfloat16).
    """
    if not hasattr(source, "__dlpack__"):
        raise DTypeError(f"from_dlpack takes an array of another library, not {source!r:.80}; mt.tensor takes numbers")
    try:
        array = backends.from_dlpack(source)
    except RuntimeError as error:
        raise DTypeError(f"from_dlpack: {error}; convert it there, from bfloat16 to float32, and here back") from None
    stored_as(array.dtype)
    if array.dtype.name == "uint16":  # which is how bfloat16 is kept, and no type of its own
        raise no_dtype(array.dtype)
    return Tensor.of(array)


def empty(shape: Shape, dtype: DTypeLike = float32, *, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor to give numbers to later, by `from_numpy`; zeros until then."""
    return zeros(shape, dtype, device=device, requires_grad=requires_grad)


def zeros(shape: Shape, dtype: DTypeLike = float32, *, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    made = Tensor.of(shaped(np.zeros, "zeros", shape, as_dtype(dtype).storage))
    return _ready(made.to(device=device), requires_grad)


def ones(shape: Shape, dtype: DTypeLike = float32, *, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    return full(shape, 1, dtype, device=device, requires_grad=requires_grad)


def full(
    shape: Shape, value: float, dtype: DTypeLike | None = None, *, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A tensor of one number. Without `dtype` a float gives float32, an integer int64, a bool bool."""
    one = tensor(value, dtype).array
    made = Tensor.of(shaped(np.full, "full", shape, one, one.dtype))
    return _ready(made.to(device=device), requires_grad)


def shaped(make: Callable[..., Any], name: str, shape: Shape, *args: Any) -> Any:
    """The array that a function of numpy makes in this shape. Raises ShapeError for what is none."""
    try:
        return make(shape, *args)
    except (ValueError, TypeError, OverflowError) as error:
        raise ShapeError(name, [], f"{shape!r:.80} is no shape, which is whole numbers from 0: {error}") from None


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: DTypeLike | None = None, *, device: str = "cpu"
) -> Tensor:
    """The numbers from `start` (0 if only one is given) up to `stop`, which is not among them, in steps.

    Without `dtype`, integers give int64, and anything else float32. Raises ShapeError for a step of 0.
    """
    start, stop = (0, start) if stop is None else (start, stop)
    if not step:
        raise ShapeError("arange", [], "the step is 0; steps lead from start to stop")
    whole = all(isinstance(number, int | np.integer) for number in (start, stop, step))
    kind: Any = "int64" if whole else "float64"
    try:
        numbers = np.arange(start, stop, step, dtype=kind)
    except (ValueError, OverflowError) as error:
        raise ShapeError("arange", [], f"no tensor goes from {start} to {stop} by {step}: {error}") from None
    return Tensor.of(numbers).to(device=device, dtype=dtype or (None if whole else float32))


def eye(n: int, m: int | None = None, dtype: DTypeLike = float32, *, device: str = "cpu") -> Tensor:
    """Ones on the diagonal of n rows and m columns (n, if none are given), zeros beside it."""
    made = Tensor.of(shaped(np.eye, "eye", n, m, 0, "int8"))
    return made.to(device=device, dtype=dtype)


def zeros_like(x: Any, dtype: DTypeLike | None = None) -> Tensor:
    """Zeros of the shape, the type (unless another is asked for) and the device of a tensor."""
    return apply(FULL_LIKE, x, value=0).to(dtype=dtype)


def ones_like(x: Any, dtype: DTypeLike | None = None) -> Tensor:
    """Ones of the shape, the type (unless another is asked for) and the device of a tensor."""
    return apply(FULL_LIKE, x, value=1).to(dtype=dtype)
