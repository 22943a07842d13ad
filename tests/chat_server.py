"""A server of the chat completions protocol for tests, and one question to ask it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import test_utils, web

from msgflow.messages import Request, TextDelta, user

HELLO = Request((user("hello"),))
KEY = "sk-very-secret-0123456789"
ANSWER = {
    "id": "r1",
    "model": "m-2026",
    "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
CHUNKS = [
    {"id": "r1", "model": "m-2026", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"id": "r1", "model": "m-2026", "choices": [{"index": 0, "delta": {"content": "h"}}]},
    {"id": "r1", "model": "m-2026", "choices": [{"index": 0, "delta": {"content": "i"}}]},
    {"id": "r1", "model": "m-2026", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"id": "r1", "model": "m-2026", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
]
STREAM = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in CHUNKS) + b"data: [DONE]\n\n"


@asynccontextmanager
async def serving(handler) -> AsyncIterator[str]:
    """A server of one handler; the base URL is what comes back."""
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", handler)
    async with test_utils.TestServer(app) as server:
        yield str(server.make_url("/v1"))


def answering(payload=ANSWER, status=200, headers=None):
    async def handler(request):
        handler.requests.append((request.headers, await request.json()))
        return web.json_response(payload, status=status, headers=headers)

    handler.requests = []
    return handler


async def streaming(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for at in range(0, len(STREAM), 50):
        await response.write(STREAM[at : at + 50])
    return response


async def ask(model, way):
    if way == "complete":
        return (await model.complete(HELLO)).text
    return "".join([event.text async for event in model.stream(HELLO) if isinstance(event, TextDelta)])
