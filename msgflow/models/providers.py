"""The providers that `chat("provider/model")` knows; the ones here all speak the OpenAI chat completions protocol."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from msgflow._plugins import load_plugins
from msgflow.errors import RegistryError
from msgflow.models.protocol import Model, Profile

FULL = Profile()
NO_JSON_SCHEMA = Profile(json_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where a provider's models are.

    `key_variable` and `url_variable` name environment variables: of the API key (None: it needs none), and of another
    address to use. `telemetry` is the value of gen_ai.provider.name, where that is not `name`.

    `make` is for a provider with a protocol of its own: called with the name of a model, and the client options of
    `chat` as keywords, it gives the model, which is used as it is.
    """

    name: str
    base_url: str = ""
    key_variable: str | None = None
    url_variable: str | None = None
    telemetry: str = ""
    profile: Profile = FULL
    make: Callable[..., Model] | None = None

    def url(self) -> str:
        """The base URL; the environment's, where it gives one."""
        override = os.environ.get(self.url_variable, "").strip() if self.url_variable else ""
        if not override:
            return self.base_url
        return _ollama_url(override) if self.url_variable == "OLLAMA_HOST" else override

    def key(self) -> str:
        """The API key in the environment, or ""."""
        return os.environ.get(self.key_variable, "").strip() if self.key_variable else ""


def _ollama_url(host: str) -> str:
    """OLLAMA_HOST is what the server listens on: often without scheme or port, sometimes all addresses."""
    bare = "://" not in host
    parts = urlsplit(f"http://{host}" if bare else host)
    port = parts.port or (11434 if bare else {"https": 443}.get(parts.scheme, 80))
    name = parts.hostname if parts.hostname not in (None, "0.0.0.0", "::") else "127.0.0.1"
    name = f"[{name}]" if ":" in str(name) else name
    return f"{parts.scheme}://{name}:{port}{parts.path.rstrip('/')}/v1"


PROVIDERS: dict[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            name="openai",
            base_url="https://api.openai.com/v1",
            key_variable="OPENAI_API_KEY",
            url_variable="OPENAI_BASE_URL",
        ),
        Provider(
            name="anthropic",
            base_url="https://api.anthropic.com/v1",
            key_variable="ANTHROPIC_API_KEY",
            profile=NO_JSON_SCHEMA,  # response_format is ignored there
        ),
        Provider(
            name="gemini",
            base_url="https://generativelanguage.googleapis.com/v1beta/openai",
            key_variable="GEMINI_API_KEY",
            telemetry="gcp.gemini",
        ),
        Provider(
            name="mistral",
            base_url="https://api.mistral.ai/v1",
            key_variable="MISTRAL_API_KEY",
            telemetry="mistral_ai",
            profile=Profile(stream_usage=False),  # usage comes with the last chunk, unasked
        ),
        Provider(name="groq", base_url="https://api.groq.com/openai/v1", key_variable="GROQ_API_KEY"),
        Provider(
            name="deepseek",
            base_url="https://api.deepseek.com/v1",
            key_variable="DEEPSEEK_API_KEY",
            profile=NO_JSON_SCHEMA,  # json_object only
        ),
        Provider(name="openrouter", base_url="https://openrouter.ai/api/v1", key_variable="OPENROUTER_API_KEY"),
        Provider(
            name="together",
            base_url="https://api.together.ai/v1",
            key_variable="TOGETHER_API_KEY",
            url_variable="TOGETHER_BASE_URL",
        ),
        Provider(name="fireworks", base_url="https://api.fireworks.ai/inference/v1", key_variable="FIREWORKS_API_KEY"),
        Provider(name="xai", base_url="https://api.x.ai/v1", key_variable="XAI_API_KEY", telemetry="x_ai"),
        Provider(name="cerebras", base_url="https://api.cerebras.ai/v1", key_variable="CEREBRAS_API_KEY"),
        Provider(name="ollama", base_url="http://127.0.0.1:11434/v1", url_variable="OLLAMA_HOST"),
        Provider(name="vllm", base_url="http://127.0.0.1:8000/v1"),
        Provider(name="lmstudio", base_url="http://127.0.0.1:1234/v1"),
        Provider(name="llamacpp", base_url="http://127.0.0.1:8080/v1"),
    )
}

NOT_PROVIDERS = frozenset(("local", "test"))  # models in this process, which `chat` knows as well


def add_provider(provider: Provider) -> None:
    """Let `chat("name/model")` find the models of another provider, in this process.

    Raises RegistryError for a name that is taken, or that cannot be one.
    """
    if not isinstance(provider, Provider):
        raise TypeError(f"a Provider is expected, not {provider!r:.80} of type {type(provider).__name__}")
    name = provider.name
    if not name or "/" in name or name.split() != [name]:
        raise RegistryError(f"{name!r:.80} cannot name a provider: it is the part before the '/' of 'provider/model'")
    if not (provider.base_url or provider.make):
        raise ValueError(f"the provider {name!r} has no models: give base_url, or make for a protocol of its own")
    if name in PROVIDERS or name in NOT_PROVIDERS:
        raise RegistryError(f"there is a provider {name!r} already; take another name, or give chat() a base_url")
    PROVIDERS[name] = provider


def provider_named(name: str) -> Provider | None:
    """A provider of msgflow, of this program or of a plug-in; None where there is none."""
    if name not in PROVIDERS and name not in NOT_PROVIDERS:
        load_plugins()
    return PROVIDERS.get(name)
