"""What goes to a model and what comes back: frozen values, equal by content.

A model is a function from Request to Response (`models/protocol.py`); these are its two types and their parts.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from msgflow._frozen import FrozenDict, freeze

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
FinishReason: TypeAlias = Literal["stop", "length", "tool_call", "content_filter", "error"]

NOTHING: FrozenDict = FrozenDict()


@dataclass(frozen=True, slots=True)
class TextPart:
    """Text inside a message that also holds other parts."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image by its URL: `https:`, or `data:` with the bytes in it."""

    url: str

    @classmethod
    def from_file(cls, path: str | Path) -> "ImagePart":
        """Read a file; the media type is taken from the suffix. Raises OSError or ValueError."""
        import mimetypes

        media_type = mimetypes.guess_type(str(path))[0]
        if media_type is None or not media_type.startswith("image/"):
            raise ValueError(f"{path} has no image suffix such as .png or .jpg")
        return cls(f"data:{media_type};base64,{base64.b64encode(Path(path).read_bytes()).decode()}")


Part: TypeAlias = TextPart | ImagePart


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to run a tool. `arguments` is the JSON text as the model wrote it, unparsed."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation. `tool_call_id` ties a tool's answer to its call."""

    role: Role
    content: str | tuple[Part, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The text of all text parts, joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it. `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: FrozenDict


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """The JSON Schema that an answer must follow; `name` is shown to the model."""

    name: str
    schema: FrozenDict


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model. Hashable: two equal requests are one key of a cache.

    `settings` are the provider's own: temperature, max_tokens, seed, ... A setting that is absent is the
    provider's default.
    """

    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    output: OutputSchema | None = None
    settings: FrozenDict = NOTHING


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens spent; counts of tokens, never of characters.

    `cached_input` is part of `input`, `reasoning` is part of `output`.
    """

    input: int = 0
    output: int = 0
    cached_input: int = 0
    reasoning: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cached_input + other.cached_input,
            self.reasoning + other.reasoning,
        )


@dataclass(frozen=True, slots=True)
class Response:
    """A model's complete answer. `model` and `id` are what the server reported, empty where it did not."""

    message: ChatMessage
    usage: Usage = field(default_factory=Usage)
    finish_reason: FinishReason = "stop"
    model: str = ""
    id: str = ""

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.message.tool_calls


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of text as it arrives."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """An agent begins to run a tool."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool's answer, as the model will read it."""

    call: ToolCall
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a model's stream: the whole response, put together."""

    response: Response


ModelEvent: TypeAlias = TextDelta | Finished


def system(text: str) -> ChatMessage:
    return ChatMessage("system", text)


def user(content: str | tuple[Part, ...]) -> ChatMessage:
    return ChatMessage("user", content)


def assistant(text: str, *tool_calls: ToolCall) -> ChatMessage:
    return ChatMessage("assistant", text, tool_calls)


def tool_answer(call: ToolCall, text: str) -> ChatMessage:
    return ChatMessage("tool", text, tool_call_id=call.id)


def as_settings(values: Mapping[str, Any]) -> FrozenDict:
    """Settings without the ones that are None: None is the provider's default and nothing else."""
    frozen: FrozenDict = freeze({name: value for name, value in values.items() if value is not None}, "settings")
    return frozen
