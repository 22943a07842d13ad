"""Streams: one object for `for` and for `async for`."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeAlias, TypeVar

import anyio

from msgflow._bridge import Launched, wait
from msgflow._version_clock import Held
from msgflow.errors import BridgeError

T = TypeVar("T")
Emit: TypeAlias = Callable[[T], Awaitable[None]]
Source: TypeAlias = Callable[[Emit[T]], Awaitable[object]]


class Stream(Generic[T]):
    """Items as they arrive: `for item in stream`, or `async for item in stream`, once.

    Nothing runs before the first item is asked for, and nothing runs ahead of the reader. Leaving the loop early,
    `close()`, `await aclose()` and the end of a `with` block cancel the work behind it.

    `source` is awaited with a function that emits one item. It runs from start to end in one task of its own, with
    the context variables and the version of all values of the place where the stream was made: so timeouts, spans
    and other blocks inside it may span items, whoever reads them.
    """

    def __init__(self, source: Source[T]) -> None:
        self._source = source
        self._held = Held()
        self._turns: _Turns[T] = _Turns()
        self._is_read = False

    def __iter__(self) -> "StreamReader[T]":
        return self._read()

    def __aiter__(self) -> "StreamReader[T]":
        return self._read()

    def _read(self) -> "StreamReader[T]":
        if self._is_read:
            raise BridgeError("a stream can be read once; ask for a new one, or keep its items in a list")
        self._is_read = True
        # Only the reading loop holds its reader, so that leaving the loop drops it.
        return StreamReader(self._source, self._held, self._turns)

    async def aclose(self) -> None:
        """Cancel the work behind the stream, wait until it has cleaned up, and raise what that raised."""
        self._is_read = True
        await self._turns.end()

    def close(self) -> None:
        """As `aclose`, from plain code."""
        wait(self.aclose())

    def __enter__(self) -> "Stream[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> "Stream[T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class StreamReader(Generic[T]):
    """The one reader of a stream; dropping it ends the work."""

    def __init__(self, source: Source[T], held: Held, turns: "_Turns[T]") -> None:
        self._source, self._held, self._turns = source, held, turns

    def __iter__(self) -> "StreamReader[T]":
        return self

    def __aiter__(self) -> "StreamReader[T]":
        return self

    def __next__(self) -> T:
        try:
            return wait(self.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    async def __anext__(self) -> T:
        turns = self._turns
        if turns.work is None:
            turns.work = Launched(turns.run(self._source), self._held, turns.close)
        elif not turns.work.is_here:
            raise BridgeError("a stream that was begun on one event loop cannot be read on from another")
        return await turns.take()

    async def aclose(self) -> None:
        """As the stream's."""
        await self._turns.end()

    def __del__(self) -> None:
        if self._turns.work is not None:
            self._turns.work.give_up()


class _Turns(Generic[T]):
    """What a reader and its work share: one of them runs at a time, and each item hands over.

    The work and the stream hold this and not the reader; otherwise nobody could drop the reader.
    """

    def __init__(self) -> None:
        self.work: Launched | None = None
        self._items: deque[T] = deque()
        self._wanted = self._ended = False
        self._error: BaseException | None = None
        self._change: anyio.Event | None = None

    async def run(self, source: Source[T]) -> None:
        try:
            await source(self._emit)
        except StopAsyncIteration as error:
            # To the reader it would look like the end.
            self._error = RuntimeError("the source of a stream raised StopAsyncIteration")
            self._error.__cause__ = error
        except BaseException as error:
            self._error = error
            if not isinstance(error, Exception):
                raise

    async def _emit(self, item: T) -> None:
        """Hand over one item, and go on when the next one is asked for."""
        await self._until(lambda: self._wanted or self._ended)
        if self._ended:
            raise BridgeError("this stream has ended; its source cannot emit any more")
        self._items.append(item)
        self._wanted = False
        self._changed()
        await self._until(lambda: self._wanted or self._ended)

    async def take(self) -> T:
        while not self._items:
            if self._ended:
                error = self.take_error()
                raise StopAsyncIteration if error is None else error
            self._wanted = True
            self._changed()
            await self._until(lambda: not self._wanted or self._ended)
        return self._items.popleft()

    def take_error(self) -> BaseException | None:
        error, self._error = self._error, None
        return error

    def close(self) -> None:
        self._ended = True
        self._changed()

    async def end(self) -> None:
        """Cancel the work; on its own loop this waits until it has cleaned up."""
        if self.work is None:
            self.close()
        elif self.work.is_here:
            await self.work.end()
            error = self.take_error()
            if isinstance(error, Exception):
                raise error
        else:
            self.work.give_up()

    def _changed(self) -> None:
        if self._change is not None:
            self._change.set()
            self._change = None

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._change = self._change or anyio.Event()
            await self._change.wait()
