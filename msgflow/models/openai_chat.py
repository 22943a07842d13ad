"""A model behind an OpenAI-compatible server: OpenAI itself, and nearly everybody else."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import anyio

from msgflow.errors import MissingKey, ModelError
from msgflow.messages import Finished, ModelEvent, Request, Response, TextDelta, as_settings
from msgflow.models.protocol import Profile
from msgflow.models.providers import Provider, provider_named
from msgflow.models.sdk import SdkEndpoint
from msgflow.models.status import status_error
from msgflow.models.transport import Incoming, Transport
from msgflow.models.transport_aiohttp import AiohttpTransport
from msgflow.models.wire import decode_bytes, encode, to_bytes
from msgflow.models.wire_stream import StreamDecoder

SECRET_HEADER = re.compile(r"key|auth|token|secret|cookie", re.IGNORECASE)
SHORTEST_SECRET = 4  # what is shorter is a placeholder such as "x", and part of many words
LAST_BYTES_S = 0.05

# One pool of connections for all models, so that agents that share a server share its connections.
_shared_transport = AiohttpTransport()


class OpenAIChat:
    """A model by the OpenAI chat completions protocol.

        OpenAIChat("gpt-4.1-mini")
        OpenAIChat("qwen3", base_url="http://127.0.0.1:8000/v1", temperature=0)
        OpenAIChat("gpt-4.1-mini", client=openai.AsyncOpenAI(...))

    What is not given comes from the provider's row in PROVIDERS; the key and address in the environment are looked up
    with the first request, so that modules can be built, inspected and saved where there are none. `timeout_s` is for
    a whole answer, and for each wait of a stream. Any other keyword is a setting, under those of each request. A
    `base_url` gets the provider's key, as with its own SDK, and is asked without one where there is none.

    A `client` brings its own address, key, timeouts and retries. Raises ModelError, MissingKey with the first request.
    """

    def __init__(
        self,
        model: str,
        *,
        provider: str = "openai",
        base_url: str | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        profile: Profile | None = None,
        timeout_s: float = 60.0,
        transport: Transport | None = None,
        client: Any = None,
        **defaults: Any,
    ) -> None:
        row = provider_named(provider) or Provider(name=provider, base_url=base_url or "")
        self.spec = f"{row.name}/{model}"
        self.provider = row.telemetry or row.name
        self.name = model
        self.profile = profile or row.profile
        self.settings = as_settings(defaults)
        self._row, self._base_url, self._api_key = row, base_url, api_key
        self._given_headers = dict(headers or {})
        self._transport = transport or _shared_transport
        self._timeout_s = _checked_timeout(timeout_s)
        self._target: tuple[str, dict[str, str]] | None = None
        self._sdk = SdkEndpoint(client) if client is not None else None
        if client is not None:
            _refuse_beside_client(base_url=base_url, api_key=api_key, headers=headers, transport=transport)
        elif base_url is not None or provider_named(provider) is None:
            _chat_url(self.spec, base_url or "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec!r})"

    async def complete(self, request: Request) -> Response:
        body = encode(request, self.name, defaults=self.settings, profile=self.profile)
        try:
            if self._sdk is not None:
                return await self._sdk.complete(body)
            url, headers = self._target or self._find_target()
            answer = await self._transport.post(url, headers, to_bytes(body), self._timeout_s)
            if not 200 <= answer.status < 300:
                raise status_error(*answer, self._key_variable())
            return decode_bytes(answer.body)
        except ModelError as error:
            self._sign(error)
            raise

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        body = encode(request, self.name, stream=True, defaults=self.settings, profile=self.profile)
        try:
            if self._sdk is not None:
                async with self._sdk.stream(body) as chunks, aclosing(_from_chunks(chunks)) as events:
                    async for event in events:
                        yield event
                return
            async with self._open(body) as incoming, aclosing(_from_bytes(incoming)) as events:
                async for event in events:
                    yield event
                with anyio.move_on_after(LAST_BYTES_S), suppress(ModelError):
                    await _read(incoming)  # a connection that was read to its end can be used again
        except ModelError as error:
            self._sign(error)
            raise

    @asynccontextmanager
    async def _open(self, body: dict[str, Any]) -> AsyncGenerator[Incoming, None]:
        url, headers = self._target or self._find_target()
        async with self._transport.stream(url, headers, to_bytes(body), self._timeout_s) as incoming:
            if not 200 <= incoming.status < 300:
                said = await _read(incoming)
                raise status_error(incoming.status, incoming.headers, said, self._key_variable())
            yield incoming

    def _find_target(self) -> tuple[str, dict[str, str]]:
        """URL and headers of all requests. Raises MissingKey."""
        key = self._api_key.strip() if self._api_key is not None else self._row.key()
        if not key and self._row.key_variable and self._base_url is None:
            raise MissingKey(self.spec, self._row.key_variable)
        headers = {"Content-Type": "application/json", "User-Agent": "msgflow"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        headers |= self._given_headers
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"the header {name} for {self.spec} holds characters that HTTP does not allow")
        self._target = _chat_url(self.spec, self._base_url or self._row.url()), headers
        return self._target

    def _key_variable(self) -> str | None:
        return self._row.key_variable if self._api_key is None else None

    def _sign(self, error: ModelError) -> None:
        """Say whose error it is, and take out what must not be in a log: a server may repeat what it was sent."""
        error.model = self.spec
        for name, value in (self._target[1] if self._target else {}).items():
            secret = value.removeprefix("Bearer ")
            if SECRET_HEADER.search(name) and len(secret) >= SHORTEST_SECRET:
                error.args = tuple(_without(secret, str(argument)) for argument in error.args)


def _without(secret: str, text: str) -> str:
    """A text without a secret, also where the text was shortened in the middle of it."""
    text = text.replace(secret, "***")
    for length in range(len(secret) - 1, SHORTEST_SECRET - 1, -1):
        text = text.replace(f"{secret[:length]}...", "***...")
    return text


def _checked_timeout(timeout_s: float) -> float:
    if not timeout_s > 0:
        raise ValueError(f"timeout_s is in seconds and above 0 (math.inf for no limit); got {timeout_s!r}")
    return timeout_s


def _refuse_beside_client(**given: object) -> None:
    both = [name for name, value in given.items() if value is not None]
    if both:
        raise TypeError(f"client= brings its own {', '.join(both)}; give them to the client instead")


def _chat_url(spec: str, base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{spec} needs a base_url such as http://127.0.0.1:8000/v1; got {base_url!r}")
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/chat/completions"))


async def _read(incoming: Incoming) -> bytes:
    return b"".join([chunk async for chunk in incoming.chunks])


async def _from_bytes(incoming: Incoming) -> AsyncGenerator[ModelEvent, None]:
    if incoming.headers.get("Content-Type", "").startswith("application/json"):
        # A server that does not stream answers at once.
        whole = decode_bytes(await _read(incoming))
        if whole.text:
            yield TextDelta(whole.text)
        yield Finished(whole)
        return
    decoder = StreamDecoder()
    async for received in incoming.chunks:
        for delta in decoder.feed(received):
            yield delta
        if decoder.done:
            break
    rest, whole = decoder.end()
    for delta in rest:
        yield delta
    yield Finished(whole)


async def _from_chunks(chunks: AsyncIterator[object]) -> AsyncGenerator[ModelEvent, None]:
    decoder = StreamDecoder()
    async for chunk in chunks:
        text = decoder.add(chunk)
        if text:
            yield TextDelta(text)
    yield Finished(decoder.end()[1])
