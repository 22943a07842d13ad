"""Tools and output schemas for a model that lacks them: it writes JSON, which becomes tool calls and answers.

What a model does not understand is said in its system message, and where its server knows schemas, one schema holds
the reply to either `{"tool": name, "arguments": {...}}` or `{"answer": ...}`.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from typing import Any, cast
from urllib.parse import unquote

from msgflow._frozen import FrozenDict, freeze
from msgflow.errors import BadModelResponse
from msgflow.messages import (
    ChatMessage,
    Finished,
    ModelEvent,
    OutputSchema,
    Request,
    Response,
    TextDelta,
    TextPart,
    ToolCall,
    ToolSpec,
    assistant,
    system,
)
from msgflow.models.protocol import Model
from msgflow.models.status import excerpt

# A small model that got a tool's answer tends to ask for the very same thing again, until its turns run out.
SAME_CALL_LIMIT = 2

ANSWER: dict[str, Any] = {"type": "string", "minLength": 1}
FENCED = re.compile(r"\s*```\w*\n(.*)\n\s*```\s*", re.DOTALL)
# Keywords whose values are no schemas, and those whose values are schemas by name.
VALUES = ("const", "enum", "default", "examples")
BY_NAME = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")


class SchemaTools:
    """A model that takes tools and output schemas, made of one that lacks tools, schemas or both.

    Where nothing is lacking for a request it is passed on as it is. Otherwise an answer is streamed in one piece.
    Settings `tool_choice` and `parallel_tool_calls` are understood; a reply holds at most one call. A tool that was
    called twice with the same arguments since the last user message is not offered a third time.
    Raises BadModelResponse for a reply that is neither a tool call nor an answer.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.spec, self.provider, self.name = model.spec, model.provider, model.name
        self.profile = replace(model.profile, native_tools=True, json_schema=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    async def complete(self, request: Request) -> Response:
        asked = self._translate(request)
        response = await self.model.complete(asked)
        if asked is request or response.tool_calls or response.finish_reason == "content_filter":
            return response
        if self._lacks_tools(request):
            return _decode(response, request, self.spec)
        return _said(response, _unfenced(response.text)) if request.output is not None else response

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        if self._translate(request) is not request:
            whole = await self.complete(request)
            if whole.text:
                yield TextDelta(whole.text)
            yield Finished(whole)
            return
        async with aclosing(cast(Any, self.model.stream(request))) as events:
            async for event in events:
                yield event

    def _lacks_tools(self, request: Request) -> bool:
        return bool(request.tools) and not self.model.profile.native_tools

    def _translate(self, request: Request) -> Request:
        """The request as the model can understand it; the same object where it can already."""
        profile = self.model.profile
        asked = request
        if not profile.native_tools and any(m.tool_calls or m.role == "tool" for m in request.messages):
            asked = replace(asked, messages=_without_tools(request.messages))
        if self._lacks_tools(request):
            choice = _Choice(request)
            kept = {name: value for name, value in request.settings.items() if name not in _Choice.SETTINGS}
            asked = replace(
                asked,
                messages=_instructed(asked.messages, choice.instructions),
                tools=(),
                output=OutputSchema("reply", choice.schema),
                settings=FrozenDict(kept),
            )
        if asked.output is not None and not profile.json_schema:
            schema = json.dumps(asked.output.schema, ensure_ascii=False)
            text = f"Write nothing but JSON that follows this JSON Schema:\n{schema}"
            asked = replace(asked, messages=_instructed(asked.messages, text), output=None)
        return asked


class _Choice:
    """What a model may reply: which tools it may call, and whether it may answer."""

    SETTINGS = ("tool_choice", "parallel_tool_calls")

    def __init__(self, request: Request) -> None:
        chosen = request.settings.get("tool_choice", "auto")
        name = chosen.get("function", {}).get("name") if isinstance(chosen, dict) else None
        over = _called_too_often(request.messages)
        self.tools = [
            tool
            for tool in request.tools
            if tool.name not in over and chosen != "none" and (name is None or tool.name == name)
        ]
        self.answer: Mapping[str, Any] | None = request.output.schema if request.output is not None else ANSWER
        if self.tools and (name is not None or chosen == "required"):
            self.answer = None

    @property
    def instructions(self) -> str:
        tools = "You can use these tools:\n" + "\n".join(map(_line, self.tools))
        call = '{"tool": name, "arguments": {...}}'
        if self.answer is None:
            return f"{tools}\n\nReply with a tool call as JSON:\n{call}"
        answer = f'{{"answer": {"text" if self.answer is ANSWER else _kind(self.answer)}}}'
        if not self.tools:
            return f"Reply with the final answer as JSON:\n{answer}"
        return (
            f"{tools}\n\nReply with JSON, either a tool call:\n{call}\n"
            f"or, once you know it, the final answer:\n{answer}"
        )

    @property
    def schema(self) -> FrozenDict:
        definitions: dict[str, Any] = {}
        replies = [
            _object(tool={"const": tool.name}, arguments=_hoisted(tool.parameters, f"tool{index}", definitions))
            for index, tool in enumerate(self.tools)
        ]
        if self.answer is not None:
            replies.append(_object(answer=_hoisted(self.answer, "answer", definitions)))
        joined = {"anyOf": replies} if len(replies) > 1 else replies[0]
        frozen: FrozenDict = freeze({**joined, "$defs": definitions} if definitions else joined, "schema")
        return frozen


# --- what the model reads --------------------------------------------------------------------------------------------


def _instructed(messages: Sequence[ChatMessage], text: str) -> tuple[ChatMessage, ...]:
    """Add to the system message: many chat templates take only one, and only as the first message."""
    if not messages or messages[0].role != "system":
        return (system(text), *messages)
    first = messages[0]
    if isinstance(first.content, str):
        return (system(f"{first.content}\n\n{text}" if first.content else text), *messages[1:])
    return (replace(first, content=(*first.content, TextPart(f"\n\n{text}"))), *messages[1:])


def _line(tool: ToolSpec) -> str:
    """`- name(parameter: type, optional?: type): description`, and what is said about each parameter."""
    properties = _by_name(tool.parameters, "properties")
    required = tool.parameters.get("required") or ()
    signature = ", ".join(
        f"{_one_line(name)}{'' if name in required else '?'}: {_kind(schema)}" for name, schema in properties.items()
    )
    lines = [f"- {_one_line(tool.name)}({signature}): {_one_line(tool.description)}"]
    for name, schema in properties.items():
        if isinstance(schema, dict) and schema.get("description"):
            lines.append(f"    {_one_line(name)}: {_one_line(str(schema['description']))}")
    return "\n".join(lines)


def _by_name(schema: Mapping[str, Any], keyword: str) -> Mapping[str, Any]:
    parts = schema.get(keyword)
    return parts if isinstance(parts, dict) else {}


def _one_line(text: str) -> str:
    """Without line breaks, a description cannot pass itself off as another tool."""
    return " ".join(text.split())


def _kind(schema: object) -> str:
    """A schema in a few words."""
    if not isinstance(schema, dict):
        return "any"
    if "const" in schema or "enum" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in values)
    if "anyOf" in schema or "oneOf" in schema:
        return " | ".join(dict.fromkeys(map(_kind, schema.get("anyOf") or schema["oneOf"])))
    kind = schema.get("type", "object" if "$ref" in schema else "any")
    if kind == "array":
        return f"list of {_kind(schema.get('items'))}"
    if kind == "object" and schema.get("properties"):
        return (
            "{" + ", ".join(f'"{_one_line(name)}": {_kind(part)}' for name, part in schema["properties"].items()) + "}"
        )
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _without_tools(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The conversation with calls as the assistant's text, and tools' answers as the user's."""
    calls: dict[str | None, ToolCall] = {}
    plain: list[ChatMessage] = []
    answers = False
    for message in messages:
        calls.update({call.id: call for call in message.tool_calls})
        if message.role == "tool":
            result = _result(message, calls.get(message.tool_call_id))
            if answers:  # to the same message; roles have to take turns in many chat templates
                result = replace(result, content=_and(plain.pop().content, result.content))
            plain.append(result)
        elif message.tool_calls:
            written = [message.text] if message.text else []
            plain.append(assistant("\n".join(written + [_written(call) for call in message.tool_calls])))
        else:
            plain.append(message)
        answers = message.role == "tool"
    return tuple(plain)


def _written(call: ToolCall) -> str:
    return f'{{"tool": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {call.arguments or "{}"}}}'


def _result(message: ChatMessage, call: ToolCall | None) -> ChatMessage:
    of = f" of {_one_line(call.name)}({call.arguments or '{}'})" if call is not None else ""
    return ChatMessage("user", _and(f"Result{of}:", message.content, between=" "))


def _and(first: Any, second: Any, between: str = "\n") -> Any:
    """Two contents as one: text if both are."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}{between}{second}"
    parts = [(TextPart(content),) if isinstance(content, str) else content for content in (first, second)]
    return (*parts[0], TextPart(between), *parts[1])


def _called_too_often(messages: Sequence[ChatMessage]) -> set[str]:
    calls: Counter[tuple[str, str]] = Counter()
    for message in messages:
        if message.role == "user":
            calls.clear()
        calls.update((call.name, _canonical(call.arguments)) for call in message.tool_calls)
    return {name for (name, _), times in calls.items() if times >= SAME_CALL_LIMIT}


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


# --- what the model writes -------------------------------------------------------------------------------------------


def _decode(response: Response, request: Request, spec: str) -> Response:
    """The tool call or the answer in a reply. Raises BadModelResponse."""
    try:
        reply = json.loads(_unfenced(response.text))
    except (ValueError, RecursionError) as error:
        cut = " It was cut off: raise max_tokens." if response.finish_reason == "length" else ""
        raise BadModelResponse(
            f"expected a tool call or an answer as JSON, got {excerpt(response.text) or 'nothing'} ({error}).{cut}",
            model=spec,
        ) from None
    match reply:
        case {"tool": str(name), "arguments": dict(arguments)} if name:
            call = ToolCall(_new_id(request.messages), name, json.dumps(arguments, ensure_ascii=False))
            return replace(response, message=assistant("", call), finish_reason="tool_call")
        case {"answer": answer} if request.output is not None:
            return _said(response, json.dumps(answer, ensure_ascii=False))
        case {"answer": str(answer)}:
            return _said(response, answer)
    raise BadModelResponse(
        'expected {"tool": name, "arguments": {...}} or {"answer": ...}, got ' + excerpt(response.text), model=spec
    )


def _said(response: Response, text: str) -> Response:
    return replace(response, message=assistant(text))


def _unfenced(text: str) -> str:
    """Models that nothing holds to JSON like to put it in a Markdown fence."""
    fenced = FENCED.fullmatch(text)
    return fenced[1] if fenced else text


def _new_id(messages: Sequence[ChatMessage]) -> str:
    """The first of call_1, call_2, ... that the conversation does not hold: equal runs have equal requests."""
    taken = {call.id for message in messages for call in message.tool_calls}
    return next(id for id in (f"call_{number}" for number in count(len(taken) + 1)) if id not in taken)


# --- several schemas in one ------------------------------------------------------------------------------------------


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _hoisted(schema: Mapping[str, Any], prefix: str, definitions: dict[str, Any]) -> Any:
    """The schema without its definitions, which go to those of the whole under names that begin with `prefix`.

    References follow them, cycles included; one to the schema's own root or inside makes the root a definition, too.
    """
    names: dict[tuple[str, str], str] = {}
    for keyword in ("$defs", "definitions"):
        for name in _by_name(schema, keyword):
            names[keyword, name] = f"{prefix}_{len(names)}_" + re.sub(r"[^A-Za-z0-9_]", "_", name)
    whole: list[str] = []

    def moved(reference: str) -> str:
        if reference != "#" and not reference.startswith("#/"):
            return reference
        path = reference[2:].split("/") if reference != "#" else []
        known = names.get((path[0], _unescaped(path[1]))) if len(path) > 1 else None
        if known is None:
            whole.append(reference)
        return "/".join(["#/$defs", *([known, *path[2:]] if known is not None else [prefix, *path])])

    for (keyword, name), renamed in names.items():
        definitions[renamed] = _rewritten(schema[keyword][name], moved)
    body = {key: value for key, value in schema.items() if key not in ("$defs", "definitions")}
    rewritten = _rewritten(body, moved)
    if whole:
        definitions[prefix] = rewritten
    return rewritten


def _unescaped(token: str) -> str:
    """Source: RFC 6901, sections 4 and 6."""
    return unquote(token).replace("~1", "/").replace("~0", "~")


def _rewritten(schema: Any, moved: Any) -> Any:
    """A copy with all references moved; what only looks like a reference, in an example or a name, stays."""
    if isinstance(schema, list):
        return [_rewritten(item, moved) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            copy[key] = moved(value)
        elif key in BY_NAME and isinstance(value, dict):
            copy[key] = {name: _rewritten(part, moved) for name, part in value.items()}
        else:
            copy[key] = value if key in VALUES else _rewritten(value, moved)
    return copy
