"""Running branches at once, and barriers at which they wait for each other."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal, TypeVar

import anyio

from msgflow._bridge import Slots, gather
from msgflow._limits import seconds_or_none
from msgflow.errors import BarrierTimeout
from msgflow.flow.refs import given
from msgflow.nn.module import Module

T = TypeVar("T")


OnError = Literal["cancel", "collect"]


def checked_on_error(value: OnError) -> OnError:
    """What becomes of the other branches, or items, when one fails."""
    if value not in ("cancel", "collect"):
        raise ValueError(f'on_error is "cancel" or "collect", not {value!r:.80}')
    return value


class _Gate:
    """Where branches wait for the others. `here` counts by branch, because several calls in one may wait."""

    def __init__(self) -> None:
        self.here: Counter[int] = Counter()
        self.opened = anyio.Event()


class _Meeting:
    """The branches of one call: which have ended, and which are at the barrier."""

    def __init__(self, branches: int, slots: Slots) -> None:
        self._branches, self._slots = branches, slots
        self._ended: set[int] = set()
        self._gate: _Gate | None = None  # made by the first that arrives: most branches never meet
        self._is_off = False
        slots.called_off = self._call_off

    async def arrive(self, branch: int, seconds: float | None) -> None:
        """Return when all branches that have not ended are here."""
        await self._slots.on_loop(self._arrive(branch, seconds))

    async def _arrive(self, branch: int, seconds: float | None) -> None:
        if self._is_off or branch in self._ended:
            return
        gate = self._gate = self._gate or _Gate()
        gate.here[branch] += 1
        self._let_go()
        if gate.opened.is_set():
            return
        try:
            # Without its slot, so that with a limit the other branches can begin and come here.
            async with self._slots.away() if gate.here[branch] == 1 else nullcontext():
                with anyio.move_on_after(seconds):
                    await gate.opened.wait()
                if not gate.opened.is_set() and seconds is not None:
                    raise BarrierTimeout(seconds, len(gate.here), self._branches - len(self._ended))
        finally:
            gate.here[branch] -= 1
            if gate.here[branch] < 1:
                del gate.here[branch]

    def leave(self, branch: int) -> None:
        """A branch has ended; the others do not wait for it."""
        self._ended.add(branch)
        if self._gate is not None:
            del self._gate.here[branch]
            self._let_go()

    def _let_go(self) -> None:
        if self._gate is not None and len(self._gate.here) + len(self._ended) == self._branches:
            self._open()

    def _open(self) -> None:
        if self._gate is not None:
            self._gate.opened.set()
            self._gate = None

    def _call_off(self) -> None:
        """All branches are cancelled. Those that still clean up wait for nobody."""
        self._is_off = True
        self._open()


_branch: ContextVar[tuple[_Meeting, int] | None] = ContextVar("msgflow_branch", default=None)


async def run_branches(calls: Sequence[Callable[[], Awaitable[T]]], limit: int | None) -> list[T]:
    """All results in order, at most `limit` calls at a time; barriers in the calls wait for each other.

    What calls of the user's the calls make, they make by `acall` or `in_flow`.
    """
    slots = Slots(limit)
    meeting = _Meeting(len(calls), slots)
    attended = [partial(_attended, meeting, branch, call) for branch, call in enumerate(calls)]
    return await gather(attended, slots=slots, lone_in_place=False, as_flows=False)


async def _attended(meeting: _Meeting, branch: int, call: Callable[[], Awaitable[T]]) -> T:
    _branch.set((meeting, branch))
    result = await call()
    # Not where it raises: the others are cancelled then, and must not go on before.
    meeting.leave(branch)
    return result


class Barrier(Module):
    """Waits until all branches of the innermost Parallel, Diverter or Map are at a barrier, or have ended.

    It returns its input. Outside of branches there is nobody to wait for. Raises BarrierTimeout after `timeout`
    seconds.
    """

    def __init__(self, timeout: float | None = None) -> None:
        super().__init__()
        self.timeout = seconds_or_none(timeout, "timeout")

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        here = _branch.get()
        if here is not None:
            meeting, branch = here
            await meeting.arrive(branch, self.timeout)
        return given(args, kwargs)

    def extra_repr(self) -> str:
        return "" if self.timeout is None else f"timeout={self.timeout:g}"


def barrier(timeout: float | None = None) -> Barrier:
    """A step at which all branches wait for each other: see Barrier."""
    return Barrier(timeout)
