"""Versions of all values: what a call reads, and how a swap publishes.

Every value of the state lives in a Cell as `(value, number of the publish that stored it)`. A publish stores any
count of values at once and moves the clock by one. A root call takes a Pin, which holds the Snapshot of that moment:

    read      the cell's value, if it is not newer than the pin: one context variable, one comparison, no lock
              else what the Snapshot has kept of it
    publish   first puts what it replaces into every Snapshot that a running call still holds and that has not kept an
              older value of that cell; then stores the new values; at last makes the next Snapshot the current one

So no call sees half of a publish and none waits for one. A Snapshot is held by the pins alone: with the last of them
it goes, and what it kept goes with it.
"""

import os
import sys
import threading
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from time import sleep
from typing import Any, Self, TypeAlias, TypeVar
from weakref import ref

T = TypeVar("T")
Stored: TypeAlias = tuple[Any, int]

_LATEST = sys.maxsize  # the number of a pin that has ended: nothing is newer
_LOOK_UP = -1  # the number of a pin that has values of its own: everything is newer


class Cell:
    """One value, and the number of the publish that stored it: 0 for the one it was made with."""

    __slots__ = ("stored",)

    def __init__(self, value: Any) -> None:
        self.stored: Stored = (value, 0)

    @property
    def value(self) -> Any:
        """The value that this call reads."""
        return read(self)

    def __reduce__(self) -> tuple[type[Self], tuple[Any]]:
        return type(self), (self.value,)


class Snapshot:
    """All values as one publish left them; `kept` are those that have been replaced since."""

    __slots__ = ("__weakref__", "kept", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.kept: dict[Cell, Stored] = {}


class Pin:
    """What one call, and everything under it, reads.

    `own` are values that it reads in place of those of its snapshot; `pending` are the changes of the transaction that
    it belongs to; `inside` says whether a root call is running.
    """

    __slots__ = ("inside", "number", "own", "pending", "snapshot")
    snapshot: Snapshot | None
    own: Mapping[Cell, Any] | None
    pending: dict[Cell, Any] | None

    def __init__(self, under: "Pin | None" = None, own: Mapping[Cell, Any] | None = None) -> None:
        snapshot = None if under is None else under.snapshot
        if under is None or snapshot is None:
            snapshot, pending = _clock.current, None
        else:
            own, pending = under.own if own is None else own, under.pending
        self.inside, self.snapshot, self.own, self.pending = True, snapshot, own, pending
        self.number = snapshot.number if own is None else _LOOK_UP

    def look_up(self, cell: Cell) -> Any:
        """The value of a cell that was stored later than this pin was taken, or that the pin has a value of its own."""
        snapshot, own = self.snapshot, self.own
        if own is not None and cell in own:
            return own[cell]
        stored = cell.stored
        if snapshot is None or stored[1] <= snapshot.number:
            return stored[0]
        return snapshot.kept[cell][0]

    def end(self) -> None:
        """Let go of the snapshot. Contexts that still have this pin read the latest values from here on."""
        self.number, self.inside, self.snapshot, self.own, self.pending = _LATEST, False, None, None, None


class _Clock:
    __slots__ = ("current", "lock", "older", "shape")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.current = Snapshot(0)
        self.older: list[ref[Snapshot]] = []  # the newest last
        self.shape = 0


_clock = _Clock()
pinned: ContextVar[Pin | None] = ContextVar("msgflow_pinned", default=None)
_pinned = pinned.get

# A child must not be born in the middle of a publish that no thread of its own will end.
os.register_at_fork(before=_clock.lock.acquire, after_in_parent=_clock.lock.release, after_in_child=_clock.lock.release)

adding_up = threading.Lock()  # held by who adds to a gradient: threads share parameters
os.register_at_fork(before=adding_up.acquire, after_in_parent=adding_up.release, after_in_child=adding_up.release)


def read(cell: Cell) -> Any:
    """The value that this call reads; outside of calls the latest."""
    pin = _pinned()
    stored = cell.stored
    if pin is None or stored[1] <= pin.number:
        return stored[0]
    return pin.look_up(cell)


def publish(changes: Iterable[tuple[Cell, Any]]) -> None:
    """Store all values as one new version; inside a transaction, when that ends."""
    replaced = dict(changes)
    pin = _pinned()
    pending = None if pin is None else pin.pending
    if pending is not None:
        pending.update(replaced)
        return
    with _clock.lock:
        _store(replaced)


def _store(changes: dict[Cell, Any]) -> None:
    current = _clock.current
    number = current.number + 1
    # Whoever holds one of these reads what they keep; those that nobody holds are gone.
    older = [snapshot for reference in _clock.older if (snapshot := reference()) is not None]
    before = {cell: cell.stored for cell in changes}
    try:
        current.kept.update(before)
        if older:
            _keep(before, older)
        for cell, value in giving_way(changes.items()):
            cell.stored = (value, number)
        _clock.older = [ref(snapshot) for snapshot in (*older, current)]
        _clock.current = Snapshot(number)
    except BaseException:  # Ctrl-C: what is half stored must never be seen, not even after the next publish
        for cell, stored in before.items():
            cell.stored = stored
        raise


def _keep(replaced: dict[Cell, Stored], snapshots: list[Snapshot]) -> None:
    """Put values into the snapshots that read them: those taken since they were stored."""
    newest_first = [(snapshot.number, snapshot.kept) for snapshot in reversed(snapshots)]
    for cell, stored in giving_way(replaced.items()):
        for number, kept in newest_first:
            if number < stored[1]:
                break
            kept[cell] = stored


def restructured() -> None:
    """Say that some module has gained or lost a value or a module."""
    with _clock.lock:
        _clock.shape += 1


def reading() -> tuple[int, int] | None:
    """What the values that are read here depend on: equal readings, equal values. None where they may change."""
    pin = _pinned()
    if pin is None or pin.snapshot is None:
        return _clock.current.number, _clock.shape
    return None if pin.number == _LOOK_UP else (pin.number, _clock.shape)


def inside_call() -> bool:
    """Whether what is published here is not read here: a call is running, which reads one version.

    In a transaction it is read: `with module.transaction():` in the call.
    """
    pin = _pinned()
    return pin is not None and pin.snapshot is not None and pin.pending is None


def giving_way(items: Iterable[T]) -> Iterator[T]:
    """The items; after every so many, threads that wait may run. By itself Python lets them wait for 5 ms."""
    if threading.active_count() == 1:
        yield from items
        return
    for number, item in enumerate(items, 1):
        yield item
        if number % 128 == 0:
            sleep(0)


@contextmanager
def one_version(own: Mapping[Cell, Any] | None = None) -> Iterator[None]:
    """Everything read in the block is of one version, with these values of its own, without being a call."""
    outer = _pinned()
    with _reading_by(Pin(outer, own), outer):
        yield


@contextmanager
def transaction() -> Iterator[None]:
    """Publish all that is assigned in the block at once, at its end; nothing where it raises.

    The block itself reads one version, with what it has assigned so far.
    """
    outer = _pinned()
    pin = Pin(outer)
    pending: dict[Cell, Any] = {}
    pin.own, pin.pending, pin.number = ChainMap(pending, pin.own or {}), pending, _LOOK_UP  # type: ignore[arg-type]
    with _reading_by(pin, outer):
        yield
    publish(pending.items())


@contextmanager
def _reading_by(pin: Pin, outer: Pin | None) -> Iterator[None]:
    pin.inside = outer is not None and outer.inside
    token = pinned.set(pin)
    try:
        yield
    finally:
        pinned.reset(token)
        pin.end()


class Held:
    """A copy of the context of here, in which work goes on with the version of here, even after its call has ended."""

    __slots__ = ("_pin", "context")

    def __init__(self) -> None:
        self.context: Context = copy_context()
        outer = _pinned()
        self._pin: Pin | None = None
        # A transaction is not outlived: what runs on after it must not assign to what is published already.
        if outer is not None and outer.snapshot is not None and outer.pending is None:
            self._pin = Pin(outer)
            self._pin.inside = outer.inside
            self.context.run(pinned.set, self._pin)

    def release(self) -> None:
        """The work has ended; what still holds the context reads the latest values."""
        if self._pin is not None:
            self._pin.end()
