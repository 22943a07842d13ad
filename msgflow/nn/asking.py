"""One question to a model, in its span: what Agent and Predictor share."""

import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

from msgflow.errors import BadModelResponse
from msgflow.messages import Finished, OutputSchema, Request, Response, TextDelta, Usage
from msgflow.nn.prompt import prompt_version
from msgflow.schema import OutputType
from msgflow.trace import Recording, captured, names, request_content, response_content, tracer

if TYPE_CHECKING:
    from msgflow.models.protocol import Model

Emit: TypeAlias = Callable[[Any], Awaitable[None]]


async def ask(model: "Model", request: Request, prompt_name: str, prompt: str, emit: Emit | None = None) -> Response:
    """Complete a request, or stream it where `emit` wants the pieces. `prompt` is the wording before rendering."""
    active = tracer()
    if active is None:
        return await _answer(model, request, emit)
    start: dict[str, Any] = {
        names.OPERATION: "chat",
        names.PROVIDER: model.provider,
        names.REQUEST_MODEL: model.name,
        names.OUTPUT_TYPE: "text" if request.output is None else "json",
        names.PROMPT_NAME: prompt_name,
        names.PROMPT_VERSION: prompt_version(prompt),
    }
    if emit is not None:
        start[names.REQUEST_STREAM] = True
    for setting, value in request.settings.items():
        if setting in names.SETTINGS:
            start[names.SETTINGS[setting]] = value
    with Recording(active, f"chat {model.name}", start, client=True) as span:
        if span.is_recording() and captured():
            span.set_attributes(request_content(request))
        response = await _answer(model, request, emit)
        if span.is_recording():
            span.set_attributes(_description(response))
        return response


async def _answer(model: "Model", request: Request, emit: Emit | None) -> Response:
    if emit is None:
        return await model.complete(request)
    async with aclosing(_generator(model.stream(request))) as events:
        async for event in events:
            if isinstance(event, Finished):
                return event.response
            if isinstance(event, TextDelta):
                await emit(event)
    raise BadModelResponse(f"the stream of {model.spec} ended without a response; expected Finished as its last event")


def _generator(events: Any) -> Any:
    """Any async iterator, with `aclose`."""
    return events if hasattr(events, "aclose") else _iterated(events)


async def _iterated(events: Any) -> Any:
    async for event in events:
        yield event


def _description(response: Response) -> dict[str, Any]:
    facts = {names.FINISH_REASONS: (response.finish_reason,), **usage_attributes(response.usage)}
    if response.model:
        facts[names.RESPONSE_MODEL] = response.model
    if response.id:
        facts[names.RESPONSE_ID] = response.id
    return {**facts, **response_content(response)} if captured() else facts


def usage_attributes(usage: Usage) -> dict[str, Any]:
    spent = {names.INPUT_TOKENS: usage.input, names.OUTPUT_TOKENS: usage.output}
    if usage.cached_input:
        spent[names.CACHED_TOKENS] = usage.cached_input
    if usage.reasoning:
        spent[names.REASONING_TOKENS] = usage.reasoning
    return spent


def output_schema(output: OutputType) -> OutputSchema | None:
    """What a request says of the answer; None for text."""
    return None if output.schema is None else OutputSchema(output.name, output.schema)


def as_text(value: Any) -> str:
    """A tool's or step's result as a model reads it: text as it is, everything else as JSON or, failing that, `str`."""
    if isinstance(value, str):
        return str.__str__(value)  # of an Enum of text its value
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return to_json(value, fallback=str, inf_nan_mode="strings").decode()
    except PydanticSerializationError:  # bytes that are no text, half a surrogate pair, a list inside of itself
        return str(value)
