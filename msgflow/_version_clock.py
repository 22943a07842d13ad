"""Values with versions: what parameters and buffers keep their data in.

One clock counts the publishes of the process. Whoever derives something from many values, such as a digest, keeps it
with the clock's reading and knows by one comparison whether it still holds.
"""

import threading
from collections.abc import Iterable
from typing import Any


class Cell:
    """One value and the clock's reading when it was published."""

    __slots__ = ("value", "version")

    def __init__(self, value: Any) -> None:
        self.value, self.version = value, _clock.now

    def __reduce__(self) -> tuple[type["Cell"], tuple[Any]]:
        return Cell, (self.value,)


class _Clock:
    __slots__ = ("lock", "now")

    def __init__(self) -> None:
        self.lock, self.now = threading.Lock(), 0


_clock = _Clock()


def now() -> int:
    """How many publishes there were in this process."""
    return _clock.now


def publish(changes: Iterable[tuple[Cell, Any]] = ()) -> None:
    """Store all values as one new version; without changes, only say that some structure changed."""
    with _clock.lock:
        version = _clock.now + 1
        for cell, value in changes:
            cell.value, cell.version = value, version
        _clock.now = version
