"""A user's own `openai.AsyncOpenAI` as the way to the server."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from inspect import Parameter, signature
from typing import Any

from msgflow.errors import BadModelResponse, ModelTimeout, ModelUnreachable
from msgflow.messages import Response
from msgflow.models.status import reported_error, status_error
from msgflow.models.wire import decode


class SdkEndpoint:
    """Requests through `client.chat.completions.create`; its retries, timeouts and keys are the client's own."""

    def __init__(self, client: Any) -> None:
        self._create = client.chat.completions.create
        parameters = signature(self._create).parameters
        takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
        self._names = None if takes_all else frozenset(parameters)

    async def complete(self, body: dict[str, Any]) -> Response:
        with _translated():
            answer = await self._create(**self._arguments(body))
        return decode(_plain(answer))

    @asynccontextmanager
    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[AsyncIterator[object], None]:
        """The parsed chunks of an answer."""
        with _translated():
            chunks = await self._create(**self._arguments(body))
        try:
            async with aclosing(_chunks(chunks)) as plain:
                yield plain
        finally:
            if hasattr(chunks, "close"):
                await chunks.close()

    def _arguments(self, body: dict[str, Any]) -> dict[str, Any]:
        """What the client's method has a parameter for; the rest, such as a server's own settings, by `extra_body`."""
        if self._names is None:
            return body
        known = {name: value for name, value in body.items() if name in self._names}
        rest = {name: value for name, value in body.items() if name not in self._names}
        return {**known, "extra_body": rest} if rest else known


async def _chunks(chunks: AsyncIterator[Any]) -> AsyncGenerator[object, None]:
    with _translated():
        async for chunk in chunks:
            yield _plain(chunk)


def _plain(answer: Any) -> object:
    """The JSON value in an SDK object, which may hold fields that its types do not foresee."""
    if not hasattr(answer, "model_dump"):
        return answer
    from pydantic import BaseModel

    plain: object = answer.model_dump(warnings=False) if isinstance(answer, BaseModel) else answer.model_dump()
    return plain


@contextmanager
def _translated() -> Iterator[None]:
    """The errors of msgflow for those of the SDK; any other stays what it is."""
    try:
        yield
    except Exception as error:
        import openai

        if isinstance(error, openai.APIStatusError):
            raise status_error(error.status_code, error.response.headers, error.response.content) from error
        if isinstance(error, openai.APITimeoutError):
            raise ModelTimeout(f"no answer in time: {error} Raise the timeout of your openai client.") from error
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            raise ModelUnreachable(
                f"your openai client has no connection: {error} ({cause}). Is its base_url right, the server running?"
            ) from error
        if isinstance(error, openai.APIError):
            if isinstance(error.body, Mapping):
                raise reported_error({"error": error.body}) from error
            raise BadModelResponse(f"your openai client could not read the answer: {error}") from error
        raise
