"""Map: one step for each item of a list."""

from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from msgflow._bridge import in_flow, wait
from msgflow._limits import count_or_none
from msgflow._progress import progress_bar
from msgflow._stream import Emit, Stream
from msgflow.flow.branches import OnError, checked_on_error, run_branches
from msgflow.flow.steps import Flow, Given, note_place
from msgflow.nn.calling import call
from msgflow.nn.functional import TaskError


class Map(Flow):
    """Calls its step for each item, all at once or at most `limit` at a time; returns a list in the order of the items.

    Further arguments go to each call. One failure cancels the others and is raised as it is; with
    `on_error="collect"` a TaskError stands for each item that failed. `progress=True` shows a bar on the terminal.
    """

    def __init__(
        self,
        step: Any,
        *,
        limit: int | None = None,
        on_error: OnError = "cancel",
        progress: bool = False,
    ) -> None:
        super().__init__()
        self.limit = count_or_none(limit)
        self.on_error, self.progress = checked_on_error(on_error), progress
        self._set_step("step", step)

    async def aforward(self, items: Iterable[Any] | AsyncIterable[Any], /, *args: Any, **kwargs: Any) -> list[Any]:
        return await self._each(None, items, args, kwargs)

    def stream(
        self, items: Iterable[Any] | AsyncIterable[Any], /, *args: Any, **kwargs: Any
    ) -> Stream[tuple[int, Any]]:
        """`(index, result)` of each item as it is done, in the order in which they are done.

        At most `limit` items are running or waiting to be read.
        """

        async def source(emit: Emit[tuple[int, Any]]) -> None:
            def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                items, *rest = args
                return wait(self._each(emit, items, tuple(rest), kwargs))

            await in_flow(call, (self, run, (items, *args), kwargs), {})

        return Stream(source)

    async def _each(
        self, emit: Emit[tuple[int, Any]] | None, items: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Any]:
        listed = await _listed(items)
        bar = progress_bar(type(self).__name__, len(listed)) if self.progress else nullcontext(bool)
        step, bound = self["step"], self._bindings.get("step")

        async def one(index: int, item: Any) -> Any:
            given: Given = (item, *args), kwargs
            try:
                if bound is not None:
                    given = bound(*given)
                result = await step.acall(*given[0], **given[1])
            except Exception as error:
                note_place(error, self, f"step[{index}]", step)
                if self.on_error == "cancel":
                    raise
                result = TaskError(error, index)
            advance()
            if emit is None:
                return result
            await emit((index, result))
            return None

        with self._scope((listed, *args), kwargs), bar as advance:
            return await run_branches([partial(one, index, item) for index, item in enumerate(listed)], self.limit)

    def extra_repr(self) -> str:
        options = {"limit": self.limit, "on_error": None if self.on_error == "cancel" else self.on_error}
        return ", ".join(f"{name}={value}" for name, value in options.items() if value is not None)


async def _listed(items: Any) -> list[Any]:
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable | AsyncIterable):
        raise TypeError(f"Map is called with a list of items, not with {items!r:.80} of type {type(items).__name__}")
    if isinstance(items, AsyncIterable):
        return [item async for item in items]
    return list(items)
