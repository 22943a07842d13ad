"""What belongs to an event loop and ends with it: a pool of connections, say."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import anyio

from msgflow._bridge import running_loop

T = TypeVar("T")


class LoopLocal(Generic[T]):
    """One resource per running event loop, opened on first use and closed when that loop ends.

    A loop says nothing when it ends, except to its async generators, which it closes. So the resource lives inside
    one: `asyncio.run` closes it on its way out, and the background loop does at interpreter exit.

    What `open` returns must not be an async generator itself (`@asynccontextmanager`), or the loop closes it twice.
    """

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._open = open
        self._held: dict[Any, tuple[T, AsyncGenerator[T, None]]] = {}
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
                keeper = self._keep(loop)
                self._held[loop] = (await anext(keeper), keeper)
        return self._held[loop][0]

    async def _keep(self, loop: Any) -> AsyncGenerator[T, None]:
        async with self._open() as resource:
            try:
                yield resource
            finally:
                self._held.pop(loop, None)
                self._opening.pop(loop, None)

    def _forget_closed_loops(self) -> None:
        """Drop what a loop left behind that was closed without closing its async generators."""
        for loop in [loop for loop in self._opening if loop.is_closed()]:
            del self._opening[loop]
            self._held.pop(loop, None)
