"""Operations carried out one after another on one array, some rows at a time while these are in the cache."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from msgflow.tensor.backends import Array, Namespace, narrowed
from msgflow.tensor.dtypes import bfloat16

Registers: TypeAlias = list[Any]
Index: TypeAlias = tuple[slice, ...]
# A function, and what it has still to be given: parts of registers, or what the call before it gave (None).
Call: TypeAlias = tuple[Callable[..., Array], tuple[tuple[int | None, Index | None], ...]]

# Bytes of a part: it stays in the second-level cache of a core from one operation to the next. It is smaller where an
# operation makes arrays of its own, of a size that the allocator of memory has at hand.
PART, SMALL_PART = 1 << 20, 1 << 17


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One operation: a function of arrays. `reads` has a register for each, None for the result of the link before.

    Shape: `shapes` has that of each input, () for a number.
    """

    compute: Callable[..., Array]
    reads: tuple[int | None, ...]
    shapes: tuple[tuple[int, ...], ...]
    takes_out: bool
    goes_by_rows: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """Some calls over some rows: they compute in `place`, and the outcome is rounded to `rounded`, if there is one."""

    calls: tuple[Call, ...]
    place: Array
    rounded: Array


class Chain:
    """Links that compute into `place`. Where there is `rounded`, their float32 numbers go there as 16-bit floats.

    The arrays that are in registers already stay there, so that they are looked up once.
    """

    def __init__(
        self, xp: Namespace, links: Sequence[Link], place: Array, rounded: Array, there: Registers, *, in_parts: bool
    ) -> None:
        self._xp = xp
        passes = _in_parts(links, place, rounded, there) if in_parts else [_pass(links, place, rounded, there)]
        self._passes = list(passes)

    def __call__(self, registers: Registers) -> None:
        xp = self._xp
        for one in self._passes:
            current = one.place
            for call, reads in one.calls:
                current = call(
                    *[
                        current if read is None else registers[read] if rows is None else registers[read][rows]
                        for read, rows in reads
                    ]
                )
            if one.rounded is not None:
                _put_rounded(xp, one.rounded, current)
            elif current is not one.place:
                xp.copyto(one.place, current)


def _put_rounded(xp: Namespace, place: Array, numbers: Array) -> None:
    if place.dtype == bfloat16.storage:
        xp.copyto(place, narrowed(numbers, bfloat16))
    else:
        xp.copyto(place, numbers, casting="same_kind")


def _in_parts(links: Sequence[Link], place: Array, rounded: Array, there: Registers) -> Iterator[_Pass]:
    """A matrix product for all rows, the rest for as many rows at a time as fit into the cache."""
    axis = next((axis for axis, size in enumerate(place.shape) if size > 1), 0)
    head = 0 if links[0].goes_by_rows else 1
    part = PART if all(link.takes_out for link in links) else SMALL_PART
    small = place.nbytes <= 2 * part or axis >= place.ndim - 1
    if small or len(links) == head or not all(link.goes_by_rows for link in links[head:]):
        yield _pass(links, place, rounded, there)
        return
    if head:
        yield _pass(links[:head], place, None, there)
    size = place.shape[axis]
    count = max(1, size * part // place.nbytes)
    for start in range(0, size, count):
        rows = (*[slice(None)] * axis, slice(start, start + count))
        yield _pass(links[head:], place[rows], None if rounded is None else rounded[rows], there, rows)


def _pass(links: Sequence[Link], place: Array, rounded: Array, there: Registers, rows: Index = ()) -> _Pass:
    return _Pass(tuple(_call(link, place, there, rows) for link in links), place, rounded)


def _call(link: Link, place: Array, there: Registers, rows: Index) -> Call:
    function = partial(link.compute, out=place) if link.takes_out else link.compute
    reads = tuple(
        (read, _rows_of(shape, place.ndim, rows)) for read, shape in zip(link.reads, link.shapes, strict=True)
    )
    given: list[Any] = [None if read is None else there[read] for read, _ in reads]
    if any(one is None for one in given):
        return function, reads
    # None of this changes from run to run.
    return partial(
        function, *[one if part is None else one[part] for one, (_, part) in zip(given, reads, strict=True)]
    ), ()


def _rows_of(shape: tuple[int, ...], ndim: int, rows: Index) -> Index | None:
    """Which part of an array goes with some rows of the result, to which it is broadcast; None for all of it."""
    own = rows[ndim - len(shape) :]
    return own if own and shape[len(own) - 1] > 1 else None
