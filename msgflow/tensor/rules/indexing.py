"""Numbers chosen by indexes that are tensors, and by masks.

Whatever a key is, the axes that it has indexes for are made one, and parts are taken along that one. So there is one
gradient of all this, and it needs no more of an array library than taking along an axis.
"""

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from msgflow._version_clock import Cell
from msgflow.errors import DTypeError, IndexOutOfRange, ShapeError
from msgflow.tensor.backends import Array, Namespace, may_be_looked_at, namespace, rows_added, taken
from msgflow.tensor.dtypes import bool_, stored_as
from msgflow.tensor.operations import GRAD, Operand, Operation, Step, apply, mode
from msgflow.tensor.rules.shaping import PERMUTE, RESHAPE
from msgflow.tensor.rules.slicing import PART, PLACED, entry_of, key_of, without_ellipsis

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def places_of(xp: Namespace, index: Array, size: int, name: str, *, negative: bool = True) -> Array:
    """Indexes into an axis of this size, counted from 0. Raises IndexOutOfRange."""
    dtype = stored_as(index.dtype)
    if dtype.is_floating or dtype is bool_:
        raise DTypeError(f"{name}: indexes are whole numbers, not {dtype.name}")
    if not prod(index.shape):
        return index
    if not may_be_looked_at(index):
        return _from_start(xp, index, size)
    low, high = int(xp.min(index)), int(xp.max(index))
    if low < (-size if negative else 0) or high >= size:
        wrong = high if high >= size else low
        raise IndexOutOfRange(name, [tuple(index.shape)], f"index {wrong} is out of range for an axis of size {size}")
    return _from_start(xp, index, size) if low < 0 else index


def _from_start(xp: Namespace, index: Array, size: int) -> Array:
    wide = xp.astype(index, xp.int64)
    return xp.where(wide < 0, wide + size, wide)


def _take(xp: Namespace, x: Array, index: Array, *, axis: int, negative: bool = True, **out: Array) -> Array:
    if negative and not out and type(index) is np.ndarray and index.dtype == np.int64 and x.size:
        try:
            return x.take(index, axis)  # numpy checks by itself
        except IndexError:
            pass  # what is wrong is told below
    return taken(x, places_of(xp, index, x.shape[axis], "take", negative=negative), axis, **out)


def _take_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", index: "Tensor", *, axis: int, **_: bool) -> "Tensor":
    return apply(PUT, grad, index, axis=axis, size=x.shape[axis])


def _put(xp: Namespace, parts: Array, index: Array, *, axis: int, size: int) -> Array:
    """Zeros, to which the parts are added where `take` would have taken them from."""
    before, after = parts.shape[:axis], parts.shape[axis + len(index.shape) :]
    outer, count, inner = prod(before), prod(index.shape), prod(after)
    rows = xp.permute_dims(xp.reshape(parts, (outer, count, inner)), (1, 0, 2))
    places = xp.reshape(places_of(xp, index, size, "take"), (count,))
    added = rows_added(xp.reshape(rows, (count, outer * inner)), places, size)
    added = xp.permute_dims(xp.reshape(added, (size, outer, inner)), (1, 0, 2))
    return xp.reshape(added, (*before, size, *after))


def _put_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", index: "Tensor", *, axis: int, size: int) -> "Tensor":
    return apply(TAKE, grad, index, axis=axis)


TAKE = Operation("take", _take, [_take_gradient, None], moves=True, typed_by=1, in_place=True)
PUT = Operation("put", _put, [_put_gradient, None], typed_by=1)


def _gather(xp: Namespace, x: Array, index: Array, *, axis: int) -> Array:
    _check_gather(x, index, axis)
    places = places_of(xp, index, x.shape[axis], "gather")
    near = x[tuple(slice(None) if place == axis else slice(size) for place, size in enumerate(index.shape))]
    return xp.take_along_axis(near, xp.astype(places, xp.int64, copy=False), axis=axis)


def _check_gather(x: Array, index: Array, axis: int) -> None:
    shapes = [tuple(x.shape), tuple(index.shape)]
    if len(shapes[0]) != len(shapes[1]):
        raise ShapeError("gather", shapes, f"{shapes[0]} and indexes {shapes[1]} have not the same number of axes")
    for place, (size, wanted) in enumerate(zip(*shapes, strict=True)):
        if place != axis and wanted > size:
            raise ShapeError("gather", shapes, f"indexes {shapes[1]} reach beyond {shapes[0]} on axis {place}")


def _gather_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", index: "Tensor", *, axis: int) -> "Tensor":
    return apply(SCATTER, grad, index, axis=axis, shape=x.shape)


def _scatter(xp: Namespace, values: Array, index: Array, *, axis: int, shape: tuple[int, ...]) -> Array:
    """Zeros of a shape, to which the values are added where `gather` would have gathered them from."""
    places = _flat_places(xp, places_of(xp, index, shape[axis], "gather"), axis, shape)
    added = rows_added(xp.reshape(values, (-1, 1)), xp.reshape(places, (-1,)), prod(shape))
    return xp.reshape(added, shape)


def _flat_places(xp: Namespace, places: Array, axis: int, shape: tuple[int, ...]) -> Array:
    flat = xp.astype(places, xp.int64)
    flat *= prod(shape[axis + 1 :])
    for other, size in enumerate(places.shape):
        if other != axis:
            steps = xp.arange(size, dtype=xp.int64) * prod(shape[other + 1 :])
            flat += xp.reshape(steps, (size, *[1] * (len(shape) - other - 1)))
    return flat


def _scatter_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", index: "Tensor", *, axis: int, **_: Any) -> "Tensor":
    return apply(GATHER, grad, index, axis=axis)


GATHER = Operation("gather", _gather, [_gather_gradient, None], moves=True, typed_by=1)
SCATTER = Operation("scatter", _scatter, [_scatter_gradient, None], typed_by=1)


def _one_hot(xp: Namespace, index: Array, *, classes: int) -> Array:
    places = places_of(xp, index, classes, "one_hot", negative=False)
    return places[..., None] == xp.arange(classes)


ONE_HOT = Operation("one_hot", _one_hot)


def _joined(xp: Namespace, *indexes: Any, sizes: tuple[int, ...]) -> Array:
    """Indexes into several axes as indexes into those axes made one. They broadcast."""
    joined: Any = 0
    for index, size in zip(indexes, sizes, strict=True):
        places = index if isinstance(index, int) else xp.astype(places_of(xp, index, size, "index"), xp.int64)
        joined = joined * size + places
    return joined


JOINED = Operation("indexes", _joined)

_BASIC = frozenset({int, slice, type(None), type(...)})
_mode = mode.get


def indexed(x: "Tensor", key: Any) -> "Tensor":
    """The part of a tensor that a key of numpy's kinds says: whole numbers, slices, `...`, None, indexes, masks."""
    plain = type(key) in _BASIC or (type(key) is tuple and all(map(_BASIC.__contains__, map(type, key))))
    if plain and not x.tags & ~GRAD and not _mode() and (part := _cut(x, key)) is not None:
        return part
    if isinstance(key, Operand) and x.shape and key.dtype is not bool_:  # type: ignore[attr-defined]
        return apply(TAKE, x, key, axis=0)
    entries = list(key) if isinstance(key, tuple) else [key]
    if not plain:
        entries = [entry if type(entry) in _BASIC else _entry(x, entry) for entry in entries]
        if any(isinstance(entry, Operand) for entry in entries):
            return _by_indexes(x, entries)
    return apply(PART, x, key=key_of(x.shape, entries))


def _cut(x: "Tensor", key: Any) -> "Tensor | None":
    """The part of a plain tensor, by numpy alone; None where more has to be looked at."""
    try:
        array = x.array[key]
    except (IndexError, ValueError, TypeError):
        return None  # what is wrong is told in the other way
    array = array if type(array) is np.ndarray else np.asarray(array)
    if not x.tags or _mode() is False:
        return type(x)(array)
    return type(x)(array, GRAD, Step(CUT, (x,), [x.array], {"key": key})) if _is_fixed(key) else None


def _is_fixed(key: Any) -> bool:
    """Whether a key of numbers and slices will mean the same later, too: the ends of a slice may be tensors."""
    for entry in key if type(key) is tuple else (key,):
        if type(entry) is slice and not (_is_number(entry.start) and _is_number(entry.stop) and _is_number(entry.step)):
            return False
    return True


def _is_number(end: Any) -> bool:
    return end is None or type(end) is int


def _cut_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, key: Any) -> "Tensor":
    entries = list(key) if type(key) is tuple else [key]
    return apply(PLACED, grad, key=key_of(x.shape, entries), shape=x.shape)


# As PART, on a tape: what the key means is worked out when its gradient is asked for.
CUT = Operation("index", lambda xp, x, *, key: x[key], [_cut_gradient], moves=True)


def _entry(x: "Tensor", entry: Any) -> Any:
    """An index of any kind as a number, or as a tensor of indexes or a mask."""
    if isinstance(entry, int | np.integer) and not isinstance(entry, bool):
        return int(entry)
    return as_indexes("index", x, entry)


def as_indexes(name: str, x: "Tensor", given: Any) -> "Tensor":
    """Indexes for x, or a mask, as a tensor. Raises DTypeError for what are no whole numbers."""
    if isinstance(given, Cell):
        given = given.value
    if isinstance(given, Operand):
        return given  # type: ignore[return-value] # there is no other kind of Operand
    try:
        numbers = np.asarray(given)
    except ValueError:
        raise DTypeError(f"{name} takes whole numbers, slices and masks, not {given!r:.80}") from None
    if not numbers.size and isinstance(given, list | tuple):
        numbers = numbers.astype("int64")
    if numbers.dtype.kind not in "iub":
        raise DTypeError(f"{name} takes whole numbers, slices and masks, not {given!r:.80}")
    return x.beside(numbers.astype("bool" if numbers.dtype.kind == "b" else "int64"))


def _by_indexes(x: "Tensor", entries: list[Any]) -> "Tensor":
    if len(entries) == 1 and entries[0].dtype is bool_ and not entries[0].shape:
        # A mask of no axes chooses whether there is anything at all, along a new axis.
        return indexed(apply(RESHAPE, x, shape=(1, *x.shape)), apply(RESHAPE, entries[0], shape=(1,)))
    apart = _has_dots_between(entries)
    entries = _without_masks(x, entries)
    # Each entry stands for one axis from here on. A number beside indexes counts as an index, as in numpy.
    slices = [slice(None) if isinstance(entry, Operand | int) else entry for entry in entries]
    if any(entry != slice(None) for entry in slices):
        x = apply(PART, x, key=key_of(x.shape, slices))
    places = [place for place, entry in enumerate(entries) if isinstance(entry, Operand | int)]
    first, count = places[0], len(places)
    if apart or places[-1] - first >= count:  # those that are not side by side come first in the result, as in numpy
        others = [place for place in range(len(entries)) if place not in places]
        x, first = apply(PERMUTE, x, axes=(*places, *others)), 0
    index, sizes = entries[places[0]], x.shape[first : first + count]
    if count > 1:
        indexes = [
            entry_of(entries[place], size, x.shape) if isinstance(entries[place], int) else entries[place]
            for place, size in zip(places, sizes, strict=True)
        ]
        index = apply(JOINED, *indexes, sizes=sizes)
        x = apply(RESHAPE, x, shape=(*x.shape[:first], prod(sizes), *x.shape[first + count :]))
    return apply(TAKE, x, index, axis=first)


def _has_dots_between(entries: list[Any]) -> bool:
    """Whether there is `...` between two indexes, where it may stand for no axis at all."""
    indexes = [place for place, entry in enumerate(entries) if isinstance(entry, Operand | int)]
    return any(indexes[0] < place < indexes[-1] for place, entry in enumerate(entries) if entry is ...)


def _without_masks(x: "Tensor", entries: list[Any]) -> list[Any]:
    """The entries with the indexes of what each mask lets through, one an axis, in its place."""
    taken = [_axes_of(entry) for entry in entries]
    full = without_ellipsis(x.shape, entries, sum(taken))
    found: list[Any] = []
    axis = 0
    for entry in full:
        if isinstance(entry, Operand) and entry.dtype is bool_:  # type: ignore[attr-defined]
            found += _chosen(entry, x, axis)  # type: ignore[arg-type]
        else:
            found.append(entry)
        axis += _axes_of(entry)
    return found


def _axes_of(entry: Any) -> int:
    """For how many axes an entry of a key is."""
    if isinstance(entry, Operand):
        return len(entry.array.shape) if stored_as(entry.array.dtype) is bool_ else 1
    return 0 if entry is None or entry is ... else 1


def _chosen(mask: "Tensor", x: "Tensor", axis: int) -> "list[Tensor]":
    if not mask.shape:
        raise DTypeError("index: a mask without axes stands alone, without other indexes")
    if mask.shape != x.shape[axis : axis + mask.ndim]:
        raise ShapeError("index", [x.shape, mask.shape], f"a mask {mask.shape} does not fit the axes of {x.shape}")
    watching = _mode()
    if watching:
        watching.asked(mask)  # how much it lets through is not known before it has numbers
    return [type(mask).of(places) for places in namespace(mask.array).nonzero(mask.array)]
