"""Tensors in a line of text, for people: what one is, and what has changed in it."""

from typing import TYPE_CHECKING, Any

from msgflow.state.arrays import StoredTensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP = 2**20  # numbers that are compared at a time, for the memory's sake


def summary(tensor: StoredTensor) -> str:
    """ "tensor float32 (2, 3), -1 to 0.5, mean 0.125"; of booleans how many are true."""
    import numpy

    what = f"tensor {tensor.dtype} {tensor.shape}"
    numbers = _numbers(tensor)
    if not numbers.size:
        return f"{what}, empty"
    if numbers.dtype == bool:
        return f"{what}, {int(numbers.sum())} of {numbers.size} true"
    finite = numbers[numpy.isfinite(numbers)]
    odd = "" if finite.size == numbers.size else f", {numbers.size - finite.size} not finite"
    if not finite.size:
        return f"{what}{odd}"
    mean = float(finite.mean(dtype="float64"))
    return f"{what}, {finite.min():.6g} to {finite.max():.6g}, mean {mean:.6g}{odd}"


def change(before: StoredTensor, after: StoredTensor) -> str:
    """ "3 of 8 numbers changed, by at most 0.25"; "" for tensors of different types or shapes."""
    import numpy

    if (before.dtype, before.shape) != (after.dtype, after.shape):
        return ""
    count, most, odd = 0, 0.0, False
    for one, other in zip(_parts(before), _parts(after), strict=True):
        moved = one.array.view("uint8").reshape(one.array.size, -1) != other.array.view("uint8").reshape(
            one.array.size, -1
        )
        places = moved.any(axis=1)
        count += int(places.sum())
        with numpy.errstate(all="ignore"):  # infinities
            apart = abs(_numbers(one)[places].astype("float64") - _numbers(other)[places].astype("float64"))
        finite = apart[numpy.isfinite(apart)]
        most, odd = max(most, float(finite.max(initial=0.0))), odd or finite.size < apart.size
    said = f"{count} of {before.array.size} numbers changed"
    if before.dtype != "bool":
        said += f", by at most {most:.6g}"
    return said + (", some from or to no finite number" if odd else "")


def _numbers(tensor: StoredTensor) -> "NDArray[Any]":
    """Flat, in a type that numpy computes with."""
    flat = tensor.array.reshape(-1)
    return (flat.astype("uint32") << 16).view("float32") if tensor.dtype == "bfloat16" else flat


def _parts(tensor: StoredTensor) -> "list[StoredTensor]":
    flat = tensor.array.reshape(-1)
    return [StoredTensor(tensor.dtype, flat[start : start + STEP]) for start in range(0, flat.size, STEP)]
