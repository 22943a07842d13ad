"""The OpenAI chat completions protocol, as pure functions of values.

Source: https://platform.openai.com/docs/api-reference/chat, and what compatible servers make of it.
"""

import json
from collections.abc import Mapping
from typing import Any

from msgflow._frozen import non_finite
from msgflow.errors import BadModelResponse
from msgflow.messages import (
    NOTHING,
    ChatMessage,
    FinishReason,
    OutputSchema,
    Part,
    Request,
    Response,
    TextPart,
    ToolCall,
    ToolSpec,
    Usage,
)
from msgflow.models.protocol import Profile
from msgflow.models.status import excerpt, reported_error

ADVICE = "Check that base_url is an OpenAI-compatible endpoint, as in http://127.0.0.1:8000/v1."

FINISH_REASONS: dict[object, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "content_filter": "content_filter",
    "error": "error",
}

# ASCII escapes carry lone surrogates, which a model may have written, where UTF-8 could not.
_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def encode(
    request: Request,
    model: str,
    *,
    stream: bool = False,
    defaults: Mapping[str, Any] = NOTHING,
    profile: Profile = Profile(),  # noqa: B008  # frozen, so one for all calls is right
) -> dict[str, Any]:
    """The body of a request. The request's settings win over `defaults`, and neither over the protocol's own fields."""
    body = {**defaults, **request.settings, "model": model, "messages": [_message(m) for m in request.messages]}
    body.pop("stream", None)
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.output is not None:
        body["response_format"] = _response_format(request.output)
    if stream:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body


def to_bytes(body: Mapping[str, Any]) -> bytes:
    """The JSON of a body. Raises ValueError, naming the place, for NaN and infinities."""
    try:
        return _json.encode(body).encode()
    except ValueError:
        places = ", ".join(f"request{place}" for place in non_finite(body))
        raise ValueError(f"NaN or infinity at {places or 'a key'}: JSON has neither; give a finite number") from None


def _message(message: ChatMessage) -> dict[str, Any]:
    content = message.content
    encoded: dict[str, Any] = {
        "role": message.role,
        "content": content if isinstance(content, str) else [_part(part) for part in content],
    }
    if message.tool_calls:
        encoded["content"] = content or None  # some servers refuse empty text beside tool calls
        encoded["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        encoded["tool_call_id"] = message.tool_call_id
    return encoded


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    return {"type": "image_url", "image_url": {"url": part.url}}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }


def _response_format(output: OutputSchema) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": output.name, "schema": output.schema, "strict": True}}


def decode(payload: object) -> Response:
    """The response in a parsed body. Raises BadModelResponse, or the error that the server reports in it."""
    if not isinstance(payload, dict):
        raise unexpected(payload, "a JSON object")
    choices = payload.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        if payload.get("error"):
            raise reported_error(payload)
        raise unexpected(payload, "a list of `choices` with one object in it")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise unexpected(choice, "a `message` object in the choice")
    calls = message.get("tool_calls")
    return response(
        text=text_of(message.get("content")),
        refusal=text_of(message.get("refusal")),
        tool_calls=_tool_calls(calls) if calls else (),
        finish_reason=choice.get("finish_reason"),
        usage=decode_usage(payload.get("usage")),
        model=payload.get("model"),
        id=payload.get("id"),
    )


def decode_bytes(body: bytes) -> Response:
    """The response in a body as it came. Raises BadModelResponse, or the error that the server reports in it."""
    return decode(parse(body))


def parse(body: bytes) -> object:
    try:
        payload: object = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise BadModelResponse(f"expected JSON, got {excerpt(body) or 'nothing'} ({error}). {ADVICE}") from None
    return payload


def unexpected(came: object, expected: str) -> BadModelResponse:
    return BadModelResponse(f"expected {expected}, got {type(came).__name__} {excerpt(came)}. {ADVICE}")


def response(
    *,
    text: str,
    refusal: str,
    tool_calls: tuple[ToolCall, ...],
    finish_reason: object,
    usage: Usage,
    model: object,
    id: object,
) -> Response:
    """Put a response together; a refusal is the text of an answer that was filtered."""
    reason = FINISH_REASONS.get(finish_reason, "stop") if isinstance(finish_reason, str) else "stop"
    if tool_calls and reason == "stop":
        reason = "tool_call"
    if refusal and not text:
        text, reason = refusal, "content_filter"
    return Response(
        ChatMessage("assistant", text, tool_calls),
        usage,
        reason,
        model if isinstance(model, str) else "",
        id if isinstance(id, str) else "",
    )


def text_of(content: object) -> str:
    """Text as text, or as a list of parts, of which only those of type text are shown to a user."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "".join(text_of(part.get("text")) for part in content if part.get("type") in ("text", None))
    raise unexpected(content, "text, null or a list of parts as `content`")


def _tool_calls(calls: object) -> tuple[ToolCall, ...]:
    if not isinstance(calls, list):
        raise unexpected(calls, "a list as `tool_calls`")
    return tuple(_tool_call(index, call) for index, call in enumerate(calls))


def _tool_call(index: int, call: object) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise unexpected(call, "a tool call with a `function` that has a `name`")
    return ToolCall(call_id(index, call.get("id")), name, arguments_of(function.get("arguments")))


def call_id(index: int, id: object) -> str:
    """The server's id, or one of ours where it gives none: a tool's answer needs something to refer to."""
    return id if isinstance(id, str) and id else f"call_{index}"


def arguments_of(arguments: object) -> str:
    """JSON text; some servers send the object itself."""
    if isinstance(arguments, str):
        return arguments
    if arguments is None:
        return ""
    if isinstance(arguments, dict):
        return json.dumps(arguments)
    raise unexpected(arguments, "JSON text as the `arguments` of a tool call")


def decode_usage(usage: object) -> Usage:
    if usage is None:
        return Usage()
    if not isinstance(usage, dict):
        raise unexpected(usage, "an object as `usage`")
    asked, answered = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return Usage(
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
        _count(asked, "cached_tokens") if asked else 0,
        _count(answered, "reasoning_tokens") if answered else 0,
    )


def _count(counts: object, name: str) -> int:
    count = counts.get(name) if isinstance(counts, dict) else counts
    if type(count) is int and count >= 0:
        return count
    if count is None:
        return 0
    if isinstance(count, float) and count >= 0 and count.is_integer():
        return int(count)
    raise unexpected(count, f"a count of tokens as `{name}`")
