"""The second transport: httpx, for proxies, mocks and whatever else an httpx.AsyncClient can do."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio

from msgflow._loop_local import LoopLocal
from msgflow.errors import BadModelResponse
from msgflow.models.transport import Answer, Incoming, address, timed_out, unreachable

if TYPE_CHECKING:
    from httpx import AsyncClient, Response


class HttpxTransport:
    """POST over httpx: with your own `client`, which stays open, or with one per event loop made from `options`.

    HttpxTransport(proxy="http://proxy:3128")
    HttpxTransport(httpx.AsyncClient(transport=httpx.MockTransport(answer)))
    """

    def __init__(self, client: "AsyncClient | None" = None, **options: Any) -> None:
        if client is not None and options:
            raise TypeError(f"a client of your own has its options already; got {', '.join(options)} as well")
        self._client = client
        self._options = options
        self._opened = LoopLocal(self._open)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __deepcopy__(self, memo: object) -> "HttpxTransport":
        return self

    def _open(self) -> AbstractAsyncContextManager["AsyncClient"]:
        import httpx

        unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        return httpx.AsyncClient(**{"limits": unlimited, **self._options})

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        with _translated(url, timeout_s), anyio.fail_after(timeout_s):
            response = await self._send(url, headers, body, timeout_s)
            async with aclosing(response):
                return Answer(response.status_code, response.headers, await response.aread())

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> AsyncGenerator[Incoming, None]:
        with _translated(url, timeout_s):
            response = await self._send(url, headers, body, timeout_s)
        async with aclosing(response), aclosing(_chunks(response, url, timeout_s)) as chunks:
            yield Incoming(response.status_code, response.headers, chunks)

    async def _send(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> "Response":
        """Send, once more where a used connection turns out to have been closed by the server in the meantime."""
        import httpx

        client = self._client or await self._opened.get()
        seen: list[str] = []

        async def trace(event: str, info: object) -> None:
            seen.append(event)

        request = client.build_request(
            "POST", url, headers=headers, content=body, timeout=timeout_s, extensions={"trace": trace}
        )
        try:
            return await client.send(request, stream=True, follow_redirects=False)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
            if not _was_dropped(seen, error):
                raise
        return await client.send(request, stream=True, follow_redirects=False)


def _was_dropped(seen: list[str], error: Exception) -> bool:
    """Whether a connection that had been used before ended before the first byte of an answer."""
    import httpx

    if not seen or "connection.connect_tcp.started" in seen:
        return False
    return "disconnected" in str(error) or not isinstance(error, httpx.RemoteProtocolError)


async def _chunks(response: "Response", url: str, timeout_s: float) -> AsyncGenerator[bytes, None]:
    with _translated(url, timeout_s):
        async for chunk in response.aiter_bytes():
            yield chunk


@contextmanager
def _translated(url: str, timeout_s: float) -> Iterator[None]:
    """The errors of msgflow for those of httpx; any other stays what it is."""
    import httpx

    try:
        yield
    except (TimeoutError, httpx.TimeoutException) as error:
        raise timed_out(url, timeout_s) from error
    except httpx.DecodingError as error:
        raise BadModelResponse(f"{address(url)} sent a damaged body: {error}. Is base_url right?") from error
    except httpx.RemoteProtocolError as error:
        if "disconnected" in str(error) or "peer closed" in str(error):
            raise unreachable(url, error) from error
        raise BadModelResponse(
            f"{address(url)} answered with something that is not HTTP ({error}). Is base_url right?"
        ) from error
    except (httpx.TransportError, OSError) as error:
        raise unreachable(url, error) from error
