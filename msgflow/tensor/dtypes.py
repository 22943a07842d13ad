"""The types of numbers that tensors hold, and how two of them meet."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias, Union, final

import numpy as np

from msgflow.errors import DTypeError


@final
class DType:
    """A type of number; `storage` is the numpy type that its bits are kept in.

    bfloat16, which numpy does not have, is kept as unsigned 16-bit integers: the upper halves of float32.
    """

    __slots__ = ("name", "storage")

    def __init__(self, name: str, storage: str) -> None:
        self.name, self.storage = name, np.dtype(storage)

    @property
    def itemsize(self) -> int:
        """Bytes a number."""
        return self.storage.itemsize

    @property
    def is_floating(self) -> bool:
        return self is bfloat16 or self.storage.kind == "f"

    @property
    def is_half(self) -> bool:
        """Whether it is a 16-bit float: one that is stored so, and computed with in float32."""
        return self.itemsize == 2

    def __repr__(self) -> str:
        return f"mt.{self.name}"

    def __reduce__(self) -> "tuple[Callable[[str], DType], tuple[str]]":
        return as_dtype, (self.name,)  # there is one of each


DTypeLike: TypeAlias = Union[DType, str, type, "np.dtype[Any]"]

float64 = DType("float64", "float64")
float32 = DType("float32", "float32")
float16 = DType("float16", "float16")
bfloat16 = DType("bfloat16", "uint16")
int64 = DType("int64", "int64")
int32 = DType("int32", "int32")
int8 = DType("int8", "int8")
uint8 = DType("uint8", "uint8")
bool_ = DType("bool", "bool")

ALL = (float64, float32, float16, bfloat16, int64, int32, int8, uint8, bool_)
# What other frameworks call them.
ALIASES = {
    "fp64": float64,
    "fp32": float32,
    "fp16": float16,
    "bf16": bfloat16,
    "byte": uint8,
    "double": float64,
    "float": float32,
    "half": float16,
    "long": int64,
    "int": int32,
}
_by_name = {dtype.name: dtype for dtype in ALL} | ALIASES
_by_python_type: dict[Any, DType] = {float: float32, int: int64, bool: bool_}
_by_numpys = {dtype.storage: dtype for dtype in ALL}  # of uint16 there is one, bfloat16
_by_storage = {dtype.storage.name: dtype for dtype in ALL}


def as_dtype(given: DTypeLike) -> DType:
    """The type that a DType, a name ("float32", "bf16", "torch.float32"), a Python or a numpy type means.

    Raises DTypeError, which names those that there are, for any other.
    """
    if isinstance(given, DType):
        return given
    if isinstance(given, str):
        known = _by_name.get(given.removeprefix("torch.").removeprefix("mt."))
    else:
        known = (isinstance(given, type) and _by_python_type.get(given)) or _of_numpy(given)
    if known is None:
        raise DTypeError(f"{given!r:.80} is no type of a tensor; there are {', '.join(d.name for d in ALL)}")
    return known


def _of_numpy(given: Any) -> DType | None:
    try:
        name = np.dtype(given).name
    except TypeError:
        return None
    return None if name == "uint16" else _by_name.get(name)


def stored_as(storage: Any) -> DType:
    """The type whose arrays have this type of their namespace. Raises DTypeError where there is none."""
    if isinstance(storage, np.dtype):
        dtype = _by_numpys.get(storage)
    else:
        dtype = _by_storage.get(str(storage).rpartition(".")[2])
    if dtype is None:
        raise no_dtype(storage)
    return dtype


def no_dtype(storage: Any) -> DTypeError:
    return DTypeError(f"tensors cannot hold {storage}; convert to one of {', '.join(d.name for d in ALL)}")


@cache
def promoted(*dtypes: DType) -> DType:
    """The type of the result of an operation of several, by numpy's rules; bfloat16 counts as another float16."""
    met = set(dtypes)
    if len(met) == 1:
        return dtypes[0]
    if bfloat16 in met:
        if float16 in met:
            return promoted(float32, *(met - {bfloat16, float16}))
        with_float16 = promoted(float16, *(met - {bfloat16}))
        return bfloat16 if with_float16 is float16 else with_float16
    if met == {int8, uint8}:  # int16 for numpy, which tensors do not have
        return int32
    return stored_as(np.result_type(*(dtype.storage for dtype in met)))
