"""Several pieces of work at once, each in a task of its own, with one plain exception when one of them fails.

Native tasks, because anyio's task group takes twice as long for a few short ones.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from msgflow._bridge.flows import flow_task

T = TypeVar("T")


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
    branches = _Branches(calls, slots or Slots(limit), as_flows)
    await branches.run()
    return [branches.results[index] for index in range(len(calls))]


class Slots:
    """How many calls of one gather may run at a time. One that waits for others leaves its slot to them."""

    def __init__(self, limit: int | None = None) -> None:
        self._free = limit if limit is not None else float("inf")
        self._coming_back: deque[asyncio.Future[None]] = deque()
        self.begin: Callable[[], bool] = bool

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
        self._running: dict[asyncio.Task[None], None] = {}
        self._failures: list[BaseException] = []
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._is_cancelled = False

    async def run(self) -> None:
        self._slots.begin = self._begin
        self._slots.fill()
        cancelled = None
        while self._running:
            try:
                await self._over
            except asyncio.CancelledError as error:
                cancelled, self._over = error, self._loop.create_future()
                # Each time: a time limit of anyio cancels again until everything under it has ended.
                self._cancel()
        if self._failures:
            raise _first(self._failures)
        if cancelled is not None:
            raise cancelled
        if len(self.results) < len(self._calls):
            raise asyncio.CancelledError  # a call has cancelled itself

    def _begin(self) -> bool:
        if self._is_cancelled:
            return False
        for index, call in self._todo:
            work, context = self._run(index, call), self._context.copy()
            if not self._as_flows and self._loop.get_task_factory() is flow_task:
                task = asyncio.Task(work, loop=self._loop, context=context)
            else:
                task = self._loop.create_task(work, context=context)
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


def _first(failures: list[BaseException]) -> BaseException:
    """The failure that came first; those that followed from cancelling are noted on it."""
    first, *others = failures
    for other in others:
        first.add_note(f"while it was handled, another branch failed, too: {other!r}")
    return first
