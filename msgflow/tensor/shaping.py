"""The same numbers in another shape or order; tensors taken apart and put together.

What only looks at the same numbers in another way shares their memory; since nobody writes to it, that cannot be seen.
"""

from collections.abc import Iterable, Sequence
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from msgflow.errors import DTypeError, ShapeError
from msgflow.tensor.operations import apply, tensor_of, unary
from msgflow.tensor.rules.reducing import axis_of
from msgflow.tensor.rules.shaping import BROADCAST_TO, PERMUTE, RESHAPE
from msgflow.tensor.rules.slicing import CONCAT, PAD, PART, STACK, TRIL, TRIU, along

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


def reshape(x: "Tensor", *shape: int | Sequence[int]) -> "Tensor":
    """The same numbers, in order, in another shape; one size may be -1, which is what is left over."""
    sizes = shape[0] if len(shape) == 1 and type(shape[0]) is tuple else shape
    for size in sizes:
        if type(size) is not int:
            sizes = _whole_numbers("reshape", shape)
            break
    return unary(RESHAPE, x, shape=sizes)


def flatten(x: "Tensor", start_axis: int = 0, end_axis: int = -1) -> "Tensor":
    """Some neighbouring axes as one; all of them by default."""
    x = tensor_of(RESHAPE, x)
    if not x.shape:
        return unary(RESHAPE, x, shape=(1,))
    start, end = axis_of(x, start_axis), axis_of(x, end_axis)
    if start > end:
        raise ShapeError("flatten", [x.shape], f"the axis {start_axis} comes after the axis {end_axis}")
    size = prod(x.shape[start : end + 1])
    return unary(RESHAPE, x, shape=(*x.shape[:start], size, *x.shape[end + 1 :]))


def squeeze(x: "Tensor", axis: int | Sequence[int] | None = None) -> "Tensor":
    """Without some axes of size 1; without all of them by default. Raises ShapeError for an axis of another size."""
    x = tensor_of(RESHAPE, x)
    if axis is None:
        gone = {place for place, size in enumerate(x.shape) if size == 1}
    else:
        gone = {axis_of(x, place) for place in _whole_numbers("squeeze", (axis,))}
    for place in gone:
        if x.shape[place] != 1:
            raise ShapeError("squeeze", [x.shape], f"the axis {place} has the size {x.shape[place]}, not 1")
    return unary(RESHAPE, x, shape=tuple(size for place, size in enumerate(x.shape) if place not in gone))


def unsqueeze(x: "Tensor", axis: int) -> "Tensor":
    """With a new axis of size 1 at this place."""
    x = tensor_of(RESHAPE, x)
    count = x.ndim + 1
    if not -count <= axis < count:
        raise ShapeError("unsqueeze", [x.shape], f"there is no place {axis} for a new axis; there are {count}")
    place = axis % count
    return unary(RESHAPE, x, shape=(*x.shape[:place], 1, *x.shape[place:]))


def transpose(x: "Tensor", axes: int | Sequence[int] | None = None, other: int | None = None) -> "Tensor":
    """Axes in another order: `transpose(x)` reverses all, `transpose(x, (2, 0, 1))` gives the order of all, as numpy,
    and `transpose(x, 1, 2)` swaps two, as PyTorch."""
    x = tensor_of(PERMUTE, x)
    order = list(range(x.ndim))
    if axes is None:
        return unary(PERMUTE, x, axes=tuple(reversed(order)))
    if other is None:
        return permute(x, *_whole_numbers("transpose", (axes,)))
    here, there = axis_of(x, axes), axis_of(x, other)  # type: ignore[arg-type] # it says what is wrong with several
    order[here], order[there] = there, here
    return unary(PERMUTE, x, axes=tuple(order))


def permute(x: "Tensor", *axes: int | Sequence[int]) -> "Tensor":
    """Axes in another order: axis i of the result is axis `axes[i]` of x."""
    return unary(PERMUTE, x, axes=_whole_numbers("permute", axes))


def broadcast_to(x: "Tensor", shape: int | Sequence[int]) -> "Tensor":
    """In a shape that x broadcasts to, by repeating it along axes that are new or of size 1."""
    return apply(BROADCAST_TO, x, shape=_whole_numbers("broadcast_to", (shape,)))


def concat(tensors: "Iterable[Tensor]", axis: int = 0) -> "Tensor":
    """One after the other along an axis that they have; all other axes are equal. Types are promoted as numpy does."""
    return apply(CONCAT, *_some("concat", tensors), axis=axis)


def stack(tensors: "Iterable[Tensor]", axis: int = 0) -> "Tensor":
    """One after the other along a new axis; their shapes are equal. Types are promoted as numpy does."""
    return apply(STACK, *_some("stack", tensors), axis=axis)


def split(x: "Tensor", size: int | Sequence[int], axis: int = 0) -> "tuple[Tensor, ...]":
    """In parts of this size along an axis, the last of which may be smaller; or of these sizes. As PyTorch.

    Raises ShapeError for sizes that do not add up to what there is.
    """
    x = tensor_of(PART, x)
    axis = axis_of(x, axis)
    whole = x.shape[axis]
    sizes = _whole_numbers("split", (size,))
    if isinstance(size, Sequence):
        if sum(sizes) != whole or min(sizes, default=0) < 0:
            raise ShapeError("split", [x.shape], f"parts of {list(sizes)} are not the axis {axis} of size {whole}")
    else:
        if sizes[0] < 1:
            raise ShapeError("split", [x.shape], f"parts have a size of at least 1, not {sizes[0]}")
        sizes = tuple(min(sizes[0], whole - start) for start in range(0, whole, sizes[0])) or (0,)
    stops = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    return tuple(
        apply(PART, x, key=along(axis, stop - size, stop, x.shape)) for size, stop in zip(sizes, stops, strict=True)
    )


def chunk(x: "Tensor", chunks: int, axis: int = 0) -> "tuple[Tensor, ...]":
    """In so many parts of one size along an axis, the last of which may be smaller; or in fewer, if that is all."""
    x = tensor_of(PART, x)
    if chunks < 1:
        raise ShapeError("chunk", [x.shape], f"there is at least 1 part, not {chunks}")
    whole = x.shape[axis_of(x, axis)]
    return split(x, max(ceil(whole / chunks), 1), axis)


def pad(x: "Tensor", widths: Sequence[tuple[int, int]], value: float = 0) -> "Tensor":
    """With so many more numbers before and after, along the last axes: `[(1, 2)]` for the last, one pair an axis.

    Raises ShapeError for pairs that are none, or more than there are axes; DTypeError for a fraction among integers.
    """
    x = tensor_of(PAD, x)
    try:
        pairs = [(int(before), int(after)) for before, after in widths]
    except (TypeError, ValueError):
        raise ShapeError("pad", [x.shape], f"give a pair (before, after) an axis, not {widths!r:.80}") from None
    if len(pairs) > x.ndim or any(width < 0 for pair in pairs for width in pair):
        raise ShapeError("pad", [x.shape], f"{pairs} are not widths from 0 for at most {x.ndim} axes")
    if isinstance(value, float) and not x.dtype.is_floating:
        raise DTypeError(f"pad of {x.dtype.name} takes a whole number, not {value}")
    pairs = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    shape = tuple(before + size + after for size, (before, after) in zip(x.shape, pairs, strict=True))
    key = tuple((before, before + size, 1) for size, (before, _) in zip(x.shape, pairs, strict=True))
    return apply(PAD, x, key=key, shape=shape, value=value)


def tril(x: "Tensor", k: int = 0) -> "Tensor":
    """The last two axes with zeros above the diagonal; above the k-th above it."""
    return apply(TRIL, x, k=k)


def triu(x: "Tensor", k: int = 0) -> "Tensor":
    """The last two axes with zeros below the diagonal; below the k-th above it."""
    return apply(TRIU, x, k=k)


def _some(name: str, tensors: "Iterable[Tensor]") -> "list[Tensor]":
    given = list(tensors)
    if not given:
        raise ShapeError(name, [], "there is no tensor; give at least one")
    return given


def _whole_numbers(name: str, given: Sequence[Any]) -> tuple[int, ...]:
    """Numbers, given one by one or as one sequence of them."""
    numbers = given[0] if len(given) == 1 and isinstance(given[0], Sequence) else given
    try:
        return tuple([number.__index__() for number in numbers])
    except (AttributeError, TypeError):
        raise DTypeError(f"{name} takes whole numbers, not {numbers!r:.80}") from None
