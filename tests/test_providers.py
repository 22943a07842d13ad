"""From names to models: the provider table and `chat`."""

import subprocess
import sys
from urllib.parse import urlsplit

import httpx
import pytest

from msgflow import models
from msgflow._frozen import FrozenDict
from msgflow.errors import MissingKey, UnknownModel
from msgflow.messages import Request, user
from msgflow.models import PROVIDERS, HttpxTransport, Model, OpenAIChat, Profile, Retried, ScriptedModel, chat
from msgflow.models import WithSettings as Configured

HELLO = Request((user("hello"),))


class Wire:
    """A transport that keeps what is sent and answers at once."""

    def __init__(self) -> None:
        self.sent: list[httpx.Request] = []
        self.transport = HttpxTransport(httpx.AsyncClient(transport=httpx.MockTransport(self.answer)))

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return httpx.Response(200, json={"choices": [{"message": {"content": "hi"}}]})


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for provider in PROVIDERS.values():
        for variable in (provider.key_variable, provider.url_variable):
            if variable:
                monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)
def test_every_row_is_complete(provider):
    url = urlsplit(provider.base_url)
    local = url.hostname == "127.0.0.1"
    assert url.scheme == ("http" if local else "https") and not provider.base_url.endswith("/")
    assert (provider.key_variable is None) == local
    assert provider.url() == provider.base_url and provider.key() == ""


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)
async def test_every_provider_is_asked_at_its_address_with_its_key(provider, wire, monkeypatch):
    if provider.key_variable:
        monkeypatch.setenv(provider.key_variable, " sk-1234567890\n")
    model = chat(f"{provider.name}/some/model", transport=wire.transport, profile=Profile())
    assert (await model.complete(HELLO)).text == "hi"
    (sent,) = wire.sent
    assert str(sent.url) == f"{provider.base_url}/chat/completions"
    assert sent.headers.get("authorization") == ("Bearer sk-1234567890" if provider.key_variable else None)
    assert (model.spec, model.name) == (f"{provider.name}/some/model", "some/model")
    assert model.provider == (provider.telemetry or provider.name)


@pytest.mark.parametrize("set_", [False, True])
async def test_the_address_may_come_from_the_environment(wire, monkeypatch, set_):
    model = chat("openai/m", api_key="k", transport=wire.transport)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway:9000/v1/" if set_ else "")
    await model.complete(HELLO)
    assert wire.sent[0].url.host == ("gateway" if set_ else "api.openai.com")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        (":8080", "http://127.0.0.1:8080/v1"),
        ("gpu", "http://gpu:11434/v1"),
        ("gpu:8080", "http://gpu:8080/v1"),
        ("http://gpu", "http://gpu:80/v1"),
        ("https://gpu/ollama/", "https://gpu:443/ollama/v1"),
        ("http://gpu:1234", "http://gpu:1234/v1"),
        ("[::]:11434", "http://127.0.0.1:11434/v1"),
        ("[::1]:11434", "http://[::1]:11434/v1"),
        ("", "http://127.0.0.1:11434/v1"),
    ],
)
def test_ollama_host_is_what_the_server_listens_on(host, url, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert PROVIDERS["ollama"].url() == url


async def test_an_ollama_host_of_another_scheme_is_named(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "ftp://gpu")
    with pytest.raises(ValueError, match="ollama/m needs a base_url"):
        await chat("ollama/m").complete(HELLO)


async def test_a_missing_key_is_named_with_the_first_request_and_not_before():
    model = chat("groq/llama-3")
    with pytest.raises(MissingKey, match="GROQ_API_KEY") as caught:
        await model.complete(HELLO)
    assert (caught.value.variable, caught.value.model) == ("GROQ_API_KEY", "groq/llama-3")
    with pytest.raises(MissingKey):
        await anext(model.stream(HELLO))


async def test_a_key_that_appears_later_is_used(wire, monkeypatch):
    model = chat("groq/llama-3", transport=wire.transport)
    with pytest.raises(MissingKey):
        await model.complete(HELLO)
    monkeypatch.setenv("GROQ_API_KEY", "late")
    await model.complete(HELLO)
    assert wire.sent[0].headers["authorization"] == "Bearer late"


async def test_a_server_of_ones_own_needs_no_key(wire):
    await chat("openai/m", base_url="http://gpu:8000/v1", transport=wire.transport).complete(HELLO)
    assert "authorization" not in wire.sent[0].headers


@pytest.mark.parametrize("spec", ["gpt-4", "", "nobody/gpt-4", "openai/", "/m", "OpenAI/m", "test/nobody-has-this"])
def test_a_name_without_a_provider_lists_the_known_ones(spec):
    with pytest.raises(UnknownModel, match=r"anthropic, .*openai, ") as caught:
        chat(spec)
    assert caught.value.spec == spec


def test_what_is_neither_name_nor_model_is_refused():
    with pytest.raises(TypeError, match="got int"):
        chat(5)


def test_a_model_is_itself():
    model = ScriptedModel("a")
    assert chat(model) is model


@pytest.mark.parametrize("spec", ["test/lone", "local/smollm2", None])
def test_options_of_a_client_need_a_client(spec):
    model = ScriptedModel("a", name="lone")
    with pytest.raises(TypeError, match=r"takes no api_key, timeout_s"):
        chat(spec or model, timeout_s=1.0, api_key="k")


async def test_settings_go_with_every_request_and_the_requests_own_win():
    model = ScriptedModel("a", "b c")
    configured = chat(model, temperature=0, max_tokens=5, seed=None)
    await configured.complete(Request(HELLO.messages, settings=FrozenDict(temperature=1)))
    events = [event async for event in configured.stream(HELLO)]
    assert [dict(request.settings) for request in model.requests] == [
        {"temperature": 1, "max_tokens": 5},
        {"temperature": 0, "max_tokens": 5},
    ]
    assert len(events) == 3
    assert isinstance(configured, Model) and configured.spec == "test/scripted"
    assert repr(configured).endswith("{'temperature': 0, 'max_tokens': 5})")


async def test_a_setting_may_have_the_name_of_an_argument(wire):
    import json

    await chat("openrouter/m", api_key="k", transport=wire.transport, provider={"order": ["x"]}).complete(HELLO)
    assert json.loads(wire.sent[0].content)["provider"] == {"order": ["x"]}


def test_chat_retries_unless_the_client_does_itself():
    class Create:
        async def create(self, **body):
            raise AssertionError

    class Client:
        class chat:
            completions = Create()

    assert isinstance(chat("openai/m"), Retried)
    assert isinstance(chat("openai/m", client=Client()), OpenAIChat)
    assert isinstance(chat("openai/m", seed=1), Configured)


@pytest.mark.parametrize("options", [{"native_tools": False}, {"json_schema": False}])
def test_what_a_server_lacks_is_made_up_for(options):
    assert isinstance(chat("openai/m", profile=Profile(**options)), models.SchemaTools)


def test_local_models_are_found_by_name():
    assert chat("local/smollm2").spec == "local/smollm2"


def test_all_public_names_are_there():
    assert sorted(models.__all__) == sorted(dir(models))
    assert all(getattr(models, name) is not None for name in models.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        models.nonsense  # noqa: B018


def test_importing_models_loads_no_heavy_library():
    code = (
        "import sys, msgflow.models\n"
        "heavy = 'aiohttp httpx httpx2 openai pydantic tenacity numpy xllamacpp'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
