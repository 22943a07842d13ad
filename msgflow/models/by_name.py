"""From a model's name to a model."""

from typing import Any

from msgflow.errors import UnknownModel
from msgflow.models.local import LocalChat
from msgflow.models.openai_chat import OpenAIChat
from msgflow.models.protocol import Model
from msgflow.models.providers import NOT_PROVIDERS, PROVIDERS, Provider, provider_named
from msgflow.models.retry import Retried
from msgflow.models.schema_tools import SchemaTools
from msgflow.models.scripted import LIVE
from msgflow.models.with_settings import WithSettings

CLIENT_OPTIONS = frozenset(("api_key", "base_url", "client", "headers", "profile", "timeout_s", "transport"))


def chat(spec: str | Model, **settings: Any) -> Model:
    """A model by its name: "provider/model".

        chat("openai/gpt-4.1-mini", temperature=0)
        chat("vllm/Qwen/Qwen3-8B", base_url="http://gpu:8000/v1")
        chat("local/smollm2")

    `api_key`, `base_url`, `headers`, `timeout_s`, `transport`, `client` and `profile` go to OpenAIChat; all other
    keywords are settings of the requests (temperature, max_tokens, ...), where a request's own win. The model tries
    again after errors that pass (Retried), unless a `client` of your own, which does that itself, is given. What its
    server lacks in tools and schemas is made up for (SchemaTools). A model is returned as it is, with the settings.

    "local/..." runs in this process, without key and network; "test/..." is the living ScriptedModel of that name.
    Raises UnknownModel. A missing key is no error here, but MissingKey with the first request, so that modules can be
    built, inspected and saved anywhere.
    """
    client_options = {name: settings.pop(name) for name in CLIENT_OPTIONS & settings.keys()}
    model = _named(str(spec), client_options) if isinstance(spec, str) else _checked(spec, client_options)
    return WithSettings(model, settings) if settings else model


def _named(spec: str, client_options: dict[str, Any]) -> Model:
    provider, _, name = spec.partition("/")
    row = provider_named(provider) if provider and name else None
    if row is not None:
        return _with_tools(_served(row, name, client_options))
    if not name or provider not in NOT_PROVIDERS:
        raise _unknown(spec)
    if client_options:
        raise TypeError(f"{spec} has no server and takes no {', '.join(sorted(client_options))}")
    if provider == "local":
        return _with_tools(LocalChat(name))
    scripted = LIVE.get(name)
    if scripted is None:
        raise _unknown(spec)
    return scripted


def _served(provider: Provider, name: str, client_options: dict[str, Any]) -> Model:
    if provider.make is None:
        chat_model = OpenAIChat(name, provider=provider.name, **client_options)
        return chat_model if client_options.get("client") is not None else Retried(chat_model)
    model = provider.make(name, **client_options)
    if isinstance(model, Model):
        return model
    raise TypeError(
        f"the provider {provider.name!r} made a {type(model).__name__} for {name!r}, which is no model: "
        "that has spec, complete() and stream()"
    )


def _with_tools(model: Model) -> Model:
    return model if model.profile.native_tools and model.profile.json_schema else SchemaTools(model)


def _checked(model: Model, client_options: dict[str, Any]) -> Model:
    if not isinstance(model, Model):
        raise TypeError(f"a model is 'provider/model' or has spec, complete() and stream(); got {type(model).__name__}")
    if client_options:
        raise TypeError(f"{model.spec} is made already and takes no {', '.join(sorted(client_options))}")
    return model


def _unknown(spec: str) -> UnknownModel:
    return UnknownModel(spec, [*PROVIDERS, "local", *(f"test/{name}" for name in LIVE)])
