"""Connections that are used again, and closed in the meantime."""

import asyncio
import socket

import pytest

from msgflow.errors import ModelUnreachable
from msgflow.messages import Request, TextDelta, user
from msgflow.models import AiohttpTransport, HttpxTransport, OpenAIChat
from tests.raw_server import ANSWER, serving

HELLO = Request((user("hello"),))


@pytest.fixture(params=[AiohttpTransport, HttpxTransport])
def transport(request):
    return request.param()


@pytest.fixture(params=["complete", "stream"])
def ask(request, transport):
    async def ask(port, timeout_s=5.0, scheme="http"):
        url = f"{scheme}://127.0.0.1:{port}/v1"
        model = OpenAIChat("m", base_url=url, transport=transport, timeout_s=timeout_s)
        if request.param == "complete":
            return (await model.complete(HELLO)).text
        return "".join([event.text async for event in model.stream(HELLO) if isinstance(event, TextDelta)])

    return ask


async def test_a_connection_that_was_closed_while_idle_is_no_error(ask):
    """The server closes when the second request comes, so that no client can know before it sends."""
    connections = []

    async def talk(read_request, writer):
        connections.append(writer)
        await read_request()
        writer.write(ANSWER)
        await writer.drain()
        await read_request()
        if len(connections) > 1:
            writer.write(ANSWER)

    async with serving(talk) as port:
        assert await ask(port) == "hi"
        assert await ask(port) == "hi"
    assert len(connections) == 2


async def test_a_connection_that_is_reset_with_the_request_is_no_error(ask):
    connections = []

    async def talk(read_request, writer):
        connections.append(writer)
        await read_request()
        writer.write(ANSWER)
        await writer.drain()
        await read_request()
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # on, for no time: close with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with serving(talk) as port:
        assert await ask(port) == "hi"
        assert await ask(port) == "hi"
    assert len(connections) == 2


async def test_many_connections_that_were_closed_while_idle_are_no_error(ask):
    served = []

    async def talk(read_request, writer):
        await read_request()
        served.append(1)
        await asyncio.sleep(0.05)
        writer.write(ANSWER)
        await writer.drain()
        if len(served) > 8:
            await asyncio.sleep(60)

    async with serving(talk) as port:
        assert await asyncio.gather(*[ask(port) for _ in range(8)]) == ["hi"] * 8
        assert await asyncio.gather(*[ask(port) for _ in range(8)]) == ["hi"] * 8


async def test_a_new_connection_that_is_closed_is_not_tried_twice(ask):
    connections = []

    async def talk(read_request, writer):
        connections.append(writer)
        await read_request()

    async with serving(talk) as port:
        with pytest.raises(ModelUnreachable):
            await ask(port)
    assert len(connections) == 1


async def test_a_used_connection_that_breaks_after_half_an_answer_is_not_tried_twice(ask):
    requests = []

    async def talk(read_request, writer):
        for answer in (ANSWER, ANSWER[:-5]):
            await read_request()
            requests.append(answer)
            writer.write(answer)
            await writer.drain()

    async with serving(talk) as port:
        assert await ask(port) == "hi"
        with pytest.raises(ModelUnreachable):
            await ask(port)
    assert len(requests) == 2


async def test_half_a_head_on_a_used_connection_is_not_tried_twice():
    """Seen by aiohttp only: httpx does not say whether any byte came."""
    requests = []

    async def talk(read_request, writer):
        for answer in (ANSWER, ANSWER[:60]):
            await read_request()
            requests.append(answer)
            writer.write(answer)
            await writer.drain()

    async with serving(talk) as port:
        model = OpenAIChat("m", base_url=f"http://127.0.0.1:{port}/v1", transport=AiohttpTransport())
        await model.complete(HELLO)
        with pytest.raises(ModelUnreachable):
            await model.complete(HELLO)
    assert len(requests) == 2
