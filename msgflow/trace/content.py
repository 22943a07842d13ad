"""What was said, for spans: off unless asked for, because prompts and answers hold people's data."""

import json
import os
from collections.abc import Iterable
from typing import Any

from msgflow.messages import ChatMessage, ImagePart, Request, Response
from msgflow.trace import names

VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class _Choice:
    """What `configure(content=...)` said; None leaves it to the environment."""

    configured: bool | None = None


choice = _Choice()


def captured() -> bool:
    """Whether message content goes on spans: by `configure(content=...)`, else by the convention's variable."""
    if choice.configured is not None:
        return choice.configured
    return os.environ.get(VARIABLE, "").upper() in ("SPAN_ONLY", "SPAN_AND_EVENT", "TRUE")


def request_content(request: Request) -> dict[str, str]:
    """System instructions, other messages and tool definitions in the convention's JSON."""
    system = [message for message in request.messages if message.role == "system"]
    content = {names.INPUT_MESSAGES: _messages(message for message in request.messages if message.role != "system")}
    if system:
        content[names.SYSTEM_INSTRUCTIONS] = json.dumps([_text(message.text) for message in system])
    if request.tools:
        content[names.TOOL_DEFINITIONS] = json.dumps(
            [
                {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}
                for tool in request.tools
            ]
        )
    return content


def response_content(response: Response) -> dict[str, str]:
    message = {**_message(response.message), "finish_reason": response.finish_reason}
    return {names.OUTPUT_MESSAGES: json.dumps([message])}


def _messages(messages: Iterable[ChatMessage]) -> str:
    return json.dumps([_message(message) for message in messages])


def _message(message: ChatMessage) -> dict[str, Any]:
    if message.role == "tool":
        answer = {"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}
        return {"role": "tool", "parts": [answer]}
    parts: list[dict[str, Any]] = []
    if isinstance(message.content, str):
        parts += [_text(message.content)] if message.content else []
    else:
        parts += [_image(part) if isinstance(part, ImagePart) else _text(part.text) for part in message.content]
    parts += [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    ]
    return {"role": message.role, "parts": parts}


def _image(image: ImagePart) -> dict[str, str]:
    # The bytes of an inline image would swamp the backend; that there was one is worth knowing.
    uri = image.url.partition(",")[0] if image.url.startswith("data:") else image.url
    return {"type": "uri", "modality": "image", "uri": uri}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}
