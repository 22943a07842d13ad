"""The default transport: aiohttp, one pool of connections per event loop."""

import math
import socket
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from msgflow._loop_local import LoopLocal
from msgflow.errors import BadModelResponse, ModelError
from msgflow.models.transport import Answer, Incoming, address, timed_out, unreachable

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession, ClientTimeout

LARGE = 2**20

# What the request of this context opened: nothing, if it was given a connection that had been used before.
_opened: ContextVar[list[socket.socket]] = ContextVar("msgflow_opened_sockets")


class AiohttpTransport:
    """POST over aiohttp; `options` go to aiohttp.ClientSession, `trust_env=True` for example.

    The number of connections is not limited: whoever makes the calls limits how many run at once.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._session = LoopLocal(self._open)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __deepcopy__(self, memo: object) -> "AiohttpTransport":
        return self

    def _open(self) -> AbstractAsyncContextManager["ClientSession"]:
        import aiohttp

        options = {
            "connector": aiohttp.TCPConnector(limit=0, socket_factory=_new_socket),
            "cookie_jar": aiohttp.DummyCookieJar(),
            **self._options,
        }
        return aiohttp.ClientSession(**options)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        try:
            response = await self._send(url, headers, body, _whole(timeout_s))
            # No `async with` around it: read() gives the connection back, or closes it where it fails.
            return Answer(response.status, response.headers, await response.read())
        except Exception as error:
            ours = _ours(error, url, timeout_s)
            if ours is None:
                raise
            raise ours from error

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> AsyncGenerator[Incoming, None]:
        with _translated(url, timeout_s):
            response = await self._send(url, headers, body, _each_wait(timeout_s))
        async with response, aclosing(_chunks(response, url, timeout_s)) as chunks:
            yield Incoming(response.status, response.headers, chunks)

    async def _send(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout: "ClientTimeout"
    ) -> "ClientResponse":
        """Send, once more where a used connection turns out to have been closed by the server in the meantime."""
        session = await self._session.get()
        opened: list[socket.socket] = []
        token = _opened.set(opened)
        options: Any = {"headers": headers, "timeout": timeout, "allow_redirects": False}
        try:
            return await session.post(url, data=_data(body), **options)
        except Exception as error:
            if opened or not _was_dropped(error):
                raise
            return await session.post(url, data=_data(body), **options)
        finally:
            _opened.reset(token)


def _data(body: bytes) -> bytes | BytesIO:
    """Large bytes as a file, which aiohttp sends piece by piece; it warns about copying them while holding the loop."""
    return body if len(body) <= LARGE else BytesIO(body)


def _new_socket(info: tuple[Any, ...]) -> socket.socket:
    opened = socket.socket(*info[:3])
    _opened.get().append(opened)
    return opened


def _was_dropped(error: Exception) -> bool:
    """Whether a connection ended before the first byte of an answer."""
    import aiohttp

    if isinstance(error, aiohttp.ServerDisconnectedError):
        return isinstance(error.message, str)  # else it is the half of an answer's head
    return isinstance(error, aiohttp.ClientOSError) and not isinstance(error, aiohttp.ClientConnectorError)


@lru_cache(maxsize=64)
def _whole(timeout_s: float) -> "ClientTimeout":
    import aiohttp

    return aiohttp.ClientTimeout(total=_finite(timeout_s))


@lru_cache(maxsize=64)
def _each_wait(timeout_s: float) -> "ClientTimeout":
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=_finite(timeout_s), sock_read=_finite(timeout_s))


def _finite(timeout_s: float) -> float | None:
    return None if timeout_s == math.inf else timeout_s


async def _chunks(response: "ClientResponse", url: str, timeout_s: float) -> AsyncGenerator[bytes, None]:
    with _translated(url, timeout_s):
        async for chunk in response.content.iter_any():
            yield chunk


@contextmanager
def _translated(url: str, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        ours = _ours(error, url, timeout_s)
        if ours is None:
            raise
        raise ours from error


def _ours(error: Exception, url: str, timeout_s: float) -> ModelError | None:
    """The error of msgflow for one of aiohttp; None for any other, which stays what it is."""
    import aiohttp

    if isinstance(error, TimeoutError):
        return timed_out(url, timeout_s)
    if isinstance(error, aiohttp.ClientResponseError):
        return BadModelResponse(
            f"{address(url)} answered with something that is not HTTP ({error.message}). Is base_url right?"
        )
    if isinstance(error, aiohttp.ClientError | OSError):
        return unreachable(url, error)
    return None
