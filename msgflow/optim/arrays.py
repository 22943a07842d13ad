"""Arrays that belong to an optimiser alone, and so are written to."""

from collections.abc import Iterator, Sequence

import numpy as np

from msgflow.tensor.backends import Array, device_of, moved, namespace

# Numbers at once: the five arrays that AdamW goes through a dozen times are then in the processor's second-level cache.
# With 4 million parameters a step takes 11 ms so, and 16 ms otherwise; smaller chunks are worse, for calling costs.
CHUNK = 65_536


def own_copy(array: Array) -> Array:
    """A copy in C order, where the library has orders."""
    return np.array(array, order="C") if type(array) is np.ndarray else namespace(array).asarray(array, copy=True)


def beside(array: Array, like: Array) -> Array:
    """The array on the device of another, and of its type."""
    there = array if device_of(array) == device_of(like) else moved(array, device_of(like))
    return there if there.dtype == like.dtype else namespace(there).astype(there, like.dtype)


def in_chunks(arrays: Sequence[Array]) -> Iterator[Sequence[Array]]:
    """The arrays, all of one shape, in flat pieces that fit into the cache. What is to be written to is in C order."""
    first = arrays[0]
    if type(first) is not np.ndarray or first.size <= CHUNK:
        yield arrays
        return
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, first.size, CHUNK):
        yield [array[start : start + CHUNK] for array in flat]
