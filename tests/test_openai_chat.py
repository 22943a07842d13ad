"""One model over three ways to a server: aiohttp, httpx, and a user's own SDK client."""

from contextlib import AsyncExitStack
from email.utils import formatdate
from time import time

import openai
import pytest
from aiohttp import web

from msgflow._frozen import FrozenDict, freeze
from msgflow.errors import BadModelResponse, ModelOverloaded, ModelRefused
from msgflow.messages import Finished, OutputSchema, Request, TextDelta, ToolSpec, Usage, user
from msgflow.models import AiohttpTransport, HttpxTransport, OpenAIChat
from tests.chat_server import HELLO, KEY, STREAM, answering, ask, serving, streaming


@pytest.fixture
async def serve():
    """Start a server of one handler; the base URL is what comes back."""
    async with AsyncExitStack() as servers:

        async def start(handler):
            return await servers.enter_async_context(serving(handler))

        yield start


@pytest.fixture(params=["aiohttp", "httpx", "sdk"])
async def connect(request):
    clients = []

    def make(url: str, **options) -> OpenAIChat:
        if request.param == "sdk":
            client = openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=5.0)
            clients.append(client)
            return OpenAIChat("m", client=client, **options)
        transport = AiohttpTransport() if request.param == "aiohttp" else HttpxTransport()
        return OpenAIChat("m", base_url=url, api_key=KEY, transport=transport, **options)

    yield make
    for client in clients:
        await client.close()


async def test_an_answer_is_a_response(serve, connect):
    handler = answering()
    model = connect(await serve(handler), temperature=0)
    response = await model.complete(HELLO)
    assert (response.text, response.usage, response.model, response.id) == ("hi", Usage(3, 1), "m-2026", "r1")
    headers, body = handler.requests[0]
    assert body == {"model": "m", "messages": [{"role": "user", "content": "hello"}], "temperature": 0}
    assert headers["Authorization"] == f"Bearer {KEY}" and headers["Content-Type"] == "application/json"


async def test_a_whole_request_arrives_as_it_was_meant(serve, connect):
    handler = answering()
    schema = freeze({"type": "object", "properties": {"a": {"type": "integer"}}})
    request = Request(
        (user("x"),), (ToolSpec("f", "does", schema),), OutputSchema("out", schema), FrozenDict(seed=7, top_k=3)
    )
    await connect(await serve(handler)).complete(request)
    body = handler.requests[0][1]
    assert body["tools"][0]["function"]["parameters"] == schema
    assert body["response_format"]["json_schema"]["strict"] is True
    assert (body["seed"], body["top_k"]) == (7, 3)


async def test_a_stream_is_text_and_then_the_response(serve, connect):
    events = [event async for event in connect(await serve(streaming)).stream(HELLO)]
    assert events[:-1] == [TextDelta("h"), TextDelta("i")]
    assert isinstance(events[-1], Finished)
    assert events[-1].response.text == "hi" and events[-1].response.usage == Usage(3, 1)


async def test_a_stream_may_be_left_early(serve, connect):
    model = connect(await serve(streaming))
    events = model.stream(HELLO)
    assert await anext(events) == TextDelta("h")
    await events.aclose()
    assert [event async for event in model.stream(HELLO)][-1].response.text == "hi"


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
@pytest.mark.parametrize("way", ["complete", "stream"])
async def test_a_server_that_is_busy_is_worth_another_try(serve, connect, status, way):
    handler = answering({"error": {"message": "try later"}}, status, {"Retry-After": "7"})
    with pytest.raises(ModelOverloaded, match=f"answered {status}: try later") as caught:
        await ask(connect(await serve(handler)), way)
    assert caught.value.retryable
    assert (caught.value.status, caught.value.retry_after_s, caught.value.model) == (status, 7.0, "openai/m")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "2", "retry-after-ms": "soon"}, 2.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
async def test_how_long_the_server_wants_to_be_left_alone(serve, connect, headers, seconds):
    with pytest.raises(ModelOverloaded) as caught:
        await connect(await serve(answering({}, 429, headers))).complete(HELLO)
    assert caught.value.retry_after_s == seconds


async def test_a_date_to_come_back_at(serve, connect):
    date = formatdate(time() + 100, usegmt=True)
    with pytest.raises(ModelOverloaded) as caught:
        await connect(await serve(answering({}, 503, {"Retry-After": date}))).complete(HELLO)
    assert 90 < caught.value.retry_after_s <= 100


@pytest.mark.parametrize(
    ("status", "payload", "names"),
    [
        (400, {"error": {"message": "no such setting: tempo"}}, "no such setting: tempo"),
        (400, {"error": "plain"}, "plain"),
        (400, {"detail": [{"message": "in a list"}]}, "in a list"),
        (400, [], "[]"),
        (400, {"unheard": "of"}, "unheard"),
        (400, 5, "5"),
        (404, {"error": {"message": "no model m"}}, "no model m (Is the model not found"),
        (413, {"message": "too long"}, "too long"),
        (422, {"object": "error", "message": {"detail": [{"msg": "extra"}]}}, "extra"),
    ],
)
@pytest.mark.parametrize("way", ["complete", "stream"])
async def test_a_request_that_is_refused_says_why(serve, connect, status, payload, names, way):
    with pytest.raises(ModelRefused) as caught:
        await ask(connect(await serve(answering(payload, status))), way)
    assert names in str(caught.value) and caught.value.status == status and not caught.value.retryable


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_names_its_variable_and_never_the_key(serve, monkeypatch, status):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", await serve(answering({"error": {"message": f"bad key {KEY}!"}}, status)))
    model = OpenAIChat("m")
    with pytest.raises(ModelRefused, match=r"bad key \*\*\*!.*OPENAI_API_KEY") as caught:
        await model.complete(HELLO)
    assert KEY not in str(caught.value) + repr(caught.value) + repr(model)


async def test_a_key_that_was_given_has_no_variable(serve, connect):
    with pytest.raises(ModelRefused, match="api_key="):
        await connect(await serve(answering({}, 401))).complete(HELLO)


async def test_secrets_in_headers_are_kept_out_of_errors(serve):
    url = await serve(answering({"error": "echo: abc-token-xyz for org-7"}, 400))
    model = OpenAIChat("m", base_url=url, headers={"X-Api-Key": "abc-token-xyz", "X-Org": "org-7", "X-Token": ""})
    with pytest.raises(ModelRefused, match=r"echo: \*\*\* for org-7"):
        await model.complete(HELLO)


@pytest.mark.parametrize("before", [*["." * dots for dots in range(270, 300, 5)], " " * 1185])
async def test_a_secret_that_is_cut_by_shortening_is_kept_out_too(serve, before):
    handler = answering({"error": before + KEY + "." * 100}, 400)
    with pytest.raises(ModelRefused) as caught:
        await OpenAIChat("m", base_url=await serve(handler), api_key=KEY).complete(HELLO)
    assert KEY[:4] not in str(caught.value)


async def test_a_placeholder_for_a_key_is_no_secret(serve):
    handler = answering({"error": "max is exceeded"}, 400)
    with pytest.raises(ModelRefused, match="max is exceeded"):
        await OpenAIChat("m", base_url=await serve(handler), api_key="x").complete(HELLO)


async def test_an_own_header_wins(serve):
    handler = answering()
    model = OpenAIChat("m", base_url=await serve(handler), headers={"User-Agent": "mine"})
    await model.complete(HELLO)
    assert handler.requests[0][0]["User-Agent"] == "mine"


@pytest.mark.parametrize(
    "options", [{"api_key": "line\nbreak"}, {"headers": {"X": "a\r\nEvil: b"}}, {"api_key": "k\u00e9y"}]
)
async def test_what_http_cannot_carry_is_refused_before_it_is_sent(options):
    with pytest.raises(ValueError, match="does not allow") as caught:
        await OpenAIChat("m", base_url="http://127.0.0.1:9/v1", **options).complete(HELLO)
    assert "line" not in str(caught.value)


async def test_long_words_of_a_server_are_shortened(serve, connect):
    with pytest.raises(ModelRefused) as caught:
        await connect(await serve(answering({"error": {"message": "x" * 100_000}}, 400))).complete(HELLO)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("way", ["complete", "stream"])
async def test_redirects_are_not_followed(serve, way):
    async def handler(request):
        raise web.HTTPTemporaryRedirect("https://elsewhere.example/v1")

    for transport in (AiohttpTransport(), HttpxTransport()):
        with pytest.raises(ModelRefused, match=r"307: it points to https://elsewhere\.example"):
            await ask(OpenAIChat("m", base_url=await serve(handler), transport=transport), way)


async def test_an_error_under_status_200_is_an_error(serve, connect):
    handler = answering({"error": {"message": "upstream is down", "code": 502}})
    with pytest.raises(ModelOverloaded, match="upstream is down"):
        await connect(await serve(handler)).complete(HELLO)


async def test_an_error_under_status_200_in_place_of_a_stream_is_an_error(serve, connect):
    """The SDK reads no events in it, and says no more."""
    handler = answering({"error": {"message": "upstream is down", "code": 502}})
    with pytest.raises((ModelOverloaded, BadModelResponse), match=r"upstream is down|empty or truncated"):
        await ask(connect(await serve(handler)), "stream")


async def test_an_error_in_the_middle_of_a_stream_is_an_error(serve, connect):
    async def handler(request):
        text = STREAM[:300] + b'\n\ndata: {"error": {"message": "lost it", "code": 500}}\n\n'
        return web.Response(body=text[text.index(b"data") :], content_type="text/event-stream")

    with pytest.raises(ModelOverloaded, match="lost it"):
        await ask(connect(await serve(handler)), "stream")


async def test_a_server_that_does_not_stream_is_read_at_once(serve):
    for transport in (AiohttpTransport(), HttpxTransport()):
        model = OpenAIChat("m", base_url=await serve(answering()), transport=transport)
        events = [event async for event in model.stream(HELLO)]
        assert events[0] == TextDelta("hi") and events[1].response.id == "r1"


async def test_an_answer_of_tool_calls_only_streams_no_text(serve):
    calls = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    handler = answering({"choices": [{"message": {"content": None, "tool_calls": calls}}]})
    events = [event async for event in OpenAIChat("m", base_url=await serve(handler)).stream(HELLO)]
    assert len(events) == 1 and events[0].response.tool_calls[0].name == "f"


async def test_a_connection_is_used_again_after_a_stream(serve):
    ports = set()

    async def handler(request):
        ports.add(request.transport.get_extra_info("peername"))
        return await streaming(request)

    model = OpenAIChat("m", base_url=await serve(handler), transport=AiohttpTransport())
    for _ in range(3):
        assert await ask(model, "stream") == "hi"
    assert len(ports) == 1


async def test_a_request_over_a_megabyte_is_sent_without_a_warning(serve, connect):
    handler = answering()
    await connect(await serve(handler)).complete(Request((user("x" * 3_000_000),)))
    assert len(handler.requests[0][1]["messages"][0]["content"]) == 3_000_000


async def test_cookies_are_not_kept(serve):
    handler = answering(headers={"Set-Cookie": "a=b"})
    model = OpenAIChat("m", base_url=await serve(handler))
    await model.complete(HELLO)
    await model.complete(HELLO)
    assert "Cookie" not in handler.requests[1][0]
