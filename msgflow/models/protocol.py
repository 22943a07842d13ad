"""What a model is: one small protocol, so that a model that wraps a model is a model."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from msgflow.messages import ModelEvent, Request, Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a server understands by itself.

    `native_tools`: it takes `tools` and answers with tool calls. `json_schema`: it holds an answer to the schema in
    `response_format`. `stream_usage`: it takes `stream_options`; others are refused over it, or report usage anyway.
    """

    native_tools: bool = True
    json_schema: bool = True
    stream_usage: bool = True


@runtime_checkable
class Model(Protocol):
    """A function from Request to Response, at once or as events.

    `spec` is "provider/model", as `chat` takes it; `provider` is the value of gen_ai.provider.name; `name` is the
    model's name on the wire.
    """

    @property
    def spec(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def profile(self) -> Profile: ...

    async def complete(self, request: Request) -> Response:
        """The whole answer. Raises ModelError."""
        ...

    def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        """The answer as it arrives: an async generator of TextDelta, then exactly one Finished. Raises ModelError."""
        ...
