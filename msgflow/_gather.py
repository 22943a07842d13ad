"""Several pieces of work at once, with one plain exception when one of them fails."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")


async def gather(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """All results in order. One failure cancels the others and is raised as itself, not as a group."""
    if len(calls) == 1:
        return [await calls[0]()]
    results: dict[int, T] = {}

    async def run(index: int, call: Callable[[], Awaitable[T]]) -> None:
        results[index] = await call()

    failure = None
    try:
        async with anyio.create_task_group() as group:
            for index, call in enumerate(calls):
                group.start_soon(run, index, call)
    except BaseExceptionGroup as errors:
        failure = _first(errors)
    if failure is not None:
        raise failure  # out here, because `raise ... from None` would take its own cause from it
    if len(results) < len(calls):
        # A branch that cancels itself ends without a word: a task group takes that for its own doing.
        raise anyio.get_cancelled_exc_class()
    return [results[index] for index in range(len(calls))]


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that came first; those that followed from cancelling are noted on it."""
    first, *others = errors.exceptions
    for other in others:
        first.add_note(f"while it was handled, another branch failed, too: {other!r}")
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
