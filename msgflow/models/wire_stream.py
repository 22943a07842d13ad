"""The streamed half of the chat completions protocol: server-sent events, and chunks put together.

Source of the line format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from msgflow.errors import BadModelResponse
from msgflow.messages import Response, TextDelta, ToolCall, Usage
from msgflow.models.status import reported_error
from msgflow.models.wire import arguments_of, call_id, decode_usage, parse, response, text_of, unexpected

DONE = b"[DONE]"


class EventData:
    """Splits bytes, cut anywhere, into the `data` of server-sent events."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._after_return = False

    def feed(self, received: bytes) -> Iterator[bytes]:
        if self._after_return and received.startswith(b"\n"):
            received = received[1:]
            self._after_return = False
        if not received:
            return
        self._after_return = received.endswith(b"\r")
        self._line.append(received)
        if b"\n" not in received and b"\r" not in received:
            return
        # The bytes of a character never look like a line end, so lines are cut first and decoded later.
        lines = b"".join(self._line).splitlines()
        self._line = [] if received.endswith((b"\n", b"\r")) else [lines.pop()]
        for line in lines:
            yield from self._read(line)

    def end(self) -> Iterator[bytes]:
        """What a server left without its closing empty line."""
        yield from self._read(b"".join(self._line))
        yield from self._read(b"")
        self._line = []

    def _read(self, line: bytes) -> Iterator[bytes]:
        if not line:
            if self._data:
                data, self._data = b"\n".join(self._data), []
                yield data
        elif line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class StreamDecoder:
    """Puts a streamed answer together: `feed` bytes (or `add` parsed chunks) and get its text, then ask for `end`."""

    def __init__(self) -> None:
        self.done = False
        self._events = EventData()
        self._started = False
        self._finish_reason: object = None
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[_Call] = []
        self._call_at: dict[int, _Call] = {}
        self._usage = Usage()
        self._model: object = None
        self._id: object = None

    def feed(self, received: bytes) -> Iterator[TextDelta]:
        """Text as far as it is complete. Raises BadModelResponse, or the error that the server reports."""
        for data in self._events.feed(received):
            yield from self._read(data)

    def end(self) -> tuple[list[TextDelta], Response]:
        """The last text and the whole response. Raises BadModelResponse where the stream is truncated."""
        rest = [delta for data in self._events.end() for delta in self._read(data)]
        if not self._started:
            raise BadModelResponse("expected a stream of chunks with `choices`, got none: it was empty or truncated.")
        if not self.done and self._finish_reason is None:
            raise BadModelResponse(
                f"the stream was truncated after {sum(map(len, self._text))} characters of text: it ended without "
                "`finish_reason` and without [DONE]. Ask again; if it happens often, look at the timeouts of proxies."
            )
        whole = response(
            text="".join(self._text),
            refusal="".join(self._refusal),
            tool_calls=tuple(_tool_call(index, call) for index, call in enumerate(self._calls)),
            finish_reason=self._finish_reason,
            usage=self._usage,
            model=self._model,
            id=self._id,
        )
        return rest, whole

    def _read(self, data: bytes) -> Iterator[TextDelta]:
        if self.done or not data.strip():
            return
        if data.strip() == DONE:
            self.done = True
            return
        text = self.add(parse(data))
        if text:
            yield TextDelta(text)

    def add(self, chunk: object) -> str:
        """Take in one parsed chunk and return its text."""
        if not isinstance(chunk, dict):
            raise unexpected(chunk, "a JSON object as chunk")
        if chunk.get("error"):
            raise reported_error(chunk)
        if chunk.get("usage") is not None:
            self._usage = decode_usage(chunk["usage"])
        self._model, self._id = self._model or chunk.get("model"), self._id or chunk.get("id")
        choices = chunk.get("choices") or []
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise unexpected(chunk, "a list of objects as `choices`")
        return "".join([self._add_choice(choice) for choice in choices if not choice.get("index")])

    def _add_choice(self, choice: dict[str, Any]) -> str:
        self._started = True
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise unexpected(choice, "an object as `delta`")
        calls = delta.get("tool_calls") or []
        if not isinstance(calls, list):
            raise unexpected(calls, "a list as `tool_calls`")
        for call in calls:
            self._add_call(call)
        text, refusal = text_of(delta.get("content")), text_of(delta.get("refusal"))
        if text:
            self._text.append(text)
        if refusal:
            self._refusal.append(refusal)
        return text or refusal

    def _add_call(self, delta: object) -> None:
        function = (delta.get("function") or {}) if isinstance(delta, dict) else None
        if not isinstance(delta, dict) or not isinstance(function, dict):
            raise unexpected(delta, "an object with a `function` as tool call")
        id, name = delta.get("id"), function.get("name")
        call = self._call(delta.get("index"), id)
        call.id = call.id or (id if isinstance(id, str) else "")
        call.name = call.name or (name if isinstance(name, str) else "")
        call.arguments.append(arguments_of(function.get("arguments")))

    def _call(self, index: object, id: object) -> _Call:
        """The call that a delta goes on with: the one at its index, or without an index the last one.

        A new id opens a new call, for servers that give all parallel calls the index 0, or none.
        """
        at = index if isinstance(index, int) else max(self._call_at, default=0)
        call = self._call_at.get(at)
        if call is None or (id and call.id and id != call.id):
            call = self._call_at[at] = _Call()
            self._calls.append(call)
        return call


def _tool_call(index: int, call: _Call) -> ToolCall:
    if not call.name:
        raise unexpected(call, "a tool call with a `name`")
    return ToolCall(call_id(index, call.id), call.name, "".join(call.arguments))
