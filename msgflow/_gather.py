"""Several pieces of work at once, with one plain exception when one of them fails."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import anyio

T = TypeVar("T")


async def gather(
    calls: Sequence[Callable[[], Awaitable[T]]], *, limit: int | None = None, lone_in_place: bool = True
) -> list[T]:
    """All results in order. One failure cancels the others and is raised as it is, not in a group.

    Each call runs in a task and a copied context of its own, at most `limit` at a time. `lone_in_place` runs a single
    call in the caller's own, which is faster, and leaves endless recursion to end at the interpreter's limit.
    """
    if lone_in_place and len(calls) == 1:
        return [await calls[0]()]
    results: dict[int, T] = {}
    failures: list[BaseException] = []
    free = anyio.Semaphore(len(calls) if limit is None else limit, fast_acquire=True)

    async def run(index: int, call: Callable[[], Awaitable[T]]) -> None:
        try:
            results[index] = await call()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            failures.append(error)
            raise
        free.release()  # not after a failure, so that no other call begins

    with suppress(BaseExceptionGroup):  # of what is in `failures`
        async with anyio.create_task_group() as group:
            for index, call in enumerate(calls):
                # Waited for here and not in the task, so that a long list does not become as many tasks.
                await free.acquire()
                group.start_soon(run, index, call)
    if failures:
        raise _first(failures)  # out here, because `raise ... from None` would take its own cause from it
    if len(results) < len(calls):
        # A call that cancels itself ends without a word: a task group takes that for its own doing.
        raise anyio.get_cancelled_exc_class()
    return [results[index] for index in range(len(calls))]


def _first(failures: list[BaseException]) -> BaseException:
    """The failure that came first; those that followed from cancelling are noted on it."""
    first, *others = failures
    for other in others:
        first.add_note(f"while it was handled, another branch failed, too: {other!r}")
    return first
