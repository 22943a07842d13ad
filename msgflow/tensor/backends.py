"""Arrays of several libraries: numpy by default, cupy when asked for, and any other of the array API standard.

Operations use what the standard has, through the namespace of the array at hand. This file alone knows more of the
libraries: where each device's arrays come from, and the few things that operations need and the standard lacks.
Source: https://data-apis.org/array-api/2024.12/
"""

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from msgflow.errors import DeviceError
from msgflow.tensor.dtypes import DType, bfloat16

Array: TypeAlias = Any  # an array of any of the libraries; the standard has no type for it
Namespace: TypeAlias = Any


def namespace(array: Array) -> Namespace:
    """The functions of an array's library, by their names in the standard."""
    # numpy has had the standard's names since 2.0, so that it needs no layer between.
    return np if type(array) is np.ndarray else _namespace_of(type(array), array)


_namespaces: dict[type, Namespace] = {np.ndarray: np}


def _namespace_of(kind: type, array: Array) -> Namespace:
    if kind not in _namespaces:
        from array_api_compat import array_namespace

        _namespaces[kind] = array_namespace(array)
    return _namespaces[kind]


def adds_in_float32(array: Array) -> bool:
    """Whether its library adds up the products of float16 in float32 by itself, and rounds once.

    cupy asks cuBLAS for this, which does it on tensor cores, many times faster than products of float32.
    """
    return _is_cupy(type(array))


def is_array(value: Any) -> bool:
    """Whether it is an array of a library that operations can use; numpy's scalars are none."""
    return isinstance(value, np.ndarray) or (
        not isinstance(value, np.generic) and (hasattr(value, "__array_namespace__") or _is_cupy(type(value)))
    )


def _is_cupy(kind: type) -> bool:
    return kind.__module__.startswith("cupy")


def has_places_for_results(array: Array) -> bool:
    """Whether its functions take `out=`, an array to write the result into; the standard has none."""
    return type(array) is np.ndarray or _is_cupy(type(array))


def namespace_for(device: str) -> Namespace:
    """The library of a device: numpy for "cpu", cupy for "cuda" and "cuda:1".

    Raises DeviceError where there is no such device, or cupy or its driver is missing.
    """
    if device == "cpu":
        return np
    kind, _, number = str(device).partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise DeviceError(f"there is no device {device!r}; there are 'cpu', 'cuda' and 'cuda:0', 'cuda:1', ...")
    return _cupy(str(device))


@cache
def _cupy(device: str) -> ModuleType:
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
    except ImportError:
        raise DeviceError(f"the device {device!r} needs cupy; install it with: pip install 'msgflow[gpu]'") from None
    except Exception as error:  # the driver's own error types come with cupy
        raise DeviceError(f"the device {device!r} needs a GPU of NVIDIA and its driver: {error}") from None
    if index_of(device) >= count:
        raise DeviceError(f"there is no device {device!r}; this machine has {count} of them")
    import array_api_compat.cupy as namespace

    return namespace


def index_of(device: str) -> int:
    """The number of a GPU; "cuda" is the first."""
    return int(device.partition(":")[2] or 0)


def device_named(device: str) -> str:
    """A device's whole name, "cuda:0" for "cuda". Raises DeviceError where there is no such device."""
    return "cpu" if namespace_for(device) is np else f"cuda:{index_of(device)}"


def device_of(array: Array) -> str:
    """ "cpu", or "cuda:0"."""
    return f"cuda:{array.device.id}" if _is_cupy(type(array)) else "cpu"


def moved(array: Array, device: str) -> Array:
    """The array on a device; itself where it is there already."""
    there = namespace_for(device)
    if there is np:
        return on_host(array)
    import cupy

    with cupy.cuda.Device(index_of(device)):
        return cupy.asarray(array if _is_cupy(type(array)) else on_host(array))


def on_host(array: Array) -> "np.ndarray[Any, Any]":
    """The array as numpy's, without a copy where it is in this memory already."""
    if type(array) is np.ndarray:
        return array
    return np.asarray(array.get() if _is_cupy(type(array)) else array)


def like(values: "np.ndarray[Any, Any]", array: Array) -> Array:
    """Numbers of numpy as an array of another's library, on its device."""
    if type(array) is np.ndarray:
        return values
    if _is_cupy(type(array)):
        return moved(values, device_of(array))
    return namespace(array).asarray(values)


def same_bits(array: Array, storage: str) -> Array:
    """The bits of an array as numbers of another type of the same width."""
    if has_places_for_results(array):
        return array.view(storage)
    return like(np.asarray(array).view(storage), array)


def widened(array: Array) -> Array:
    """16-bit floats as float32, exactly."""
    xp = namespace(array)
    if array.dtype == xp.uint16:  # bfloat16
        bits = xp.astype(array, xp.uint32)
        bits <<= 16
        return same_bits(bits, "float32")
    return xp.astype(array, xp.float32)


def narrowed(array: Array, dtype: DType) -> Array:
    """float32 as 16-bit floats, rounded once, to the nearest, ties to even."""
    xp = namespace(array)
    if dtype is not bfloat16:
        return xp.astype(array, getattr(xp, dtype.name))
    bits = same_bits(xp.astype(array, xp.float32), "uint32")
    # Half of what is cut off is added, and one more where the last bit that stays is odd.
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    # A NaN may have become an infinity, or a number, by the addition; these bits make it one again.
    rounded |= xp.astype(array != array, xp.uint32) * 0x7FC0
    return xp.astype(rounded, xp.uint16)


def overflowing() -> "np.errstate":
    """Says that overflow to infinity is meant in a block; numpy warns of it otherwise, and cupy does not."""
    return np.errstate(over="ignore")


def into(array: Array) -> dict[str, Array]:
    """The argument `out=` for an array that may be overwritten; none, for libraries without it."""
    return {"out": array} if has_places_for_results(array) else {}


def may_be_looked_at(array: Array) -> bool:
    """Whether Python may see its numbers now: not while a GPU's work is being recorded, which only comes later."""
    if not _is_cupy(type(array)):
        return True
    import cupy

    return not cupy.cuda.get_current_stream().is_capturing()


def taken(array: Array, index: Array, axis: int, **out: Array) -> Array:
    """The parts of an array at these places along an axis, all of which there are."""
    if type(array) is np.ndarray:
        # In a mode that does not check again, and needs no buffer.
        return np.take(array, index, axis=axis, mode="clip", **out)
    xp = namespace(array)
    if has_places_for_results(array):
        return xp.take(array, index, axis=axis, **out)
    parts = xp.take(array, xp.reshape(index, (-1,)), axis=axis)  # the standard takes along one axis of indexes only
    return xp.reshape(parts, (*array.shape[:axis], *index.shape, *array.shape[axis + 1 :]))


def rows_added(rows: Array, places: Array, count: int) -> Array:
    """So many rows of zeros, to which these were added, each at its place, those at the same place in their order.

    Shape: rows (n, d), places (n,), result (count, d).
    """
    if _is_cupy(type(rows)):
        xp = namespace(rows)
        added = xp.zeros((count, rows.shape[1]), dtype=rows.dtype)
        xp.add.at(added, places, rows)
        return added
    # The standard has nothing of the kind, so that this is done in numpy. Single numbers are its fast case, several
    # times as fast as whole rows; some rows at a time keep the list of their places in the processor's cache.
    numbers, start_of = on_host(rows), on_host(places) * rows.shape[1]
    total = np.zeros(count * rows.shape[1], numbers.dtype)
    columns, some = np.arange(rows.shape[1]), max(1, 2**15 // max(1, rows.shape[1]))
    for first in range(0, len(numbers), some):
        part = slice(first, first + some)
        np.add.at(total, (start_of[part, None] + columns).reshape(-1), numbers[part].reshape(-1))
    return like(total.reshape(count, rows.shape[1]), rows)


def lowered(array: Array, places: Array, amount: float) -> Array:
    """An array of one axis, which may be overwritten, less an amount at some places, each of which comes once."""
    if has_places_for_results(array):
        array[places] -= amount
        return array
    numbers = np.array(on_host(array))
    numbers[on_host(places)] -= amount
    return like(numbers, array)


def copied(array: Array) -> Array:
    """A copy in the same library, on the same device."""
    return namespace(array).asarray(array, copy=True)


def from_dlpack(source: Any) -> Array:
    """An array in the memory of another library's, on the same device."""
    kind, number = source.__dlpack_device__()
    if kind == _CUDA:
        return namespace_for(f"cuda:{number}").from_dlpack(source)
    return np.from_dlpack(source)


_CUDA = 2  # the number of this kind of device in DLPack


def order_of(array: Array, axis: int, *, descending: bool) -> Array:
    """The indexes that sort along an axis; equal numbers keep their order, NaN counts as the largest."""
    if type(array) is not np.ndarray:
        return namespace(array).argsort(array, axis=axis, descending=descending, stable=True)
    if not descending:
        return np.argsort(array, axis=axis, stable=True)
    # From behind and back again, so that equal numbers keep their order.
    backwards = np.argsort(np.flip(array, axis), axis=axis, stable=True)
    return array.shape[axis] - 1 - np.flip(backwards, axis)


def erf_of_library(array: Array) -> Callable[[Array], Array] | None:
    """The error function that comes with a library; cupy alone has one."""
    if not _is_cupy(type(array)):
        return None
    from cupyx.scipy.special import erf

    found: Callable[[Array], Array] = erf
    return found


def is_contiguous(array: Array) -> bool:
    """Whether reshaping makes no copy; unknown to the standard, where it is taken for true."""
    return not has_places_for_results(array) or bool(array.flags.c_contiguous)
