"""How bytes get to a server and back: one small protocol, a file for each library that does it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from msgflow.errors import ModelTimeout, ModelUnreachable


class Answer(NamedTuple):
    """A complete answer, whatever its status; names in `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Incoming(NamedTuple):
    """An answer whose body is still on its way; `chunks` are cut anywhere."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """POST, at once or streamed.

    Both raise ModelUnreachable, ModelTimeout, and BadModelResponse where the answer is not HTTP; a status is no error
    here. Redirects are not followed. `timeout_s` is for the whole of a `post`, and for each wait of a `stream`.
    """

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer: ...

    def stream(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> AbstractAsyncContextManager[Incoming]: ...


def address(url: str) -> str:
    """host:port, without the parts of a URL that may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def unreachable(url: str, cause: BaseException) -> ModelUnreachable:
    """No connection to a server, or one that broke."""
    detail = str(cause) or type(cause).__name__
    error = ModelUnreachable(
        f"no complete answer from {address(url)}: {detail}. Is the server running, and base_url right? "
        "Behind a proxy, give transport=HttpxTransport(proxy=...)."
    )
    # A certificate does not get better by asking again.
    error.retryable = "CERTIFICATE_VERIFY_FAILED" not in detail
    return error


def timed_out(url: str, timeout_s: float) -> ModelTimeout:
    return ModelTimeout(
        f"{address(url)} gave no answer within {timeout_s:g} s. Raise timeout_s= if the model needs longer."
    )
