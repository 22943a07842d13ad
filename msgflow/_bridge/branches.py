"""Several pieces of work at once, each in a task of its own, with one plain exception when one of them fails.

Native tasks, because anyio's task group takes twice as long for a few short ones.
"""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import Any, Generic, TypeVar

T = TypeVar("T")

NOTED = 3  # failures that are noted on the first one


async def gather(
    calls: Sequence[Callable[[], Awaitable[T]]],
    *,
    limit: int | None = None,
    lone_in_place: bool = True,
    slots: "Slots | None" = None,
    as_flows: bool = True,
) -> list[T]:
    """All results in order. One failure cancels the others and is raised as it is, not in a group.

    Each call runs in a task and a copied context of its own, at most `limit` at a time. `lone_in_place` runs a single
    call in the caller's own, which is faster, and leaves endless recursion to end at the interpreter's limit. `slots`
    is for calls that wait for each other. Calls that enter a Flow by themselves, as `acall` does, are spared the one
    that every task of the background loop has by `as_flows=False`.
    """
    if lone_in_place and len(calls) == 1:
        return [await calls[0]()]
    return await _Branches(calls, slots or Slots(limit), as_flows).run()


class Slots:
    """How many calls of one gather may run at a time. One that waits for others leaves its slot to them.

    The gather sets `begin`, which begins one more call where there is one, and calls `called_off` whenever it cancels
    its calls.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._free = limit if limit is not None else float("inf")
        self._coming_back: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()
        self.begin: Callable[[], bool] = bool
        self.called_off: Callable[[], object] = bool

    def leave(self) -> None:
        """Free one slot; who waits to come back has it before a call that has not begun."""
        self._free += 1
        while self._free >= 1:
            while self._coming_back and self._coming_back[0].done():
                self._coming_back.popleft()  # cancelled while it waited
            if self._coming_back:
                self._coming_back.popleft().set_result(None)
            elif not self.begin():
                break
            self._free -= 1

    def fill(self) -> None:
        """Begin as many calls as there are slots for."""
        self._free -= 1
        self.leave()

    async def on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that runs on the loop of the calls; code in a worker thread is on another one."""
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """In the block a call waits for others, without a slot; it goes on when one is free again."""
        self.leave()
        try:
            yield
            await self._come_back()
        except BaseException:
            self._free -= 1  # it goes on at once, and frees at its end what it has not got
            raise

    async def _come_back(self) -> None:
        if self._free >= 1:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._coming_back.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it has got the slot nevertheless
                self._free += 1
            raise


class _Branches(Generic[T]):
    def __init__(self, calls: Sequence[Callable[[], Awaitable[T]]], slots: Slots, as_flows: bool) -> None:
        self.results: dict[int, T] = {}
        self._calls, self._slots, self._as_flows = calls, slots, as_flows
        self._todo: Iterator[tuple[int, Callable[[], Awaitable[T]]]] = iter(enumerate(calls))
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        depth = _depth.get() + 1
        if depth > sys.getrecursionlimit():
            raise RecursionError(f"branches are nested {depth} deep; a flow that calls itself has to end")
        self._context.run(_depth.set, depth)
        self._running: dict[asyncio.Task[None], None] = {}
        self._failures: list[BaseException] = []
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._is_cancelled = False

    async def run(self) -> list[T]:
        self._slots.begin = self._begin
        self._slots.fill()
        cancelled = None
        try:
            while self._running:
                try:
                    await self._over
                except asyncio.CancelledError as error:
                    cancelled, self._over = error, self._loop.create_future()
                    # Each time: a time limit of anyio cancels again until everything under it has ended.
                    self._cancel()
            if self._failures:
                raise _first(self._failures, cancelled)
            if cancelled is not None:
                raise cancelled
            if len(self.results) < len(self._calls):
                raise asyncio.CancelledError  # a call has cancelled itself
            return [self.results[index] for index in range(len(self._calls))]
        finally:
            # Else results and errors would be parts of cycles, and stay until the garbage collector comes.
            self._slots.begin = self._slots.called_off = bool
            self._failures.clear()
            del cancelled

    def _begin(self) -> bool:
        if self._is_cancelled:
            return False
        for index, call in self._todo:
            work, context = self._run(index, call), self._context.copy()
            if self._as_flows:
                task = self._loop.create_task(work, context=context)
            else:  # by no factory, so that none is started eagerly, on top of the stack of another
                task = asyncio.Task(work, loop=self._loop, context=context)
            self._running[task] = None
            task.add_done_callback(self._ended, context=self._context)
            return True
        return False

    async def _run(self, index: int, call: Callable[[], Awaitable[T]]) -> None:
        self.results[index] = await call()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._running[task]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failures.append(error)
        if (error is not None or task.cancelled()) and not self._is_cancelled:
            self._cancel()
        self._slots.leave()
        if not self._running and not self._over.done():
            self._over.set_result(None)

    def _cancel(self) -> None:
        self._is_cancelled = True
        for task in tuple(self._running):
            if task in _cleaning_up:
                _cleaning_up[task] = True
            else:
                task.cancel()
        self._slots.called_off()


# How many gathers are around this code: one that calls itself without end must not eat all memory.
_depth: ContextVar[int] = ContextVar("msgflow_depth", default=0)

# The tasks that are cleaning up, and whether a gather wants them cancelled when that is done.
_cleaning_up: dict["asyncio.Task[Any]", bool] = {}


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Here the failure of another branch does not cancel this one; it does afterwards."""
    task = asyncio.current_task()
    if task is None or task in _cleaning_up:
        yield
        return
    _cleaning_up[task] = False
    try:
        yield
    finally:
        if _cleaning_up.pop(task):
            task.cancel()


def _first(failures: list[BaseException], cancelled: asyncio.CancelledError | None) -> BaseException:
    """The failure that came first; those that followed from cancelling are noted on it."""
    first = failures[0]
    others = [other for other in failures if other is not first]
    notes = [f"while it was handled, another branch failed, too: {other!r:.500}" for other in others[:NOTED]]
    if len(others) > NOTED:
        notes.append(f"and {len(others) - NOTED} more")
    add_notes(first, *notes)
    handled = _handled(first)
    if cancelled is not None and not any(isinstance(error, asyncio.CancelledError) for error in handled):
        handled[-1].__context__ = cancelled
    return first


def add_notes(error: BaseException, *notes: str) -> None:
    """Note on an error what is not noted there yet, if it takes notes."""
    with suppress(Exception):  # a frozen dataclass, for example, takes none
        noted = tuple(getattr(error, "__notes__", ()))  # an error may be one object that is raised again and again
        for note in notes:
            if note not in noted:
                error.add_note(note)


def is_after_cancelling(error: BaseException) -> bool:
    """Whether an error was raised while this task was being cancelled, such as by a clean-up.

    Then the task has to end: a second attempt, for example, would be one that nobody cancels.
    """
    task = None if asyncio._get_running_loop() is None else asyncio.current_task()
    is_cancelling = task is not None and task.cancelling() > 0
    return is_cancelling and any(isinstance(found, asyncio.CancelledError) for found in _handled(error))


def _handled(error: BaseException) -> list[BaseException]:
    """The error, what was being handled when it was raised, what was being handled when that was raised, ..."""
    found = [error]
    while (earlier := found[-1].__context__) is not None and not any(earlier is known for known in found):
        found.append(earlier)
    return found
