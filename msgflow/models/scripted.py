"""A model that follows a script: for tests, examples and demonstrations without a network."""

import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import isawaitable
from types import TracebackType
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from msgflow.errors import ScriptError
from msgflow.messages import (
    ChatMessage,
    Finished,
    ModelEvent,
    Request,
    Response,
    TextDelta,
    ToolCall,
    Usage,
)
from msgflow.models.protocol import Profile

Scripted: TypeAlias = str | Response | ToolCall | tuple[ToolCall, ...] | BaseException
Item: TypeAlias = Scripted | Callable[[Request], Scripted | Awaitable[Scripted]]

# What `chat("test/<name>")` finds: the models that somebody still holds, the newest of each name.
LIVE: "WeakValueDictionary[str, ScriptedModel]" = WeakValueDictionary()


class ScriptedModel:
    """A model that answers from its script, in order, and keeps the requests it got.

        model = ScriptedModel("Hello", ToolCall("1", "add", '{"a": 1}'), TimeoutError(), lambda request: "...")

    An item is an answer (text, a tool call or a tuple of them, a Response), an exception to raise, or a function,
    plain or async, from the request to one of these. Each call takes one item, also when calls run at once; with
    `loop` the script starts over. As a context manager it checks at the end that all answers were used, as `done()`
    does. Raises ScriptError when it runs dry. Usage counts words.

    `chat("test/<name>")` finds it as long as it is alive.
    """

    provider = "test"

    def __init__(
        self, *script: Item, name: str = "scripted", profile: Profile | None = None, loop: bool = False
    ) -> None:
        for item in script:
            _check(item)
        if loop and not script:
            raise TypeError("an endless script needs at least one answer")
        self.spec = f"test/{name}"
        self.name = name
        self.profile = profile or Profile()
        self.requests: list[Request] = []
        self._answers = len(script)
        self._loop = loop
        self._script = deque(script)
        LIVE[name] = self

    @classmethod
    def repeat(cls, *script: Item, **options: Any) -> "ScriptedModel":
        """A model that never runs dry."""
        return cls(*script, loop=True, **options)

    def __repr__(self) -> str:
        left = "endless" if self._loop else f"{len(self._script)} of {self._answers} answers left"
        return f"<{type(self).__name__} {self.spec!r}: {left}>"

    async def complete(self, request: Request) -> Response:
        item = self._next(request)
        if callable(item) and not isinstance(item, BaseException):
            made = item(request)
            item = await made if isawaitable(made) else made
            _check(item)
        if isinstance(item, BaseException):
            raise item
        return item if isinstance(item, Response) else _response(item, request, self.name)

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        whole = await self.complete(request)
        for word in re.findall(r"\s*\S+|\s+", whole.text):
            yield TextDelta(word)
        yield Finished(whole)

    def _next(self, request: Request) -> Any:
        self.requests.append(request)
        try:
            item = self._script.popleft()
        except IndexError:
            last = request.messages[-1].text if request.messages else ""
            raise ScriptError(
                f"{self.spec} ran dry: its script holds {_answers(self._answers)}, and request {len(self.requests)} "
                f"ends with {last[:300]!r}. Add an answer, or use ScriptedModel.repeat(...).",
                model=self.spec,
            ) from None
        if self._loop:
            self._script.append(item)
        return item

    def done(self) -> None:
        """Check that the whole script was used. Raises ScriptError."""
        if self._script and not self._loop:
            raise ScriptError(
                f"{self.spec} was asked {len(self.requests)} times, and {len(self._script)} of its "
                f"{_answers(self._answers)} were never used; the next is {self._script[0]!r:.300}.",
                model=self.spec,
            )

    def __enter__(self) -> "ScriptedModel":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.done()


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count} answers"


def _check(item: object) -> None:
    if isinstance(item, tuple) and item and all(isinstance(call, ToolCall) for call in item):
        return
    if isinstance(item, str | Response | ToolCall | BaseException) or (callable(item) and not isinstance(item, type)):
        return
    raise TypeError(
        f"a script holds text, Response, ToolCall, tuples of ToolCall, exceptions and functions; got {item!r}"
    )


def _response(item: str | ToolCall | tuple[ToolCall, ...], request: Request, name: str) -> Response:
    text = item if isinstance(item, str) else ""
    calls = () if isinstance(item, str) else (item,) if isinstance(item, ToolCall) else item
    asked = sum(len(message.text.split()) for message in request.messages)
    answered = len(text.split()) + sum(len(call.arguments.split()) for call in calls)
    message = ChatMessage("assistant", text, calls)
    return Response(message, Usage(asked, answered), "tool_call" if calls else "stop", name)
