"""Parts of tensors, by whole numbers and slices, and tensors put together from parts.

A key, in the settings of these operations, has one entry an axis: a whole number from 0, a slice as (start, stop,
step), or None for a new axis. Start and stop are within the axis; stop is None where a slice runs down to its first
place.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from msgflow.errors import DTypeError, IndexOutOfRange, ShapeError
from msgflow.tensor.backends import Array, Namespace
from msgflow.tensor.operations import Operation, apply

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor

Entry: TypeAlias = int | tuple[int, int | None, int] | None
Key: TypeAlias = tuple[Entry, ...]


def key_of(shape: tuple[int, ...], entries: Sequence[Any]) -> Key:
    """The key that Python's numbers, slices, `...` and None mean for this shape. Raises ShapeError where it is none."""
    sizes = iter(shape)
    return tuple(
        None if entry is None else entry_of(entry, next(sizes), shape) for entry in without_ellipsis(shape, entries)
    )


def without_ellipsis(shape: tuple[int, ...], entries: Sequence[Any], taken: int | None = None) -> list[Any]:
    """The entries with whole slices for the axes that `...`, or nothing, stands for.

    `taken` is how many axes they are for, where that is not one each.
    """
    dots = [place for place, entry in enumerate(entries) if entry is ...]
    if taken is None:
        taken = sum(entry is not None and entry is not ... for entry in entries)
    if len(dots) > 1 or taken > len(shape):
        reason = "`...` may come once" if len(dots) > 1 else f"there are {len(shape)} axes, and {taken} indexes"
        raise ShapeError("index", [shape], reason)
    place = dots[0] if dots else len(entries)
    return [*entries[:place], *[slice(None)] * (len(shape) - taken), *entries[place + 1 :]]


def entry_of(entry: Any, size: int, shape: tuple[int, ...]) -> Entry:
    """The entry of a key that a number or slice means on an axis of this size, of a tensor of this shape."""
    if isinstance(entry, slice):
        return _slice(entry, size, shape)
    place = int(entry)
    if not -size <= place < size:
        raise IndexOutOfRange("index", [shape], f"index {place} is out of range for an axis of size {size}")
    return place % size


def _slice(entry: slice, size: int, shape: tuple[int, ...]) -> Entry:
    try:
        start, stop, step = entry.indices(size)
    except ValueError:
        raise ShapeError("index", [shape], "the step of a slice is not 0") from None
    except TypeError:
        raise DTypeError(f"slices are of whole numbers, not {entry!r:.80}") from None
    if not range(start, stop, step):
        return (0, 0, 1)
    return (start, None if stop < 0 else stop, step)


def _slices(key: Key) -> tuple[Any, ...]:
    return tuple(slice(*entry) if isinstance(entry, tuple | list) else entry for entry in key)


def _part(xp: Namespace, x: Array, *, key: Key) -> Array:
    return x[_slices(key)]


def _placed(xp: Namespace, x: Array, *, key: Key, shape: tuple[int, ...], value: float = 0) -> Array:
    array = xp.full(shape, value, dtype=x.dtype)
    slices = tuple(entry for entry in _slices(key) if entry is not None)  # the standard assigns to no new axes
    array[slices] = x if len(slices) == len(key) else xp.reshape(x, array[slices].shape)
    return array


def _part_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, key: Key) -> "Tensor":
    return apply(PLACED, grad, key=key, shape=x.shape)


def _placed_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, key: Key, **settings: Any) -> "Tensor":
    return apply(PART, grad, key=key)


PART = Operation("index", _part, [_part_gradient], moves=True)
# A part put at its place in a tensor of this shape, with zeros all around; and with another number, which is converted
# to the type of the others.
PLACED = Operation("placed", _placed, [_placed_gradient], moves=True)
PAD = Operation("pad", _placed, [_placed_gradient])


class ForEachInput(Sequence[Callable[..., Any]]):
    """The gradients of an operation of any number of inputs: `gradient(place, grad, out, *inputs, **settings)`."""

    def __init__(self, gradient: Callable[..., Any]) -> None:
        self.gradient = gradient

    def __getitem__(self, place: Any) -> Any:
        return partial(self.gradient, place)

    def __len__(self) -> int:
        return 1  # at least; what matters is that it is not empty


def along(axis: int, start: int, stop: int, shape: Sequence[int]) -> Key:
    """The key of some places along one axis, and all of the others."""
    whole: list[Entry] = [(0, size, 1) for size in shape]
    whole[axis] = (start, stop, 1)
    return tuple(whole)


def _arrays_only(name: str, arrays: Sequence[Any]) -> Sequence[Array]:
    for array in arrays:
        if isinstance(array, int | float):
            raise DTypeError(f"{name} takes tensors, not the number {array}; make one with mt.tensor([{array}])")
    return arrays


def _concat(xp: Namespace, *arrays: Array, axis: int, **out: Array) -> Array:
    return xp.concat(_arrays_only("concat", arrays), axis=axis, **out)


def _concat_gradient(place: int, grad: "Tensor", out: "Tensor", *inputs: "Tensor", axis: int) -> "Tensor":
    sizes = [given.shape[axis] for given in inputs]
    start = sum(sizes[:place])
    return apply(PART, grad, key=along(axis, start, start + sizes[place], grad.shape))


def _stack(xp: Namespace, *arrays: Array, axis: int, **out: Array) -> Array:
    return xp.stack(_arrays_only("stack", arrays), axis=axis, **out)


def _stack_gradient(place: int, grad: "Tensor", out: "Tensor", *inputs: "Tensor", axis: int) -> "Tensor":
    part = apply(PART, grad, key=along(axis, place, place + 1, grad.shape))
    return part.reshape(inputs[place].shape)


CONCAT = Operation("concat", _concat, ForEachInput(_concat_gradient), moves=True, in_place=True)
STACK = Operation("stack", _stack, ForEachInput(_stack_gradient), moves=True, in_place=True)


def _triangle(name: str) -> Operation:
    def compute(xp: Namespace, x: Array, *, k: int) -> Array:
        if x.ndim < 2:
            raise ShapeError(name, [tuple(x.shape)], "a triangle is of the last two axes")
        return getattr(xp, name)(x, k=k)

    def gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, k: int) -> "Tensor":
        return apply(operation, grad, k=k)

    operation = Operation(name, compute, [gradient], moves=True)
    return operation


TRIL = _triangle("tril")
TRIU = _triangle("triu")
