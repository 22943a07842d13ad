"""A server that says exactly the bytes that a test wants said."""

import asyncio
import json
from contextlib import asynccontextmanager

BODY = json.dumps({"choices": [{"message": {"content": "hi"}}]}).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
ANSWER = OK % (len(BODY), BODY)
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
HALF = b'data: {"choices":[{"delta":{"content":"ha"}}]}\n\n'


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def serving(talk, **options):
    """A server that does with each connection what `talk(read_request, writer)` does."""
    tasks, writers = set(), []

    async def connected(reader, writer):
        tasks.add(asyncio.current_task())
        writers.append(writer)

        async def read_request():
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)

        try:
            await talk(read_request, writer)
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        # Connections that were just accepted get their task; a server that is closed before leaves their sockets open.
        await asyncio.sleep(0.01)
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def saying(*pieces: bytes):
    async def talk(read_request, writer):
        await read_request()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return talk
