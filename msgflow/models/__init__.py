"""Models: one request in, one response out.

    model = chat("openai/gpt-4.1-mini")
    response = await model.complete(Request((user("Hello"),)))

Everything is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily

if TYPE_CHECKING:
    from msgflow.models.by_name import chat
    from msgflow.models.local import LocalChat
    from msgflow.models.openai_chat import OpenAIChat
    from msgflow.models.protocol import Model, Profile
    from msgflow.models.providers import PROVIDERS, Provider, add_provider
    from msgflow.models.retry import Retried
    from msgflow.models.schema_tools import SchemaTools
    from msgflow.models.scripted import ScriptedModel
    from msgflow.models.transport import Answer, Incoming, Transport
    from msgflow.models.transport_aiohttp import AiohttpTransport
    from msgflow.models.transport_httpx import HttpxTransport
    from msgflow.models.with_settings import WithSettings

__all__ = [
    "PROVIDERS",
    "AiohttpTransport",
    "Answer",
    "HttpxTransport",
    "Incoming",
    "LocalChat",
    "Model",
    "OpenAIChat",
    "Profile",
    "Provider",
    "Retried",
    "SchemaTools",
    "ScriptedModel",
    "Transport",
    "WithSettings",
    "add_provider",
    "chat",
]

__getattr__ = _lazily(
    __name__,
    {
        "PROVIDERS": "providers",
        "AiohttpTransport": "transport_aiohttp",
        "Answer": "transport",
        "HttpxTransport": "transport_httpx",
        "Incoming": "transport",
        "LocalChat": "local",
        "Model": "protocol",
        "OpenAIChat": "openai_chat",
        "Profile": "protocol",
        "Provider": "providers",
        "Retried": "retry",
        "SchemaTools": "schema_tools",
        "ScriptedModel": "scripted",
        "Transport": "transport",
        "WithSettings": "with_settings",
        "add_provider": "providers",
        "chat": "by_name",
    },
)


def __dir__() -> list[str]:
    return list(__all__)
