"""Tensors as files hold them, and the types of numbers that a file can hold."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgflow._frozen import StateValue
from msgflow._lazy import lazy
from msgflow.errors import NotJson

if TYPE_CHECKING:
    from numpy.typing import NDArray

# By their names in a safetensors file.
NUMPY_TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
}
# numpy has no bfloat16: its bits are kept as uint16, and such a tensor is loaded as an mt.Tensor.
TYPES = NUMPY_TYPES | {"BF16": "bfloat16"}
_room_of_tensors = lazy("msgflow.tensor", {"Tensor": "tensors"})  # it needs numpy, which states of text do not
KINDS = {name: kind for kind, name in TYPES.items()}


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor as files hold it: its numbers in C order and little-endian."""

    dtype: str
    array: "NDArray[Any]"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def kind(self) -> str:
        """What its type is called in a safetensors file."""
        return KINDS[self.dtype]


def as_stored(value: Any, where: str) -> StoredTensor | None:
    """The tensor that a value is, or that its `to_numpy()` gives; None for a value that is none.

    Numbers that are in this memory, in C order and little-endian, are not copied.
    Raises NotJson, with the place, for an array of what no file can hold, or that has more to it than its numbers.
    """
    if value is None or isinstance(value, str | int | float | list | dict | tuple):
        return None
    if isinstance(value, StoredTensor):
        return value
    import numpy

    if isinstance(value, StateValue):
        dtype, array = value.raw()
    else:
        if not isinstance(value, numpy.ndarray):
            if not callable(to_numpy := getattr(value, "to_numpy", None)) or isinstance(value, type):
                return None
            value = to_numpy()
        dtype, array = _checked(value, where), value
    return StoredTensor(dtype, numpy.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C"))


def _checked(array: Any, where: str) -> str:
    import numpy

    if type(array) not in (numpy.ndarray, numpy.memmap):
        raise NotJson(f"{where} is a tensor of type {type(array).__name__}; give a plain array: numpy.asarray(value)")
    name: str = array.dtype.name
    if name not in NUMPY_TYPES.values():
        raise NotJson(
            f"{where} is an array of {array.dtype}, which no state file can hold; "
            f"convert it to one of {', '.join(NUMPY_TYPES.values())}"
        )
    return name


def from_bytes(data: bytes | bytearray, kind: str, shape: list[int] | tuple[int, ...]) -> Any:
    """The tensor with these bytes, by its type's name in a safetensors file: a numpy array, an mt.Tensor for bfloat16.

    Raises ValueError where there is none;

    OverflowError for a shape of more than numpy counts.
    """
    import numpy

    if kind not in TYPES:
        raise ValueError(f"it is of type {kind}, which no tensor here can hold; known: {', '.join(TYPES)}")
    stored = numpy.dtype(NUMPY_TYPES.get(kind, "uint16")).newbyteorder("<")
    array = numpy.frombuffer(data, dtype=stored) if data else numpy.empty(0, dtype=stored)
    if kind == "BOOL" and array.view("uint8").max(initial=0) > 1:
        raise ValueError("it holds bytes other than 0 and 1, which are no booleans")
    array = array.reshape(shape).astype(stored.newbyteorder("="), copy=False)
    return _room_of_tensors("Tensor").of(array) if kind == "BF16" else array
