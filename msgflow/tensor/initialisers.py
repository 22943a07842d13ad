"""Random tensors to begin training with.

Weights have the shape (out, in, ...), as PyTorch's, and each number of an output sees `in` times the sizes that follow
(a kernel's): the fan in; each input reaches `out` times these: the fan out. All are drawn as float32, or float64 if
that is asked for, and are the same on every device.
"""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

from msgflow.errors import DTypeError, ShapeError
from msgflow.tensor.creation import shaped
from msgflow.tensor.dtypes import DTypeLike, as_dtype, float32, float64
from msgflow.tensor.randomness import generator
from msgflow.tensor.tensors import Tensor


def normal(
    shape: int | Sequence[int], dtype: DTypeLike = float32, *, mean: float = 0.0, std: float = 1.0, device: str = "cpu"
) -> Tensor:
    """Numbers of the normal distribution."""
    drawn = shaped(generator().standard_normal, "normal", shape, _drawn_type("normal", dtype))
    drawn *= std
    drawn += mean
    return Tensor.of(drawn).to(device=device, dtype=dtype)


def uniform(
    shape: int | Sequence[int], dtype: DTypeLike = float32, *, low: float = 0.0, high: float = 1.0, device: str = "cpu"
) -> Tensor:
    """Numbers from `low` up to `high`, all equally likely."""
    drawn = shaped(generator().random, "uniform", shape, _drawn_type("uniform", dtype))
    drawn *= high - low
    drawn += low
    return Tensor.of(drawn).to(device=device, dtype=dtype)


def _drawn_type(name: str, dtype: DTypeLike) -> Any:
    wanted = as_dtype(dtype)
    if not wanted.is_floating:
        raise DTypeError(f"{name} gives floats, not {wanted.name}; draw float32 and convert it with .to()")
    return "float64" if wanted is float64 else "float32"


def glorot_uniform(shape: Sequence[int], dtype: DTypeLike = float32, *, device: str = "cpu") -> Tensor:
    """Uniform within sqrt(6 / (fan in + fan out)): keeps the variance of activations and of gradients alike.

    Source: Glorot and Bengio, AISTATS 2010, eq. 16; `xavier_uniform_` in PyTorch.
    """
    bound = sqrt(6 / sum(_fans("glorot_uniform", shape)))
    return uniform(shape, dtype, low=-bound, high=bound, device=device)


def glorot_normal(shape: Sequence[int], dtype: DTypeLike = float32, *, device: str = "cpu") -> Tensor:
    """Normal with the variance 2 / (fan in + fan out). Source: as glorot_uniform; `xavier_normal_` in PyTorch."""
    return normal(shape, dtype, std=sqrt(2 / sum(_fans("glorot_normal", shape))), device=device)


def he_uniform(shape: Sequence[int], dtype: DTypeLike = float32, *, device: str = "cpu") -> Tensor:
    """Uniform within sqrt(6 / fan in): keeps the variance of activations through relu.

    Source: He et al. 2015, arXiv:1502.01852; `kaiming_uniform_` in PyTorch, with nonlinearity="relu".
    """
    bound = sqrt(6 / _fans("he_uniform", shape)[0])
    return uniform(shape, dtype, low=-bound, high=bound, device=device)


def he_normal(shape: Sequence[int], dtype: DTypeLike = float32, *, device: str = "cpu") -> Tensor:
    """Normal with the variance 2 / fan in. Source: as he_uniform; `kaiming_normal_` in PyTorch."""
    return normal(shape, dtype, std=sqrt(2 / _fans("he_normal", shape)[0]), device=device)


def _fans(name: str, shape: Sequence[int]) -> tuple[int, int]:
    """How many numbers a number of the output is made from, and how many one of the input goes into."""
    if len(shape) < 2:
        raise ShapeError(name, [tuple(shape)], "a weight has at least two axes, (out, in); use normal or uniform")
    kernel = prod(shape[2:])
    return shape[1] * kernel or 1, shape[0] * kernel or 1
