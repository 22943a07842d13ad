"""What belongs to an event loop and ends with it: a pool of connections, say."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar
from weakref import WeakMethod

import anyio

from msgflow._bridge import running_loop

T = TypeVar("T")
Open = Callable[[], AbstractAsyncContextManager[T]]
Held = dict[Any, tuple[T, AsyncGenerator[T, None]]]


class LoopLocal(Generic[T]):
    """One resource per running event loop, opened on first use and closed when that loop ends.

    A loop says nothing when it ends, except to its async generators, which it closes. So the resource lives inside
    one: `asyncio.run` closes it on its way out, and the background loop does at interpreter exit. When this object is
    dropped before, each loop is asked to close its own.

    What `open` returns must not be an async generator itself (`@asynccontextmanager`), or the loop closes it twice.
    """

    def __init__(self, open: Open[T]) -> None:
        # A method is held weakly: its owner holds this, and a cycle would be dropped too late and in any order.
        self._open: Callable[[], Open[T] | None] = WeakMethod(open) if hasattr(open, "__self__") else lambda: open
        self._held: Held[T] = {}
        self._opening: dict[Any, anyio.Lock] = {}

    async def get(self) -> T:
        """The resource of the running loop."""
        loop = running_loop()
        held = self._held.get(loop)
        if held is not None:
            return held[0]
        async with self._opening.setdefault(loop, anyio.Lock()):
            if loop not in self._held:
                self._forget_closed_loops()
                open = self._open()
                assert open is not None, "whoever asks holds the owner"
                keeper = _keep(open(), self._held, self._opening, loop)
                self._held[loop] = (await anext(keeper), keeper)
        return self._held[loop][0]

    def _forget_closed_loops(self) -> None:
        """Drop what a loop left behind that was closed without closing its async generators."""
        for loop in [loop for loop in self._opening if loop.is_closed()]:
            del self._opening[loop]
            self._held.pop(loop, None)

    def __del__(self) -> None:
        for loop, (_, keeper) in tuple(self._held.items()):
            with suppress(RuntimeError):  # a loop that is closed has closed it
                loop.call_soon_threadsafe(_close, loop, keeper)


async def _keep(
    opened: AbstractAsyncContextManager[T], held: Held[T], opening: dict[Any, anyio.Lock], loop: Any
) -> AsyncGenerator[T, None]:
    async with opened as resource:
        try:
            yield resource
        finally:
            held.pop(loop, None)
            opening.pop(loop, None)


def _close(loop: Any, keeper: AsyncGenerator[Any, None]) -> None:
    loop.create_task(_closed(keeper))


async def _closed(keeper: AsyncGenerator[Any, None]) -> None:
    await keeper.aclose()
