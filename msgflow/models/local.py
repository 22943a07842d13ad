"""The embedded model: llama.cpp inside this process, spoken to like any other server.

It listens on loopback, on a port that the system chooses, and answers only to a key that is made anew with each start.
"""

import atexit
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from msgflow._bridge import excuse, in_thread
from msgflow._once import once
from msgflow.errors import ModelError, ModelFileError, ModelRefused, ModelUnreachable, UnknownModel
from msgflow.messages import ModelEvent, Request, Response, as_settings
from msgflow.models.openai_chat import OpenAIChat
from msgflow.models.protocol import Profile
from msgflow.models.transport_aiohttp import AiohttpTransport
from msgflow.models.weights import WEIGHTS, ready

if TYPE_CHECKING:
    from aiohttp import ClientSession

CONTEXT = 4096  # tokens, shared out evenly among the calls that run at once
PARALLEL = 2
HTTP_THREADS = 64  # one for each call that is being answered or waits for its turn
PROMPT_CACHE_MIB = 256
# Half of the cores, and few: llama.cpp's threads wait for each other by spinning. With one for each core, a machine
# that is busy otherwise makes a model of this size thirty times slower (2 instead of 60 tokens/s on two cores).
THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))
QUEUED_S = 600.0
HANG_UP_S = 1.0
STARTS = 3

DEFAULTS: dict[str, Any] = {"temperature": 0, "max_tokens": 512}
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")
TOO_LONG = re.compile(r"\((\d+) tokens\) exceeds the available context size \((\d+) tokens\)")


class LocalChat:
    """A model that runs in this process: `LocalChat("smollm2")`, no key and, once its weights are there, no network.

    The weights are fetched and the server is started with the first request; all objects of one name share a server.
    Where a request does not say otherwise the temperature is 0, so that answers repeat, and an answer has at most 512
    tokens. Raises UnknownModel; with a request ModelFileError, ModelRefused for a prompt that is too long, and
    ModelError where the package xllamacpp is missing.
    """

    # The engine, as for a llama.cpp server of one's own; the semantic conventions have no name for it yet.
    provider = "llamacpp"
    profile = Profile(native_tools=False)

    def __init__(self, name: str) -> None:
        known = [f"local/{weights.name}" for weights in WEIGHTS.values() if weights.task == "chat"]
        self.spec = f"local/{name}"
        self.name = name
        if self.spec not in known:
            raise UnknownModel(self.spec, known)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def complete(self, request: Request) -> Response:
        request = _bounded(request)
        for _ in range(STARTS):
            server = await self._server()
            try:
                with _explained(self.spec):
                    return await server.chat.complete(request)
            except ModelUnreachable:
                if server.is_running:
                    raise
        raise _stopped(self.spec)

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        request = _bounded(request)
        for _ in range(STARTS):
            server = await self._server()
            begun = False
            try:
                with _explained(self.spec):
                    async with aclosing(server.chat.stream(request)) as events:  # type: ignore[type-var]  # a generator
                        async for event in events:
                            begun = True
                            yield event
                return
            except ModelUnreachable:
                # What was read cannot be taken back, so an answer that has begun is not asked for again.
                if begun or server.is_running:
                    raise
        raise _stopped(self.spec)

    async def _server(self) -> "_Server":
        running = _servers.running.get(self.name)
        return running if running is not None else await in_thread(_servers.start, self.name)


def _bounded(request: Request) -> Request:
    defaults = dict(DEFAULTS)
    if any(request.settings.get(limit) is not None for limit in TOKEN_LIMITS):
        del defaults["max_tokens"]
    return replace(request, settings=as_settings({**defaults, **request.settings}))


@contextmanager
def _explained(spec: str) -> Iterator[None]:
    """Say about a prompt that is too long what can be done about it."""
    try:
        yield
    except ModelRefused as error:
        counts = TOO_LONG.search(str(error))
        if counts is None:
            raise
        raise ModelRefused(
            f"the prompt is too long: it has {counts[1]} tokens, and {spec} has room for {counts[2]}, its answer "
            "included. Shorten the prompt or the conversation, or give fewer documents.",
            status=error.status,
            model=spec,
        ) from error


def _stopped(spec: str) -> ModelUnreachable:
    return ModelUnreachable(f"the server of {spec} was stopped {STARTS} times before it could answer", model=spec)


# --- the server ----------------------------------------------------------------------------------------------------


class _Loopback(AiohttpTransport):
    """A transport whose connections can be ended from any thread, whatever their event loops are doing."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._is_hung_up = False

    def _open(self) -> AbstractAsyncContextManager["ClientSession"]:
        import aiohttp

        # A connection a call: after a stream llama.cpp drops it without a word, and the next call would fail.
        connector = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=self._new_socket)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    def _new_socket(self, info: tuple[Any, ...]) -> socket.socket:
        if self._is_hung_up:
            raise ConnectionRefusedError("the server is being stopped")
        opened = socket.socket(*info[:3])
        self._sockets.add(opened)
        return opened

    def hang_up(self) -> bool:
        """End all connections and allow no new ones; True once their readers have closed them, too."""
        self._is_hung_up = True
        still_open = [opened for opened in list(self._sockets) if opened.fileno() != -1]
        for opened in still_open:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        return not still_open


class _Server:
    """A llama.cpp server and the client for it."""

    def __init__(self, name: str, engine: Any, key: str) -> None:
        self._engine = engine
        self._transport = _Loopback()
        self.chat = OpenAIChat(
            name,
            provider="local",
            base_url=f"{engine.listening_address}/v1",
            api_key=key,
            profile=LocalChat.profile,
            transport=self._transport,
            timeout_s=QUEUED_S,
        )

    @property
    def is_running(self) -> bool:
        return self._engine is not None

    def stop(self) -> None:
        """End the server, its threads and its port; calls that run raise ModelUnreachable. Takes up to a second."""
        engine, self._engine = self._engine, None
        # Deleting the engine holds the interpreter's lock while it waits for its connections to end. One that is only
        # being opened cannot be shut down yet, and its reader would need that lock: so until all are closed others run.
        # Readers on this very thread cannot; theirs are shut down, and the server sees that by itself.
        deadline = time.monotonic() + HANG_UP_S
        while not self._transport.hang_up() and time.monotonic() < deadline:
            time.sleep(0.005)
        del engine


class _Start(NamedTuple):
    """What is done once: after a stop the count is another one."""

    name: str
    stops: int


class _Servers:
    """The servers of this process, by model."""

    def __init__(self) -> None:
        self.running: dict[str, _Server] = {}
        self._stops = 0
        self._closed = False

    def start(self, name: str) -> _Server:
        """Start the server of a model unless it runs; blocks. Raises ModelError."""
        return _start_once(_Start(name, self._stops))

    def launch(self, name: str) -> _Server:
        if self._closed:
            raise ModelUnreachable(f"local/{name} was asked while Python is shutting down", model=f"local/{name}")
        key = secrets.token_urlsafe(32)
        server = self.running[name] = _Server(name, _engine(name, key), key)
        excuse()  # loading the weights holds the interpreter's lock: no forward was to blame
        return server

    def stop(self) -> None:
        self._stops += 1
        while self.running:
            self.running.popitem()[1].stop()

    def close(self) -> None:
        self._closed = True
        self.stop()


_servers = _Servers()


@once
def _start_once(start: _Start) -> _Server:
    return _servers.launch(start.name)


# The threads of llama.cpp do not survive a fork, and a child could neither use nor end a server without them. So it is
# stopped first, and parent and child start their own when they need one; calls that run are asked again.
os.register_at_fork(before=_servers.stop)
atexit.register(_servers.close)


def _engine(name: str, key: str) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelError(
            f"local/{name} runs on the package xllamacpp, which is not installed: pip install 'msgflow[local]'",
            model=f"local/{name}",
        ) from error
    path = ready(name, say=lambda line: print(line, file=sys.stderr))
    try:
        return xllamacpp.Server(_params(xllamacpp.CommonParams(), name, path, key))
    except RuntimeError as error:
        raise ModelFileError(
            f"llama.cpp could not load {path}: {error} The file is as it should be; is there enough memory "
            f"({path.stat().st_size / 1e6:.0f} MB and more), and is xllamacpp up to date?",
            model=f"local/{name}",
        ) from error


def _params(params: Any, name: str, path: Path, key: str) -> Any:
    params.model.path = str(path)
    params.model_alias = {name}
    params.n_ctx = CONTEXT
    params.n_parallel = PARALLEL
    params.port = 0
    params.api_keys = [key]
    params.verbosity = -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.n_threads_http = HTTP_THREADS
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.ui = False
    params.endpoint_slots = False  # it would show one user's prompt to another
    return params
