"""What a model behind a server is given: options, transports, and a user's own clients."""

import copy
from contextlib import AsyncExitStack

import httpx
import openai
import pytest
from aiohttp import web

from msgflow.errors import BadModelResponse, ModelOverloaded, ModelRefused, ModelTimeout, ModelUnreachable
from msgflow.models import AiohttpTransport, HttpxTransport, Model, OpenAIChat
from tests.chat_server import ANSWER, CHUNKS, HELLO, KEY, answering, ask, serving


@pytest.fixture
async def serve():
    """Start a server of one handler; the base URL is what comes back."""
    async with AsyncExitStack() as servers:

        async def start(handler):
            return await servers.enter_async_context(serving(handler))

        yield start


# --- what is given


def test_it_is_a_model_that_shows_nothing_secret():
    model = OpenAIChat("gpt", api_key=KEY, provider="gemini", headers={"X-Key": KEY})
    assert isinstance(model, Model)
    assert (model.spec, model.provider, model.name) == ("gemini/gpt", "gcp.gemini", "gpt")
    assert repr(model) == "OpenAIChat('gemini/gpt')"


async def test_a_provider_of_ones_own(serve):
    model = OpenAIChat("m", provider="acme", base_url=await serve(answering()))
    assert (await model.complete(HELLO)).text == "hi"
    assert (model.spec, model.provider) == ("acme/m", "acme")


@pytest.mark.parametrize("base_url", ["", "gpu:8000/v1", "ftp://gpu/v1", "http://"])
def test_a_base_url_that_is_none_is_refused(base_url):
    with pytest.raises(ValueError, match="needs a base_url such as"):
        OpenAIChat("m", base_url=base_url)


def test_an_unknown_provider_needs_a_base_url():
    with pytest.raises(ValueError, match="acme/m needs a base_url"):
        OpenAIChat("m", provider="acme")


async def test_a_query_in_the_base_url_stays_one():
    seen = []

    def answer(request):
        seen.append(str(request.url))
        return httpx.Response(200, json=ANSWER)

    transport = HttpxTransport(httpx.AsyncClient(transport=httpx.MockTransport(answer)))
    await OpenAIChat("m", base_url="http://h/v1/?api-version=2", transport=transport).complete(HELLO)
    assert seen == ["http://h/v1/chat/completions?api-version=2"]


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_timeout_that_is_none_is_refused(timeout_s):
    with pytest.raises(ValueError, match="above 0"):
        OpenAIChat("m", timeout_s=timeout_s)


async def test_no_timeout_at_all(serve):
    for transport in (AiohttpTransport(), HttpxTransport()):
        model = OpenAIChat("m", base_url=await serve(answering()), timeout_s=float("inf"), transport=transport)
        assert await ask(model, "complete") == "hi"
        assert await ask(model, "stream") == "hi"


async def test_a_copy_shares_the_connections(serve):
    model = OpenAIChat("m", base_url=await serve(answering()), api_key=KEY)
    await model.complete(HELLO)
    assert await ask(copy.deepcopy(model), "complete") == "hi"


# --- httpx


async def test_a_users_own_client_stays_open(serve):
    async with httpx.AsyncClient() as client:
        transport = HttpxTransport(client)
        model = OpenAIChat("m", base_url=await serve(answering()), transport=transport)
        assert await ask(copy.deepcopy(model), "complete") == "hi"
        assert await ask(model, "stream") == "hi"
        assert not client.is_closed
    assert repr(transport) == "HttpxTransport()" and repr(AiohttpTransport()) == "AiohttpTransport()"


async def test_httpx_options_reach_the_client(serve):
    handler = answering()
    transport = HttpxTransport(headers={"X-Mine": "1"})
    await OpenAIChat("m", base_url=await serve(handler), transport=transport).complete(HELLO)
    assert handler.requests[0][0]["X-Mine"] == "1"


async def test_aiohttp_options_reach_the_session(serve):
    handler = answering()
    transport = AiohttpTransport(headers={"X-Mine": "1"})
    await OpenAIChat("m", base_url=await serve(handler), transport=transport).complete(HELLO)
    assert handler.requests[0][0]["X-Mine"] == "1"


def test_a_client_of_ones_own_takes_no_options():
    with pytest.raises(TypeError, match="proxy"):
        HttpxTransport(httpx.AsyncClient(), proxy="http://proxy")


# --- the SDK


@pytest.mark.parametrize("given", [{"api_key": "k"}, {"base_url": "http://h"}, {"transport": AiohttpTransport()}])
def test_what_a_client_brings_is_not_given_twice(given):
    with pytest.raises(TypeError, match=f"its own {next(iter(given))}"):
        OpenAIChat("m", client=Sdk(ANSWER), **given)


class Sdk:
    """An object with the interface of openai.AsyncOpenAI, and no more."""

    def __init__(self, *answers):
        self.chat = self.completions = self
        self.answers, self.bodies = list(answers), []

    async def create(self, **body):
        self.bodies.append(body)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Dumps:
    def __init__(self, plain):
        self.plain = plain

    def model_dump(self):
        return self.plain


async def test_any_object_with_that_interface_will_do():
    async def chunks():
        for chunk in CHUNKS:
            yield Dumps(chunk)

    sdk = Sdk(Dumps(ANSWER), ANSWER, chunks())
    model = OpenAIChat("m", client=sdk, top_k=3)
    assert [await ask(model, way) for way in ("complete", "complete", "stream")] == ["hi"] * 3
    assert sdk.bodies[0]["top_k"] == 3 and sdk.bodies[2]["stream"] is True


REQUEST = httpx.Request("POST", "http://h")


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (openai.APITimeoutError(request=REQUEST), ModelTimeout),
        (openai.APIConnectionError(request=REQUEST), ModelUnreachable),
        (openai.APIError("odd", REQUEST, body=None), BadModelResponse),
        (openai.APIError("odd", REQUEST, body={"message": "odd", "code": 503}), ModelOverloaded),
        (openai.APIStatusError("no", response=httpx.Response(400, request=REQUEST), body=None), ModelRefused),
        (openai.APIResponseValidationError(httpx.Response(200, request=REQUEST), body=None), BadModelResponse),
        (KeyError("a bug"), KeyError),
    ],
)
@pytest.mark.parametrize("way", ["complete", "stream"])
async def test_errors_of_the_sdk_are_ours(raised, kind, way):
    with pytest.raises(kind):
        await ask(OpenAIChat("m", client=Sdk(raised)), way)


async def test_what_an_sdk_could_not_parse_is_no_answer(serve):
    async def handler(request):
        return web.Response(text="<html>hello</html>", content_type="text/html")

    async with openai.AsyncOpenAI(base_url=await serve(handler), api_key=KEY, max_retries=0) as client:
        with pytest.raises(BadModelResponse, match="expected a JSON object, got str <html>"):
            await OpenAIChat("m", client=client).complete(HELLO)
        assert not client.is_closed()


async def test_the_sdk_keeps_its_own_retries(serve):
    statuses = [500, 200]

    async def handler(request):
        return web.json_response(ANSWER, status=statuses.pop(0), headers={"retry-after-ms": "1"})

    async with openai.AsyncOpenAI(base_url=await serve(handler), api_key=KEY, max_retries=1) as client:
        assert await ask(OpenAIChat("m", client=client), "complete") == "hi"
