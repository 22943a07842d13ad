"""Running branches at once, and barriers at which they wait for each other."""

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

import anyio

from msgflow._bridge import Slots, gather
from msgflow._limits import seconds_or_none
from msgflow.errors import BarrierTimeout
from msgflow.flow.refs import given
from msgflow.nn.module import Module

T = TypeVar("T")


class _Meeting:
    """The branches of one call that have not ended, and how many of them wait at a barrier."""

    def __init__(self, branches: int, slots: Slots) -> None:
        self.present, self.arrived = branches, 0
        self._slots = slots
        self._gate: anyio.Event | None = None  # made by the first that arrives: most branches never meet

    async def arrive(self, seconds: float | None) -> None:
        """Return when all branches that have not ended are here."""
        self.arrived += 1
        gate = self._gate = self._gate or anyio.Event()
        self._let_go()
        if gate.is_set():
            return
        try:
            # Without a slot, so that with a limit the other branches can begin and come here.
            async with self._slots.away():
                with anyio.move_on_after(seconds):
                    await gate.wait()
                if not gate.is_set() and seconds is not None:
                    raise BarrierTimeout(seconds, self.arrived, self.present)
        finally:
            if not gate.is_set():
                self.arrived -= 1

    def leave(self) -> None:
        """A branch has ended; the others do not wait for it."""
        self.present -= 1
        self._let_go()

    def _let_go(self) -> None:
        if self._gate is not None and self.arrived == self.present:
            self._gate.set()
            self._gate, self.arrived = None, 0


_meeting: ContextVar[_Meeting | None] = ContextVar("msgflow_meeting", default=None)


async def run_branches(calls: Sequence[Callable[[], Awaitable[T]]], limit: int | None) -> list[T]:
    """All results in order, at most `limit` calls at a time; barriers in the calls wait for each other.

    What calls of the user's the calls make, they make by `acall` or `in_flow`.
    """
    slots = Slots(limit)
    meeting = _Meeting(len(calls), slots)
    token = _meeting.set(meeting)
    try:
        attended = [partial(_attended, meeting, call) for call in calls]
        return await gather(attended, slots=slots, lone_in_place=False, as_flows=False)
    finally:
        _meeting.reset(token)


async def _attended(meeting: _Meeting, call: Callable[[], Awaitable[T]]) -> T:
    try:
        return await call()
    finally:
        meeting.leave()


class Barrier(Module):
    """Waits until all branches of the innermost Parallel, Diverter or Map are at a barrier, or have ended.

    It returns its input. Outside of branches there is nobody to wait for. Raises BarrierTimeout after `timeout`
    seconds.
    """

    def __init__(self, timeout: float | None = None) -> None:
        super().__init__()
        self.timeout = seconds_or_none(timeout, "timeout")

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        meeting = _meeting.get()
        if meeting is not None:
            await meeting.arrive(self.timeout)
        return given(args, kwargs)

    def extra_repr(self) -> str:
        return "" if self.timeout is None else f"timeout={self.timeout:g}"


def barrier(timeout: float | None = None) -> Barrier:
    """A step at which all branches wait for each other: see Barrier."""
    return Barrier(timeout)
