"""Tensors as numpy arrays, and the types of numbers that a file can hold."""

from typing import TYPE_CHECKING, Any

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


def as_array(value: Any, where: str) -> "NDArray[Any] | None":
    """The array that a value is, or that its `to_numpy()` gives; None for a value that is no tensor.

    The array is in C order and little-endian, as files are; where it is so already, it is not copied.
    Raises NotJson, with the place, for an array of what no file can hold, or that has more to it than its numbers.
    """
    if value is None or isinstance(value, str | int | float | list | dict | tuple):
        return None
    import numpy

    if not isinstance(value, numpy.ndarray):
        if not callable(to_numpy := getattr(value, "to_numpy", None)) or isinstance(value, type):
            return None
        value = to_numpy()
    if type(value) not in (numpy.ndarray, numpy.memmap):
        raise NotJson(f"{where} is a tensor of type {type(value).__name__}; give a plain array: numpy.asarray(value)")
    if value.dtype.name not in NUMPY_TYPES.values():
        raise NotJson(
            f"{where} is an array of {value.dtype}, which no state file can hold; "
            f"convert it to one of {', '.join(NUMPY_TYPES.values())}"
        )
    return numpy.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")


def from_file(data: bytearray, kind: str, shape: list[int]) -> "NDArray[Any]":
    """The array with these bytes, by its type's name in a safetensors file.

    Raises ValueError where there is none;

    OverflowError for a shape of more than numpy counts.
    """
    import numpy

    if kind not in NUMPY_TYPES:
        raise ValueError(f"it is of type {kind}, which numpy cannot hold; known: {', '.join(NUMPY_TYPES)}")
    stored = numpy.dtype(NUMPY_TYPES[kind]).newbyteorder("<")
    array = numpy.frombuffer(data, dtype=stored) if data else numpy.empty(0, dtype=stored)
    if kind == "BOOL" and array.view("uint8").max(initial=0) > 1:
        raise ValueError("it holds bytes other than 0 and 1, which are no booleans")
    return array.reshape(shape).astype(stored.newbyteorder("="), copy=False)
